"""A wrong claim, a document without one and an open draft are found."""

import pytest


@pytest.mark.parametrize(
    "entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes", "InventoryGenEntries", "InventoryGenExits"]
)
@pytest.mark.parametrize("claimed", [True, False])
def test_a_second_document_is_found_with_or_without_a_claim_of_its_own(case, entity, claimed):
    case.double(case.documents(entity)[-1], claimed=claimed)
    found = case.prove()
    assert found.count("double") >= 1


def test_a_claim_without_a_document_and_a_document_without_a_claim_are_found(case):
    case.ledger["claims"].append({"Code": "order_placed-GHOST", "U_STATE": "posted"})
    case.ledger["claims"].remove(case.ledger["claims"][0])
    assert [one.kind for one in case.prove().discrepancies] == ["claim", "claim"]


def test_a_void_claim_stands_for_no_document_and_must_have_none(case):
    case.ledger["claims"].append({"Code": "stock_document-VOID", "U_STATE": "void"})
    assert case.prove().ok
    case.ledger["claims"][0]["U_STATE"] = "void"
    assert case.kinds() == {"claim"}


def test_the_row_in_which_the_doctor_leaves_the_tier_stands_for_no_document(case):
    case.ledger["claims"].append({"Code": "tier", "U_KIND": "proof", "U_STATE": "claim"})
    assert case.prove().ok


def test_a_document_without_our_key_is_found(case):
    case.documents("Orders")[0]["U_STREAMS_KEY"] = None
    assert "claim" in case.kinds()


def test_an_open_draft_is_found(case):
    case.ledger["drafts"].append({"DocEntry": 1, "DocumentStatus": "bost_Open", "DocObjectCode": "oOrders"})
    assert case.kinds() == {"document"}
