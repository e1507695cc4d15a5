"""What a document's body may contain."""

from typing import Any

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.rules import Rules
from tests.lab.simulators.sap_b1.company import D, line, made, order, post


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (order(OrderDate="2026-01-01"), "Property 'OrderDate' of 'Document' is invalid"),
        (order(line(Qty=1)), "Property 'Qty' of 'DocumentLine' is invalid"),
        (order(line(BatchNumbers=[{"Batch": "x"}])), "Property 'Batch' of 'BatchNumber' is invalid"),
        (order(AddressExtension={"Street": "x"}), "Property 'Street' of 'AddressExtension' is invalid"),
        (order(U_OTHER="x"), "Property 'U_OTHER' of 'Document' is invalid"),
    ],
)
def test_an_unknown_property_is_refused_with_minus_1000(company: Company, body: dict[str, Any], text: str) -> None:
    answer = post(company, "Orders", body)
    assert (400, -1000, text) == (answer.status, answer.code, answer.text)


def test_a_transfer_knows_due_date_but_not_doc_due_date(company: Company) -> None:
    lines = [{"ItemCode": "A1", "Quantity": 1, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}]
    assert post(company, "StockTransfers", {"DocDueDate": "2026-11-21", "StockTransferLines": lines}).code == -1000
    assert post(company, "StockTransfers", {"DueDate": "2026-11-21", "StockTransferLines": lines}).status == 201


def test_read_only_properties_in_a_body_are_ignored(company: Company) -> None:
    body = made(post(company, "Orders", order(DocEntry=999, DocumentStatus="bost_Close", VatSum=5)))
    assert (body["DocEntry"], body["DocumentStatus"]) == (1, "bost_Open")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"CardCode": "NOBODY"}, -2028),
        ({"CardCode": "C-OFF"}, -10),
        ({"CardCode": "S-1"}, -10),
        ({"CardCode": None}, -5002),
        ({"DocDueDate": None}, -5002),
        ({"TransportationCode": 99}, -5002),
        ({"DocumentAdditionalExpenses": [{"ExpenseCode": 9, "LineTotal": 1}]}, -5002),
        ({"DocumentAdditionalExpenses": [{"ExpenseCode": 1, "LineTotal": 1, "VatGroup": "NO"}]}, -5002),
        ({"DocumentReferences": [{"RefObjType": "rot_SalesInvoice", "RefDocEntr": 7}]}, -2028),
        ({"DocumentLines": []}, -5002),
        ({"DocDate": "21.11.2026"}, -1000),
        ({"DocumentLines": [line("NONE")]}, -2028),
        ({"DocumentLines": [line(WarehouseCode="NONE")]}, -2028),
        ({"DocumentLines": [line(WarehouseCode="OLD")]}, -10),
        ({"DocumentLines": [line(VatGroup="NONE")]}, -5002),
        ({"DocumentLines": [line(VatGroup="OX")]}, -5002),
        ({"DocumentLines": [line(TaxCode="NONE")]}, -5002),
        ({"DocumentLines": [line(AccountCode="NONE")]}, -5002),
        ({"DocumentLines": [line(quantity=0)]}, -10),
        ({"DocumentLines": [line(quantity=-1)]}, -10),
        ({"DocumentLines": [line(quantity="many")]}, -1000),
    ],
)
def test_an_unknown_or_unusable_code_is_refused(company: Company, change: dict[str, Any], code: int) -> None:
    assert code == post(company, "Orders", {**order(), **change}).code


def test_numbers_may_come_as_text(company: Company) -> None:
    assert D("2.5") == made(post(company, "Orders", order(line(quantity="2.5"))))["DocumentLines"][0]["Quantity"]


def test_a_float_is_a_mistake_of_the_caller(company: Company) -> None:
    with pytest.raises(TypeError, match="Quantity is a float"):
        post(company, "Orders", order(line(quantity=1.5)))


def test_comments_over_254_characters_are_refused_not_cut(company: Company) -> None:
    assert post(company, "Orders", order(Comments="x" * 254)).status == 201
    assert "Value too long" in post(company, "Orders", order(Comments="x" * 255)).text


@pytest.mark.parametrize("item", ["DEAD", "COLD"])
def test_an_inactive_or_frozen_item_is_refused_in_both_known_texts(company: Company, item: str) -> None:
    answer = post(company, "Orders", order(line(), line(item)))
    assert (answer.code, "is inactive" in answer.text, "[line: 2]" in answer.text) == (-10, True, True)
    company.rules = Rules(inactive_code=-5002)
    answer = post(company, "Orders", order(line(item)))
    assert (answer.code, "Invalid Item" in answer.text) == (-5002, True)


def test_an_items_validity_window_decides_by_the_posting_date(company: Company) -> None:
    company.load({"Items": [{"ItemCode": "A2", "ValidFrom": "2026-11-01T00:00:00Z"}]})
    assert "inactive" in post(company, "Orders", order(line("A2"), DocDate="2026-10-31")).text
    assert post(company, "Orders", order(line("A2"), DocDate="2026-11-01")).status == 201


def test_a_locked_period_is_minus_4013_and_no_period_is_out_of_range(company: Company) -> None:
    october = {"start": "2026-10-01", "end": "2026-10-31", "locked": True}
    company.load({"periods": [october, {"start": "2026-11-21", "end": "2026-11-21"}]})
    assert post(company, "Orders", order(DocDate="2026-10-05")).code == -4013
    assert "deviates from permissible range" in post(company, "Orders", order(DocDate="2026-09-05")).text
    assert post(company, "Orders", order(DocDate="2026-11-21")).status == 201


def test_a_multi_branch_company_needs_the_branch_of_the_warehouse(company: Company) -> None:
    company.rules = Rules(multi_branch=True)
    answer = post(company, "Orders", order())
    assert (answer.code, "Specify an active branch" in answer.text) == (-5002, True)
    assert post(company, "Orders", order(BPL_IDAssignedToInvoice=2)).code == -5002
    assert post(company, "Orders", order(BPL_IDAssignedToInvoice=1)).status == 201
