import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.sap_b1.settings import CompanySettings
from tests.connectors.sap_b1.documents.world import SETTINGS, merged


def load(local: bool = False, folder: Path | None = None, **changes: Any) -> CompanySettings:
    context = {"environ": {"PASSWORD": "x"}, "local": local, "folder": folder or Path()}
    return CompanySettings.model_validate(merged(copy.deepcopy(SETTINGS), changes), context=context)


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        load(**changes)
    return {".".join(map(str, fault["loc"])): fault["msg"] for fault in caught.value.errors()}


def test_the_defaults_are_the_contract_s() -> None:
    settings = load()
    assert (settings.window.length_s, settings.window.max_members, settings.window.max_lines) == (60, 1000, 50)
    assert (settings.session_limit, settings.in_flight, settings.park_max_age_s) == (2, 8, 86_400)
    assert (settings.lock_park_after_s, settings.dedupe_horizon_days, settings.idempotency) == (60, 35, "claim")
    assert settings.verify_tls is True
    assert settings.totals.preview is True
    assert settings.invoices.on == "dispatch"
    assert settings.refunds.without_order == "refuse"


@pytest.mark.parametrize("tier", ["claim", "guard", "lookup"])
def test_each_tier_is_accepted(tier: str) -> None:
    assert load(idempotency=tier).idempotency == tier


@pytest.mark.parametrize(
    ("path", "changes", "remedy"),
    [
        ("service_layer_url", {"service_layer_url": "http://b1.example:50000/b1s/v2"}, "use https://"),
        ("service_layer_url", {"service_layer_url": "https://b1.example:50000/b1s/v1"}, "end it with /b1s/v2"),
        ("service_layer_url", {"service_layer_url": "https://u:p@b1.example/b1s/v2"}, "username and password"),
        ("service_layer_url", {"service_layer_url": "b1.example"}, "write https://"),
        ("verify_tls", {"verify_tls": False}, "name a file with the CA"),
        ("verify_tls", {"verify_tls": "false"}, "name a file with the CA"),
        ("verify_tls", {"verify_tls": "missing.pem"}, "put the CA's certificate"),
        ("timezone", {"timezone": "Europe/Londres"}, "Europe/London"),
        ("timezone", {"timezone": "../../etc/passwd"}, "Europe/London"),
        ("currency", {"currency": "pounds"}, "GBP"),
        ("idempotency", {"idempotency": "hope"}, "'claim', 'guard' or 'lookup'"),
        ("window.length_s", {"window": {"length_s": 301}}, "300"),
        ("window.length_s", {"window": {"length_s": 0}}, "1"),
        ("password", {"password": "secret"}, "env:NAME"),
        ("customers", {"customers": {"policy": "account", "card_code": None}}, "name the CardCode"),
        ("flows.order_place", {"flows": {"order_place": "off"}}, "order_placed"),
        ("shipping_types", {"shipping_types": {"DPD/Next-Day": 4}}, "keep one"),
        ("warehouses.LON1.owner", {"warehouses": {"LON1": {"owner": ""}}}, "name the connector"),
        ("warehouses.LON1.owner", {"warehouses": {"LON1": {"owner": ["a", "b"]}}}, "a count has one"),
        ("warehouses", {"warehouses": {"RET1": {"location": "MAIN"}}}, "give each its own"),
        ("warehouses", {"warehouses": {"TOO-LONG-1": {"owner": "x", "location": "y"}}}, "B1's own code"),
        ("warehouses.LON1.gl_account.stolen", {"warehouses": {"LON1": {"gl_account": {"stolen": "1"}}}}, "lost"),
    ],
)
def test_a_fault_names_its_key_and_what_mends_it(path: str, changes: dict[str, Any], remedy: str) -> None:
    found = faults(**changes)
    mine = [message for loc, message in found.items() if loc.startswith(path)]
    assert mine, found
    assert remedy in mine[0]


def test_a_warehouse_without_an_owner_is_refused() -> None:
    assert "warehouses.NEW.owner" in faults(warehouses={"NEW": {"location": "X"}})


def test_every_fault_is_told_at_once() -> None:
    found = faults(currency="x", timezone="x", idempotency="hope", nonsense=1)
    assert {"currency", "timezone", "idempotency", "nonsense"} <= found.keys()


def test_no_fault_shows_a_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        load(password="hunter2")  # a literal, as somebody would write it
    assert "hunter2" not in str(caught.value)


def test_plain_http_is_taken_on_loopback_and_in_a_local_setup() -> None:
    assert load(service_layer_url="http://localhost:1/b1s/v2/").service_layer_url == "http://localhost:1/b1s/v2"
    assert load(local=True, service_layer_url="http://b1:50000/b1s/v2").service_layer_url == "http://b1:50000/b1s/v2"


def test_a_ca_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    assert load(folder=tmp_path, verify_tls="ca.pem").verify_tls == tmp_path / "ca.pem"
