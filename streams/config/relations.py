"""What settings say about each other: over the raw tables, so that a problem in one place hides none in another."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connectors.base.settings import ConnectorSettings, is_loopback
from connectors.registry import KINDS
from connectors.sap_b1.settings import CompanySettings
from schemas.topics import BY_NAME
from streams.config.problems import ConfigProblem, nearest, path_text


def table_at(value: object, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _tables(value: object, *keys: str) -> dict[str, Mapping[str, Any]]:
    return {name: table for name, table in table_at(value, *keys).items() if isinstance(table, Mapping)}


def _number(value: object, default: int) -> int:
    try:
        return int(str(value)) if value is not None else default
    except ValueError:
        return default


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in values if isinstance(text, str) and text]


def _is_bare_http(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or "")
    except ValueError:
        return False


def relations(data: Mapping[str, Any], folder: Path, *, local: bool) -> Iterator[ConfigProblem]:
    """Every problem between sections of a raw configuration; `folder` is where relative paths start from."""
    companies, connectors = _tables(data, "companies"), _tables(data, "connectors")
    yield from _kafka_relations(table_at(data, "kafka"), local=local)
    if _is_bare_http(table_at(data, "schema_registry").get("url")) and not local:
        yield ConfigProblem(
            "schema_registry.url", "is http:// off this machine", "use https://, or kafka.local = true for a demo"
        )
    if not companies:
        yield ConfigProblem(
            "companies", "no company is configured", "add [companies.<name>]; streams.example.toml shows one"
        )
    yield from _partitions(companies, _number(table_at(data, "kafka").get("company_partitions"), 16))
    for name, company in companies.items():
        yield from _company_relations(name, company, connectors)
    for name, connector in connectors.items():
        yield from _connector_relations(name, connector, companies, connectors)
    yield from _shared_folders(connectors, folder)


def _shared_folders(connectors: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[ConfigProblem]:
    """A folder is one connector's inbox or one connector's outbox: else what we write is read as if it were new."""
    users: dict[Path | str, str] = {}
    for name, connector in connectors.items():
        inbox, outbox = connector.get("inbox"), table_at(connector, "out").get("outbox")
        for keys, place, what in ((("inbox",), inbox, "inbox"), (("out", "outbox"), outbox, "outbox")):
            if not isinstance(place, str):
                continue
            at = place if "://" in place else (folder / place).resolve()
            user = f"the {what} of {name}"
            first = users.setdefault(at, user)
            if first == user and what == "inbox" and isinstance(at, Path):
                first = users.setdefault(at / "done", user)
            if first != user:
                path = path_text(("connectors", name, *keys))
                yield ConfigProblem(path, f"is {first} as well", "give each a folder of its own")


def _kafka_relations(kafka: Mapping[str, Any], *, local: bool) -> Iterator[ConfigProblem]:
    if not local and _number(kafka.get("replication_factor"), 3) == 1:
        yield ConfigProblem(
            "kafka.replication_factor",
            "is 1: a lost broker would lose events",
            "write 3, or kafka.local = true for a demo",
        )
    protocol = str(kafka.get("security_protocol", "PLAINTEXT"))
    servers = str(kafka.get("bootstrap_servers", "127.0.0.1:9092")).split(",")
    if (
        "PLAINTEXT" in protocol
        and not local
        and not all(is_loopback(server.strip().rpartition(":")[0].strip("[]")) for server in servers)
    ):
        yield ConfigProblem(
            "kafka.security_protocol",
            "is not encrypted, and a broker is not on this machine",
            'write "SSL" or "SASL_SSL", or kafka.local = true for a demo',
        )
    if protocol.startswith("SASL"):
        for key in ("sasl_username", "sasl_password"):
            if not kafka.get(key):
                yield ConfigProblem(
                    f"kafka.{key}", f"is missing, and {protocol} needs it", "add it (the password as env:NAME)"
                )
    if bool(kafka.get("ssl_certfile")) != bool(kafka.get("ssl_keyfile")):
        missing = "ssl_keyfile" if kafka.get("ssl_certfile") else "ssl_certfile"
        yield ConfigProblem(
            f"kafka.{missing}", "is missing beside the other half of our certificate", "add it, or take out both"
        )


def _partitions(companies: Mapping[str, Mapping[str, Any]], partitions: int) -> Iterator[ConfigProblem]:
    taken: dict[int, str] = {}
    for name, company in companies.items():
        path = path_text(("companies", name, "partition"))
        if company.get("partition") is None:
            if len(companies) > 1:
                yield ConfigProblem(
                    path, "is missing, and there are several companies", "add a number that no other company has"
                )
            continue
        partition = _number(company["partition"], -1)
        if partition >= partitions:
            yield ConfigProblem(
                path, f"is not below kafka.company_partitions ({partitions})", f"write 0 to {partitions - 1}"
            )
        elif partition >= 0 and taken.setdefault(partition, name) != name:
            yield ConfigProblem(
                path, f"is the partition of {taken[partition]} as well", "add a number that no other company has"
            )


def _company_relations(
    name: str, company: Mapping[str, Any], connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[ConfigProblem]:
    at = ("companies", name)
    customers = company.get("customers")
    if (
        isinstance(customers, Mapping)
        and customers.get("policy", "account") == "account"
        and "card_code" not in customers
    ):
        path = path_text((*at, "customers", "card_code"))
        yield ConfigProblem(
            path, 'is missing, and the policy "account" needs it', "add the CardCode that takes all orders"
        )
    places: dict[tuple[str, str], str] = {}
    for code, warehouse in _tables(company, "warehouses").items():
        here = (*at, "warehouses", code)
        owner = warehouse.get("owner")
        if isinstance(owner, str):
            yield from _names_connector((*here, "owner"), owner, name, connectors)
            location = warehouse.get("location")
            if isinstance(location, str) and location:
                first = places.setdefault((owner, location), code)
                if first != code:
                    yield ConfigProblem(
                        path_text((*here, "location")),
                        f"is {owner}'s name for {first} as well, and counts need a one-to-one map",
                        "give each warehouse a location of its own",
                    )
        for index, seller in enumerate(_texts(warehouse.get("sellable_on"))):
            yield from _names_connector((*here, "sellable_on", index), seller, name, connectors)


def counted_returns(
    companies: Mapping[str, CompanySettings], connectors: Mapping[str, ConnectorSettings]
) -> Iterator[ConfigProblem]:
    """Warehouses whose owner counts them: what comes back is in the count, whatever reason a delta of it has."""
    for name, company in companies.items():
        if company.flows.get("refund_issued") == "off":
            continue
        for code, warehouse in company.warehouses.items():
            owner = connectors.get(warehouse.owner)
            if owner is None or warehouse.returns_by == "adjustment":
                continue
            places = [place for place, whs in owner.locations.items() if whs == code] or [warehouse.location]
            if any(KINDS[owner.kind].counts(place, owner) for place in places):
                yield ConfigProblem(
                    path_text(("companies", name, "warehouses", code, "returns_by")),
                    f'is "refund", and {warehouse.owner} counts this warehouse: what comes back would come in twice',
                    'write returns_by = "adjustment"',
                )


def _names_connector(
    at: Sequence[str | int], connector: str, company: str, connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[ConfigProblem]:
    if connector not in connectors:
        known = ", ".join(sorted(connectors)) or "none yet"
        yield ConfigProblem(
            path_text(at),
            "names no connector",
            f"add [connectors.<name>], or write one of: {known}{nearest(connector, connectors)}",
        )
    elif connectors[connector].get("company") != company:
        yield ConfigProblem(
            path_text(at), f"names a connector that does not feed {company}", "name one whose company is this one"
        )


def _connector_relations(
    name: str,
    connector: Mapping[str, Any],
    companies: Mapping[str, Mapping[str, Any]],
    connectors: Mapping[str, Mapping[str, Any]],
) -> Iterator[ConfigProblem]:
    at = ("connectors", name)
    if name in BY_NAME:
        yield ConfigProblem(path_text(at), "is the name of a topic", "give the connector another name")
    company = connector.get("company")
    if not isinstance(company, str):
        return
    if company not in companies:
        known = ", ".join(sorted(companies)) or "none yet"
        remedy = f"add [companies.<name>], or write one of: {known}{nearest(company, companies)}"
        yield ConfigProblem(path_text((*at, "company")), "names no company", remedy)
        return
    for source in _texts(connector.get("order_source")):
        yield from _names_connector((*at, "order_source"), source, company, connectors)
    warehouses = table_at(companies[company], "warehouses")
    locations = {place: code for place, code in table_at(connector, "locations").items() if isinstance(code, str)}
    times = Counter(locations.values())
    for place, code in locations.items():
        path = path_text((*at, "locations", place))
        if code not in warehouses:
            yield _unknown_warehouse(path, code, company, warehouses)
        elif times[code] > 1:
            yield ConfigProblem(
                path, f"is one of several names for {code}, and counts need a one-to-one map", "keep one of them"
            )
    warehouse = table_at(connector, "orders").get("warehouse")
    if isinstance(warehouse, str) and warehouse not in warehouses:
        yield _unknown_warehouse(path_text((*at, "orders", "warehouse")), warehouse, company, warehouses)


def _unknown_warehouse(path: str, code: str, company: str, warehouses: Mapping[str, Any]) -> ConfigProblem:
    near = difflib.get_close_matches(code, warehouses, n=1, cutoff=0.5)
    known = ", ".join(sorted(warehouses)) or "none yet"
    guess = f" (did you mean {near[0]}?)" if near else ""
    return ConfigProblem(
        path,
        f"names no warehouse of {company}",
        f"add [companies.{company}.warehouses.<code>], or write one of: {known}{guess}",
    )
