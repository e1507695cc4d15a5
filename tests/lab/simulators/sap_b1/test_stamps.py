"""Every change of a document or an item leaves its date and time, as far as SAP's types have them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request


class Time:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 2, 23, 59, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(minutes=1)
        return self.at


@pytest.fixture
def company() -> Company:
    return Company(
        clock=Time(),
        master_data={
            "BusinessPartners": [{"CardCode": "C"}],
            "Warehouses": [{"WarehouseCode": "W"}, {"WarehouseCode": "V"}],
            "Items": [{"ItemCode": "A", "ItemPrices": [{"PriceList": 1, "Price": 5}, {"PriceList": 2, "Price": 4}]}],
            "stock": [{"item": "A", "warehouse": "W", "quantity": 10}],
        },
    )


def do(company: Company, method: str, path: str, body: Any = None) -> Any:
    (answer,) = company.apply([Request(method, path, body)])
    assert answer.status < 300, answer.text
    return answer.body


def stamp(company: Company, entity: str, key: Any) -> tuple[str, str]:
    row = company.rows(entity)[key]
    return row["UpdateDate"], row["UpdateTime"]


def test_a_document_that_another_one_draws_from_has_changed(company: Company) -> None:
    line = {"ItemCode": "A", "Quantity": 2, "WarehouseCode": "W"}
    order = do(company, "POST", "Orders", {"CardCode": "C", "DocDueDate": "2026-11-03", "DocumentLines": [line]})
    assert order["CreationDate"] == "2026-11-03T00:00:00Z"
    seen = [stamp(company, "Orders", 1)]
    based = {"BaseType": 17, "BaseEntry": 1, "BaseLine": 0, "Quantity": 1}
    do(company, "POST", "DeliveryNotes", {"CardCode": "C", "DocumentLines": [based]})
    seen.append(stamp(company, "Orders", 1))
    do(company, "PATCH", "DeliveryNotes(1)", {"TrackingNumber": "TN"})
    assert stamp(company, "DeliveryNotes", 1) > seen[-1]
    do(company, "POST", "Orders(1)/Close")
    seen.append(stamp(company, "Orders", 1))
    assert sorted(set(seen)) == seen


def test_a_refused_change_leaves_no_date(company: Company) -> None:
    before = stamp(company, "Items", "A")
    (answer,) = company.apply([Request("PATCH", "Items('A')", {"NoSuchProperty": 1})])
    assert answer.status == 400
    assert stamp(company, "Items", "A") == before


def test_stock_postings_leave_the_item_as_it_was_and_a_transfer_has_no_time(company: Company) -> None:
    before = stamp(company, "Items", "A")
    line = {"ItemCode": "A", "Quantity": 2, "FromWarehouseCode": "W", "WarehouseCode": "V"}
    do(company, "POST", "StockTransfers", {"StockTransferLines": [line]})
    assert stamp(company, "Items", "A") == before
    assert "UpdateTime" not in company.rows("StockTransfers")[1]


def test_a_price_is_changed_by_its_list_and_the_others_stay(company: Company) -> None:
    before = stamp(company, "Items", "A")
    do(company, "PATCH", "Items('A')", {"ItemPrices": [{"PriceList": 2, "Price": 3}]})
    prices = company.rows("Items")["A"]["ItemPrices"]
    assert [(each["PriceList"], each["Price"]) for each in prices] == [(1, 5), (2, 3)]
    assert stamp(company, "Items", "A") > before
