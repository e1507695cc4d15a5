"""What goes out of B1: who reads it, who receives it, and whether the two fit."""

from collections.abc import Iterator, Mapping

from connectors.base.settings import ConnectorSettings, OutSettings
from connectors.registry import KINDS
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.settings import CompanySettings
from streams.config.problems import ConfigProblem, path_text


def outbound(
    companies: Mapping[str, CompanySettings], connectors: Mapping[str, ConnectorSettings]
) -> Iterator[ConfigProblem]:
    """Every problem of connectors that read B1, and of `out` tables."""
    readers: dict[str, tuple[str, SapB1Settings]] = {}
    for name, connector in connectors.items():
        if isinstance(connector, SapB1Settings):
            first, _ = readers.setdefault(connector.company, (name, connector))
            if first != name:
                yield ConfigProblem(
                    path_text(("connectors", name, "company")),
                    f"is read by {first} already",
                    "keep one connector of kind sap_b1 a company",
                )
    for name, connector in connectors.items():
        if connector.out is None or not connector.out.is_on:
            continue
        at = ("connectors", name, "out")
        if KINDS[connector.kind].sink is None:
            yield ConfigProblem(
                path_text(at), f"stands at a {connector.kind}, which receives nothing", "take the table out"
            )
        elif connector.company not in readers and _wants(connector.out):
            yield ConfigProblem(
                path_text(at),
                f"would tell what B1 says, and nobody reads the B1 of {connector.company}",
                f'add [connectors.b1] with kind = "sap_b1" and company = "{connector.company}"',
            )
        elif connector.company in readers and connector.company in companies:
            reader, reading = readers[connector.company]
            company = companies[connector.company]
            yield from _receives(name, connector.out, company, reader, reading)


def _wants(out: OutSettings) -> bool:
    return out.stock or out.tracking or out.items or out.orders or out.prices is not None


def _receives(
    name: str, out: OutSettings, company: CompanySettings, reader: str, reading: SapB1Settings
) -> Iterator[ConfigProblem]:
    at = ("connectors", name, "out")
    if out.prices is not None and out.prices not in reading.price_lists:
        lists = ", ".join(map(str, reading.price_lists)) or "none"
        yield ConfigProblem(
            path_text((*at, "prices")),
            f"is not among connectors.{reader}.price_lists ({lists})",
            f"add {out.prices} there, or name one of them",
        )
    if out.stock and not any(name in warehouse.sellable_on for warehouse in company.warehouses.values()):
        yield ConfigProblem(
            path_text((*at, "stock")),
            "is true, and no warehouse is sold on it",
            f'add "{name}" to sellable_on of the warehouses it sells from',
        )
    if out.orders and not any(warehouse.owner == name for warehouse in company.warehouses.values()):
        yield ConfigProblem(
            path_text((*at, "orders")),
            "is true, and no warehouse is its own",
            f"make it the owner of the warehouses that {name} ships from, or write false",
        )
