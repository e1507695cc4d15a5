import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from streams.config.load import load, parse
from streams.config.problems import ConfigError, ConfigProblem
from tests.streams.fakes import ENVIRON, PASSWORD, ROOT, example

GONE = object()
ANOTHER = {**example()["connectors"]["shop"], "inbox": "in/another"}
LON1 = {"owner": "warehouse", "location": "MAIN"}


def changed(*changes: tuple[tuple[str, ...], Any]) -> dict[str, Any]:
    data = copy.deepcopy(example())
    for path, value in changes:
        at = data
        for key in path[:-1]:
            at = at.setdefault(key, {})
        if value is GONE:
            del at[path[-1]]
        else:
            at[path[-1]] = value
    return data


def problems_of(
    data: dict[str, Any], environ: dict[str, str] | None = None, folder: Path = ROOT
) -> list[ConfigProblem]:
    with pytest.raises(ConfigError) as caught:
        parse(data, folder, ENVIRON if environ is None else environ)
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    return list(caught.value.problems)


ACME, SHOP, WAREHOUSE = ("companies", "acme"), ("connectors", "shop"), ("connectors", "warehouse")

# what is changed, to what; the problem's path, a word of its message, a word of its remedy
OWNER, SELLERS = "companies.acme.warehouses.LON1.owner", "companies.acme.warehouses.LON1.sellable_on[0]"
OUTBOX = "connectors.warehouse.out.outbox"
B1_URL = "companies.acme.service_layer_url"
BROKEN = [
    # names of keys
    (("kafak",), {}, "kafak", "not a key", "did you mean kafka?"),
    (("kafka", "bootstrap_server"), "h:1", "kafka.bootstrap_server", "not a key", "did you mean bootstrap_servers?"),
    ((*ACME, "passwrod"), PASSWORD, "companies.acme.passwrod", "not a key", "did you mean password?"),
    ((*ACME, "warehouses", "LON1", "ownr"), "x", "companies.acme.warehouses.LON1.ownr", "not a key", "owner?"),
    ((*ACME, "flows"), {"order_plced": "off"}, "companies.acme.flows.order_plced", "can have", "order_placed?"),
    ((*SHOP, "poll_intervall_s"), 1, "connectors.shop.poll_intervall_s", "not a key", "poll_interval_s?"),
    ((*WAREHOUSE, "csv", "adjustments", "file"), {}, "connectors.warehouse.csv.adjustments.file", "key", "files?"),
    # shapes and ranges
    (("kafka", "partitions"), "many", "kafka.partitions", "not a whole number", "digits"),
    (("kafka", "partitions"), 0, "kafka.partitions", "out of range", "at least 1"),
    (("kafka", "topic_prefix"), "acme_", "kafka.topic_prefix", "characters", "acme-"),
    (("kafka", "bootstrap_servers"), "localhost", "kafka.bootstrap_servers", "host:port", "commas"),
    (("kafka", "local"), "perhaps", "kafka.local", "neither true nor false", "true or false"),
    (("metrics", "port"), 70_000, "metrics.port", "out of range", "65535"),
    (("schema_registry", "url"), "registry", "schema_registry.url", "not a URL", "https://"),
    ((*ACME, "window"), {"length_s": 900}, "companies.acme.window.length_s", "out of range", "300"),
    ((*ACME, "timezone"), "London", "companies.acme.timezone", "time zone", "Europe/London"),
    ((*ACME, "currency"), "pounds", "companies.acme.currency", "ISO 4217", "GBP"),
    ((*ACME, "invoices"), {"on": "payment"}, "companies.acme.invoices.on", "not one of", "'dispatch' or 'never'"),
    (("companies",), "acme", "companies", "no company|not a table", "[companies.<name>]"),
    (("connectors", "shop"), "ims", "connectors.shop", "not a table", "[connectors.shop]"),
    # what is needed
    (("companies",), {}, "companies", "no company", "[companies.<name>]"),
    ((*ACME, "company_db"), GONE, "companies.acme.company_db", "is missing", "add it"),
    ((*ACME, "customers", "card_code"), GONE, "companies.acme.customers.card_code", "missing", "CardCode"),
    ((*ACME, "warehouses", "LON1", "owner"), GONE, "companies.acme.warehouses.LON1.owner", "missing", "connector"),
    ((*SHOP, "kind"), GONE, "connectors.shop.kind", "is missing", "ims"),
    ((*SHOP, "kind"), "imms", "connectors.shop.kind", "no kind", "did you mean ims?"),
    ((*SHOP, "inbox"), GONE, "connectors.shop.inbox", "is missing", "folder"),
    # secrets and safety
    ((*ACME, "password"), PASSWORD, "companies.acme.password", "never written here", "env:NAME"),
    ((*ACME, "password"), "env:NOT_THERE", "companies.acme.password", "not set", "set it"),
    ((*ACME, "password"), "file:nowhere", "companies.acme.password", "cannot be read", "put the secret there"),
    ((*ACME, "verify_tls"), False, "companies.acme.verify_tls", "cannot be switched off", "CA"),
    (("kafka", "sasl_password"), PASSWORD, "kafka.sasl_password", "never written here", "env:NAME"),
    ((*ACME, "service_layer_url"), f"https://u:{PASSWORD}@b1/b1s/v2", B1_URL, "address", "username"),
    (("schema_registry", "url"), f"https://u:{PASSWORD}@r", "schema_registry.url", "credentials", "take them out"),
    # what settings say about each other
    ((*SHOP, "company"), "acne", "connectors.shop.company", "names no company", "did you mean acme?"),
    ((*ACME, "warehouses", "LON1", "owner"), "warehose", OWNER, "no connector", "warehouse?"),
    ((*ACME, "warehouses", "LON1", "sellable_on"), ["web"], SELLERS, "no connector", "shop"),
    ((*ACME, "warehouses", "LON2"), LON1, "companies.acme.warehouses.LON2.location", "one-to-one", "of its own"),
    ((*ACME, "partition"), 16, "companies.acme.partition", "not below kafka.company_partitions", "0 to 15"),
    ((*WAREHOUSE, "order_source"), ["shop", "shpo"], "connectors.warehouse.order_source", "no connector", "shop"),
    ((*SHOP, "orders"), {"warehouse": "LON9"}, "connectors.shop.orders.warehouse", "no warehouse", "LON1"),
    ((*WAREHOUSE, "locations"), {"A": "LON9"}, "connectors.warehouse.locations.A", "no warehouse", "LON1"),
    ((*WAREHOUSE, "locations"), {"A": "LON1", "B": "LON1"}, "connectors.warehouse.locations.B", "one-to-", "keep one"),
    ((*WAREHOUSE, "inbox"), "in/../in/shop", "connectors.warehouse.inbox", "inbox of shop", "folder of its own"),
    ((*WAREHOUSE, "out"), {"outbox": "in/warehouse"}, OUTBOX, "the inbox of warehouse", "folder of its own"),
    ((*WAREHOUSE, "out"), {"outbox": "in/shop/done"}, OUTBOX, "the inbox of shop", "folder of its own"),
    ((*WAREHOUSE, "out"), {"outbox": "x", "outbux": "y"}, OUTBOX[:-2] + "ux", "not a key", "outbox?"),
    (("connectors", "order-placed"), ANOTHER, "connectors.order-placed", "topic", "name"),
    (("connectors", "a b"), ANOTHER, 'connectors."a b"', "name", "letters"),
]


def test_two_connectors_never_share_an_outbox() -> None:
    out = {"outbox": "out/x"}
    (problem,) = problems_of(changed(((*SHOP, "out"), out), ((*WAREHOUSE, "out"), {"outbox": "out/../out/x"})))
    assert (problem.path, problem.message) == (OUTBOX, "is the outbox of shop as well")


def test_a_connector_that_only_receives_needs_no_inbox() -> None:
    parse(changed(((*SHOP, "inbox"), GONE), ((*SHOP, "out"), {"outbox": "out/x"})), ROOT, ENVIRON)


@pytest.mark.parametrize(
    ("at", "value", "path", "message", "remedy"), BROKEN, ids=[f"{b[2]}={i}" for i, b in enumerate(BROKEN)]
)
def test_a_broken_configuration_says_where_what_and_what_to_do(
    at: tuple[str, ...], value: Any, path: str, message: str, remedy: str
) -> None:
    problems = {problem.path: problem for problem in problems_of(changed((at, value)))}
    assert path in problems, problems
    assert any(word in problems[path].message for word in message.split("|")), problems[path]
    assert remedy in problems[path].remedy


def test_one_fault_is_one_line() -> None:
    assert len(problems_of(changed(((*ACME, "timezone"), "London")))) == 1
    assert len(problems_of(changed(((*ACME, "customers", "card_code"), GONE)))) == 1
    assert len(problems_of(changed(((*ACME, "warehouses", "LON2"), LON1)))) == 1


def test_every_fault_is_told_at_once_wherever_it_is() -> None:
    one_of_each = {at: (value, path) for at, value, path, *_ in BROKEN}
    hide_others = [("companies",), SHOP, (*SHOP, "company"), (*SHOP, "kind"), (*SHOP, "inbox")]
    for at in [*hide_others, (*ACME, "warehouses", "LON1", "owner")]:
        del one_of_each[at]
    problems = {
        problem.path for problem in problems_of(changed(*((at, value) for at, (value, _) in one_of_each.items())))
    }
    assert {path for _, path in one_of_each.values()} - problems == set()
    assert len(one_of_each) > 30


def test_an_unencrypted_broker_or_b1_elsewhere_needs_local() -> None:
    data = changed(
        (("kafka", "bootstrap_servers"), "broker.example:9092"),
        (("kafka", "local"), False),
        (("schema_registry", "url"), "http://registry.example"),
        ((*ACME, "service_layer_url"), "http://b1.example:50001/b1s/v2"),
    )
    assert {problem.path for problem in problems_of(data)} == {
        "kafka.security_protocol",
        "kafka.replication_factor",
        "schema_registry.url",
        "companies.acme.service_layer_url",
    }
    data["kafka"]["local"] = True
    parse(data, ROOT, ENVIRON)


def test_sasl_needs_a_user_and_a_password() -> None:
    problems = problems_of(
        changed((("kafka", "security_protocol"), "SASL_SSL"), (("kafka", "ssl_certfile"), "cert.pem"))
    )
    assert {f.path for f in problems} == {
        "kafka.sasl_username",
        "kafka.sasl_password",
        "kafka.ssl_keyfile",
        "kafka.ssl_certfile",
    }


def test_security_is_what_aiokafka_takes() -> None:
    data = changed(
        (("kafka", "security_protocol"), "SASL_SSL"),
        (("kafka", "sasl_username"), "streams"),
        (("kafka", "sasl_password"), "env:ACME_B1_PASSWORD"),
    )
    security = parse(data, ROOT, ENVIRON).kafka.security()
    assert security["sasl_plain_password"] == PASSWORD
    assert security["security_protocol"] == "SASL_SSL"
    assert security["ssl_context"].check_hostname
    assert parse(example(), ROOT, ENVIRON).kafka.security() == {}


def test_two_companies_need_two_partitions() -> None:
    second = {**example()["companies"]["acme"], "warehouses": {"PAR1": {"owner": "paris", "location": "MAIN"}}}
    paris = {**example()["connectors"]["shop"], "company": "beta", "inbox": "in/paris", "orders": {}}
    data = changed((("companies", "beta"), second), (("connectors", "paris"), paris))
    assert [problem.path for problem in problems_of(data)] == ["companies.beta.partition"]
    del data["companies"]["beta"]["partition"]
    assert [(f.path, f.message) for f in problems_of(data)] == [
        ("companies.beta.partition", "is missing, and there are several companies")
    ]
    data["companies"]["beta"]["partition"] = 7
    assert parse(data, ROOT, ENVIRON).company_partition("beta") == 7


def test_an_owner_must_feed_the_company_it_counts_for() -> None:
    paris = {**example()["connectors"]["shop"], "company": "beta", "inbox": "in/paris", "orders": {}}
    beta = {
        **example()["companies"]["acme"],
        "partition": 1,
        "warehouses": {"PAR1": {"owner": "shop", "location": "X"}},
    }
    data = changed((("companies", "beta"), beta), (("connectors", "paris"), paris))
    assert [(f.path, f.message) for f in problems_of(data)] == [
        ("companies.beta.warehouses.PAR1.owner", "names a connector that does not feed beta")
    ]


def test_a_single_company_may_leave_its_partition_out() -> None:
    config = parse(changed(((*ACME, "partition"), GONE)), ROOT, ENVIRON)
    assert config.company_partition("acme") == 0
    assert config.companies["acme"].partition == 0


def test_a_company_that_is_not_there_has_no_partition() -> None:
    with pytest.raises(KeyError):
        parse(example(), ROOT, ENVIRON).company_partition("nobody")


@pytest.mark.parametrize(
    ("variable", "value", "path", "expected"),
    [
        ("STREAMS__KAFKA__PARTITIONS", "3", ("kafka", "partitions"), 3),
        ("streams__kafka__bootstrap_servers", "localhost:1", ("kafka", "bootstrap_servers"), "localhost:1"),
        ("STREAMS__KAFKA__LOCAL", "true", ("kafka", "local"), True),
        ("STREAMS__COMPANIES__ACME__WAREHOUSES__LON1__LOCATION", "7", (*ACME, "warehouses", "LON1", "location"), "7"),
        ("STREAMS__COMPANIES__ACME__TAX__CODES__GB_20", "O2", (*ACME, "tax", "codes", "GB-20"), "O2"),
        ("STREAMS__CONNECTORS__WAREHOUSE__ORDER_SOURCE", '["shop"]', (*WAREHOUSE, "order_source"), ("shop",)),
        ("STREAMS__COMPANIES__ACME__REFUNDS", "{without_order = 'post'}", (*ACME, "refunds", "without_order"), "post"),
    ],
)
def test_the_environment_overrides_the_file(variable: str, value: str, path: tuple[str, ...], expected: Any) -> None:
    at: Any = parse(example(), ROOT, ENVIRON | {variable: value})
    for key in path:
        at = at[key] if isinstance(at, dict) else getattr(at, key)
    assert at == expected


def test_a_wrong_override_names_its_variable() -> None:
    variable = "STREAMS__COMPANIES__ACME__PASSWORD"
    (problem,) = problems_of(example(), ENVIRON | {variable: PASSWORD})
    assert problem.path == "companies.acme.password"
    assert variable in problem.message
    problems = problems_of(example(), ENVIRON | {"STREAMS__KAFKA__LOCAL__X": "1", "STREAMS____A": "1"})
    assert {problem.path for problem in problems} == {"STREAMS__KAFKA__LOCAL__X", "STREAMS____A"}


def test_an_override_that_could_mean_two_keys_is_refused() -> None:
    data = changed(((*ACME, "items"), {"a-b": "X", "A_B": "Y"}))
    (problem,) = problems_of(data, ENVIRON | {"STREAMS__COMPANIES__ACME__ITEMS__A_B": "Z"})
    assert "more than one key" in problem.message


def test_the_version_follows_the_configuration_and_no_secret() -> None:
    version = parse(example(), ROOT, ENVIRON).version
    assert len(version) == 12
    assert version == parse(example(), Path("/elsewhere"), {"ACME_B1_PASSWORD": "another"}).version
    assert version != parse(changed((("kafka", "partitions"), 13)), ROOT, ENVIRON).version
    assert version == parse(changed((("kafka", "topic_prefix"), "")), ROOT, ENVIRON).version


def test_no_secret_leaves_a_configuration_by_accident(caplog: pytest.LogCaptureFixture) -> None:
    config = parse(example(), ROOT, ENVIRON)
    company = config.companies["acme"]
    logging.getLogger().warning("%s %r", config, company)
    seen = (
        f"{config} {config!r} {company.model_dump_json()} {json.dumps(company.model_dump(mode='json'))} {caplog.text}"
    )
    assert PASSWORD not in seen
    assert PASSWORD.encode() not in pickle.dumps(company)
    assert company.password.reveal() == PASSWORD


def test_names_of_topics_and_group_carry_the_prefix() -> None:
    config = parse(changed((("kafka", "topic_prefix"), "t-")), ROOT, ENVIRON)
    assert config.topic("erp-orders") == "t-erp-orders"
    assert config.name_of("t-erp-orders") == "erp-orders"
    assert config.group == "t-b1-streams"


def test_the_horizon_is_the_longest_of_all_companies() -> None:
    assert parse(changed(((*ACME, "dedupe_horizon_days"), 90)), ROOT, ENVIRON).horizon_days == 90


def test_a_file_is_read_with_its_folder(tmp_path: Path) -> None:
    text = (ROOT / "streams.example.toml").read_text(encoding="utf-8").replace("env:ACME_B1_PASSWORD", "file:b1.secret")
    (tmp_path / "streams.toml").write_text("\ufeff" + text, encoding="utf-8")
    (tmp_path / "b1.secret").write_text(PASSWORD + "\n")
    config = load(tmp_path / "streams.toml", {})
    assert config.companies["acme"].password.reveal() == PASSWORD
    assert config.connectors["shop"].inbox == tmp_path / "in/shop"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"[kafka", "not TOML"), (b"\xff", "not UTF-8"), (b"a = 1\na = 2", "TOML")],
)
def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "streams.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.remedy
