"""Change sets stand or fall whole; drafts, locks, backups."""

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from lab.simulators.sap_b1.state.rules import Rules
from tests.lab.simulators.sap_b1.company import D, based, claim, deliver_order, document, line, made, order, post, state


def test_claim_and_document_stand_or_fall_together(company: Company) -> None:
    both = [Request("POST", "U_STREAMS_CLAIM", claim("K"), "1"), Request("POST", "Orders", order(line("NONE")), "2")]
    assert [answer.code for answer in company.apply(both)] == [-2028]
    assert company.ledger()["claims"] == []
    both[1] = Request("POST", "Orders", order(U_STREAMS_KEY="K"), "2")
    assert [answer.status for answer in company.apply(both)] == [201, 201]
    assert [answer.code for answer in company.apply(both)] == [-2035]
    assert (len(company.ledger()["claims"]), len(company.ledger()["documents"])) == (1, 1)


def test_a_failing_change_set_gives_the_base_documents_their_open_quantities_back(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    before = state(company)
    delivery = Request("POST", "DeliveryNotes", document(based(17, entry)))
    assert len(company.apply([delivery, Request("POST", "Orders", order(line("NONE")))])) == 1
    assert state(company) == before
    assert company.apply([delivery])[0].status == 201


def test_a_later_request_names_an_earlier_ones_document(company: Company) -> None:
    requests = [Request("POST", "Orders", order(), "1"), Request("POST", "/b1s/v2/$1/Cancel", None, "2")]
    assert [answer.status for answer in company.apply(requests)] == [201, 204]
    assert company.read("Orders(1)").body["Cancelled"] == "tYES"


def test_a_get_in_a_change_set_is_refused(company: Company) -> None:
    assert company.apply([Request("GET", "Orders")])[0].code == -1000


def test_approval_makes_a_draft_and_answers_minus_2028(company: Company) -> None:
    company.rules = Rules(approval=frozenset({"Orders"}))
    both = [
        Request("POST", "U_STREAMS_CLAIM", claim("K"), "1"),
        Request("POST", "Orders", order(U_STREAMS_KEY="K"), "2"),
    ]
    assert [(answer.status, answer.code) for answer in company.apply(both)] == [(404, -2028)]
    drafts = company.read("Drafts?$filter=U_STREAMS_KEY eq 'K'").body["value"]
    assert [(row["DocObjectCode"], row["AuthorizationStatus"]) for row in drafts] == [("oOrders", "dasPending")]
    assert company.ledger()["claims"] == []
    assert post(company, "DraftsService_SaveDraftToDocument", {"Document": {"DocEntry": "1"}}).status == 204
    assert len(company.read("Orders?$filter=U_STREAMS_KEY eq 'K'").body["value"]) == 1
    assert post(company, "Orders", order(), prefer="return-no-content").status == 204
    company.rules = Rules(approval=frozenset({"Orders"}), approval_keeps_draft=False)
    company.apply(both)
    assert len(company.ledger()["drafts"]) == 2


def test_an_item_held_by_another_is_locked_and_counted_by_cause(company: Company) -> None:
    exit_ = [Request("POST", "InventoryGenExits", {"DocumentLines": [line()]})]
    assert company.lock("A1", "people:anna")
    assert not company.lock("A1", "worker")
    assert [answer.code for answer in company.apply(exit_)] == [-2039]
    company.rules = Rules(locked_code=-2035)
    answer = company.apply(exit_)[0]
    assert (answer.code, "locked" in answer.text) == (-2035, True)
    company.unlock("A1", "people:anna")
    company.lock("A1", "worker")
    assert [answer.code for answer in company.apply(exit_, "other")] == [-2035]
    assert [answer.status for answer in company.apply(exit_, "worker")] == [201]
    assert (company.counters["lock_refusals_people"], company.counters["lock_refusals_own"]) == (2, 1)


def test_documents_that_move_no_stock_lock_no_item(company: Company) -> None:
    _, delivery = deliver_order(company)
    invoice = Request("POST", "Invoices", document(based(15, delivery)))
    assert frozenset() == company.work([invoice]).items
    quiet = Request("POST", "CreditNotes", document(line(WithoutInventoryMovement="tYES")))
    assert frozenset() == company.work([quiet]).items
    assert frozenset({"A1"}) == company.work([Request("POST", "Orders", order())]).items
    company.rules = Rules(orders_lock_items=False)
    assert frozenset() == company.work([Request("POST", "Orders", order())]).items


def test_a_backup_brings_back_what_was(company: Company) -> None:
    image = company.backup()
    made(post(company, "Invoices", document(line(quantity=4))))
    company.restore(image)
    assert (D(100), []) == (company.on_hand("A1", "LON1"), company.ledger()["documents"])
