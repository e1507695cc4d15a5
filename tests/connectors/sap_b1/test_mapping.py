from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import Refusal
from connectors.base.settings import ConnectorSettings
from connectors.sap_b1.mapping import CompanyMap
from tests.connectors.sap_b1.documents.world import company_map


def with_connectors(**connectors: dict[str, Any]) -> CompanyMap:
    settings = company_map(
        warehouses={
            "PAR1": {"owner": "paris", "location": "MAIN"},
            "PAR2": {"owner": "paris", "location": "BACK"},
        }
    ).settings
    parsed = {
        n: ConnectorSettings.model_validate({"kind": "ims", "company": "acme", **c}) for n, c in connectors.items()
    }
    return CompanyMap("acme", settings, parsed)


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert ";" in caught.value.error, "an error says what mends it"
    return caught.value.reason


def test_a_location_leads_to_the_warehouse_of_its_owner() -> None:
    m = with_connectors(warehouse={}, paris={})
    assert m.stock_warehouse("warehouse", "MAIN") == "LON1"
    assert m.stock_warehouse("paris", "MAIN") == "PAR1"


def test_a_count_of_another_owner_s_location_is_refused() -> None:
    m = with_connectors(warehouse={}, shop={"locations": {"London": "LON1"}})
    assert reason(lambda: m.stock_warehouse("warehouse", "BACK")) == "location_not_owned"
    assert reason(lambda: m.stock_warehouse("shop", "MAIN")) == "location_not_owned"
    assert reason(lambda: m.stock_warehouse("shop", "London")) == "location_not_owned"
    assert reason(lambda: m.stock_warehouse("warehouse", "NOWHERE")) == "unmapped_location"


def test_a_name_of_the_connector_s_own_replaces_the_warehouse_s() -> None:
    m = with_connectors(warehouse={"locations": {"W-1": "LON1"}})
    assert m.stock_warehouse("warehouse", "W-1") == "LON1"
    assert reason(lambda: m.dispatch_warehouse("warehouse", "GONE")) == "unmapped_location"
    # One name per source and warehouse (R126): MAIN is no longer LON1 for it, it is only another's.
    assert reason(lambda: m.stock_warehouse("warehouse", "MAIN")) == "location_not_owned"


def test_a_name_that_leads_to_no_mapped_warehouse_is_refused() -> None:
    m = with_connectors(shop={"locations": {"X": "NONE"}, "orders": {"warehouse": "NONE"}})
    assert reason(lambda: m.line_warehouse("shop", "X")) == "unmapped_location"
    assert reason(lambda: m.line_warehouse("shop", None)) == "unmapped_location"


def test_an_order_may_name_another_owner_s_location_where_only_one_has_it() -> None:
    m = with_connectors(shop={}, warehouse={})
    assert m.line_warehouse("shop", "BACK") == "PAR2"
    assert reason(lambda: m.line_warehouse("shop", "MAIN")) == "unmapped_location"
    assert m.dispatch_warehouse("warehouse", "MAIN") == "LON1"
    assert reason(lambda: m.line_warehouse("shop", None)) == "unmapped_location"


def test_skus_are_item_codes_unless_mapped() -> None:
    assert company_map().item_code("TSHIRT-RED") == "TS001-R"
    assert company_map().item_code("OTHER") == "OTHER"
    assert reason(lambda: company_map(items_only_mapped=True).item_code("OTHER")) == "unmapped_item"


def test_a_tax_code_is_mapped_or_refused() -> None:
    assert (company_map().tax_code("GB-0"), company_map().tax_code(None)) == ("O0", "O1")
    assert reason(lambda: company_map().tax_code("US-7")) == "unmapped_tax_code"
    assert reason(lambda: company_map(tax={"default": None}).tax_code(None)) == "unmapped_tax_code"


def test_a_rate_without_a_tax_code_is_looked_up_and_never_takes_the_default() -> None:
    assert reason(lambda: company_map().tax_code(None, Decimal(0))) == "unmapped_tax_code"
    by_rate = company_map(tax={"default": "O1", "codes": {"0": "O0", "17.5": "O9"}})
    assert (by_rate.tax_code(None, Decimal("0.00")), by_rate.tax_code(None, Decimal("17.50"))) == ("O0", "O9")
    assert by_rate.tax_code(None) == "O1"
    assert by_rate.tax_code("0", Decimal(20)) == "O0"


@pytest.mark.parametrize(
    ("carrier", "service", "code"),
    [("DPD", "Next-Day", 3), ("royal mail", None, 4), ("Royal Mail", "24", 4), (None, "x", None)],
)
def test_a_carrier_is_looked_up_with_its_service_then_alone(
    carrier: str | None, service: str | None, code: int | None
) -> None:
    assert company_map().shipping_type(carrier, service) == code


def test_an_unmapped_carrier_is_refused() -> None:
    assert reason(lambda: company_map().shipping_type("DPD", "Saturday")) == "unmapped_carrier"


def test_the_posting_date_is_the_company_s() -> None:
    m = company_map(timezone="Europe/Berlin")
    assert m.posting_date(datetime(2026, 3, 2, 23, 30, tzinfo=UTC)) == date(2026, 3, 3)
    assert company_map().posting_date(datetime(2026, 7, 2, 23, 30, tzinfo=UTC)) == date(2026, 7, 3)


def test_flows_starts_order_sources_and_accounts() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    m = company_map(flows={"order_placed": "off"})
    assert (m.flow_off("order_placed"), m.flow_off("refund_issued")) == (True, False)
    later = with_connectors(
        shop={"start_at": start.isoformat()}, warehouse={"order_source": ["shop", "b2b"]}, old={"start_at": ""}
    )
    assert later.before_start("shop", datetime(2025, 12, 31, tzinfo=UTC))
    assert not later.before_start("shop", start)
    assert not later.before_start("old", datetime(1999, 1, 1, tzinfo=UTC))
    assert later.order_sources("warehouse") == ("shop", "b2b")
    assert later.order_sources("shop") == ("shop",)
    assert (m.account("LON1", "damaged"), m.account("LON1", "found")) == ("5100", None)
    assert (m.returns_by_refund("LON1"), m.returns_by_refund("RET1")) == (True, False)
