from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connectors.sap_b1.change_set import B1Request
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import B1Answer, UnavailableError
from connectors.sap_b1.sink import B1Sink, Found, is_open, kind_of, total_of
from lab.simulators.sap_b1.faults import FaultKind, FaultPlan
from lab.simulators.sap_b1.state.company import Company
from schemas.records import Document


def key(kind: str, name: str = "a") -> str:
    return f"{kind}-{name * 26}"


def claim(kind: str = "order_placed", name: str = "a", **more: Any) -> Claim:
    return replace(Claim(key(kind, name), kind, bytes(16), "1 order-placed/0/0"), **more)


def order(k: str, **more: Any) -> B1Request:
    line = {
        "ItemCode": "A1",
        "Quantity": Decimal(2),
        "UnitPrice": Decimal("10.00"),
        "WarehouseCode": "LON1",
        "VatGroup": "O1",
        "U_STREAMS_LINE": "1",
    }
    body = {
        "CardCode": "C-WEB",
        "DocDate": "2026-11-02",
        "DocDueDate": "2026-11-02",
        "U_STREAMS_KEY": k,
        "U_STREAMS_ORDER": k,
        "DocumentLines": [line],
        **more,
    }
    return B1Request("POST", "Orders", body)


def exit_of(k: str, quantity: int) -> B1Request:
    line = {"ItemCode": "A1", "Quantity": Decimal(quantity), "WarehouseCode": "LON1"}
    return B1Request(
        "POST", "InventoryGenExits", {"DocDate": "2026-11-02", "U_STREAMS_KEY": k, "DocumentLines": [line]}
    )


@pytest.fixture
def sink(service_layer: HttpServiceLayer) -> B1Sink:
    return B1Sink(service_layer)


class TestWrite:
    async def test_a_document_is_made_with_its_claim(self, sink: B1Sink) -> None:
        mine = claim()
        written = await sink.write([mine], [order(mine.k)])
        assert (written.outcome, written.ref) == (
            OutcomeClass.APPLIED,
            Document(object="Orders", doc_entry=1, doc_num=1700001),
        )
        assert written.document is not None
        assert written.document["DocTotal"] == Decimal("24.00")
        found = (await sink.look_up([mine.k]))[mine.k]
        assert (found.claim, found.ref, found.copies, found.draft, found.cancelled) == (
            mine,
            written.ref,
            1,
            False,
            False,
        )

    async def test_the_same_again_is_adopted(self, sink: B1Sink, company: Company) -> None:
        mine = claim()
        first = await sink.write([mine], [order(mine.k)])
        again = await sink.write([replace(mine, version="1 order-placed/0/9")], [order(mine.k)])
        assert (again.outcome, again.ref, again.claim) == (OutcomeClass.EXISTS, first.ref, mine)
        assert company.counters["documents"] == 1

    async def test_the_same_identity_with_other_content_is_id_reuse(self, sink: B1Sink) -> None:
        mine = claim()
        await sink.write([mine], [order(mine.k)])
        other = await sink.write([replace(mine, digest=b"x" * 16)], [order(mine.k)])
        assert (other.outcome, other.reason, other.claim) == (OutcomeClass.REJECTED, "id_reuse", mine)

    async def test_a_claim_of_another_kind_is_a_key_conflict(self, sink: B1Sink) -> None:
        mine = claim()
        await sink.write([replace(mine, kind="invoice")], [])
        written = await sink.write([mine], [order(mine.k)])
        assert (written.outcome, written.reason) == (OutcomeClass.REJECTED, "key_conflict")
        assert "in B1 is one of a " in (written.error or "")  # what is there, and what ours is
        assert ", ours of a " in (written.error or "")

    async def test_a_claim_without_its_document_is_an_orphan(self, sink: B1Sink) -> None:
        mine = claim()
        await sink.write([mine], [])
        written = await sink.write([mine], [order(mine.k)])
        assert (written.outcome, written.orphan, written.claim) == (OutcomeClass.UNKNOWN, True, mine)

    @pytest.mark.parametrize("state", ["void", "discarded"])
    async def test_a_claim_that_needs_no_document_is_adopted_alone(self, sink: B1Sink, state: str) -> None:
        mine = claim(state=state)
        await sink.write([mine], [])
        written = await sink.write([claim()], [order(mine.k)])
        assert (written.outcome, written.ref, written.claim) == (OutcomeClass.EXISTS, None, mine)

    async def test_a_cancellation_has_a_claim_and_no_document(self, sink: B1Sink, company: Company) -> None:
        placed = claim()
        first = await sink.write([placed], [order(placed.k)])
        assert first.ref is not None
        cancelled = claim("order_cancelled")
        request = B1Request("POST", f"Orders({first.ref.doc_entry})/Cancel")
        written = await sink.write([cancelled], [request])
        assert (written.outcome, written.ref, written.document) == (OutcomeClass.APPLIED, None, None)
        assert (await sink.write([cancelled], [request])).outcome is OutcomeClass.EXISTS
        again = await sink.write([placed], [order(placed.k)])
        assert (again.outcome, again.cancelled, again.ref) == (OutcomeClass.EXISTS, True, first.ref)

    async def test_a_document_that_replaces_another_voids_it(self, sink: B1Sink) -> None:
        old, new = claim("stock_document", "o"), claim("stock_document", "n")
        void = replace(old, state="void")
        written = await sink.write([void, new], [exit_of(new.k, 1)])
        assert (written.outcome, written.ref) == (
            OutcomeClass.APPLIED,
            Document(object="InventoryGenExits", doc_entry=1, doc_num=6000001),
        )
        late = await sink.write([old], [exit_of(old.k, 2)])
        assert (late.outcome, late.claim, late.ref) == (OutcomeClass.EXISTS, void, None)

    async def test_a_document_whose_predecessor_stands_says_so(self, sink: B1Sink, company: Company) -> None:
        old, new = claim("stock_document", "o"), claim("stock_document", "n")
        first = await sink.write([old], [exit_of(old.k, 2)])
        written = await sink.write([replace(old, state="void"), new], [exit_of(new.k, 1)])
        assert (written.outcome, written.claim, written.ref) == (OutcomeClass.EXISTS, None, None)
        assert written.found[old.k].ref == first.ref
        assert company.counters["documents"] == 1

    async def test_an_exists_without_a_claim_is_a_lock(self, sink: B1Sink, faults: FaultPlan, transport: Any) -> None:
        """-2035 says both (T8, F12)."""
        for kind in (FaultKind.LOCKED, FaultKind.DUPLICATE):
            faults.script(kind, path="U_STREAMS_CLAIM")
            sent = len(transport.requests)
            written = await sink.write([claim()], [order(claim().k)])
            assert (written.outcome, written.sap_code) == (OutcomeClass.LOCKED, "-2035")
            assert len(transport.requests) - sent <= 3  # login, write, one look
        assert (await sink.write([claim()], [order(claim().k)])).outcome is OutcomeClass.APPLIED

    async def test_a_refusal_has_a_reason_a_line_and_our_words(self, sink: B1Sink) -> None:
        k = key("stock_document")
        written = await sink.write([claim("stock_document")], [exit_of(k, 1000)])
        assert (written.outcome, written.reason, written.line) == (OutcomeClass.REJECTED, "negative_stock", 1)
        assert written.error is not None
        assert written.error.startswith("B1 refused InventoryGenExits: HTTP 400, code -10: ")
        assert (await sink.look_up([k]))[k] == Found()

    async def test_a_draft_is_approval_required(self, sink: B1Sink, company: Company) -> None:
        company.rules = replace(company.rules, approval=frozenset({"Orders"}))
        mine = claim()
        written = await sink.write([mine], [order(mine.k)])
        assert (written.outcome, written.reason) == (OutcomeClass.REJECTED, "approval_required")
        assert written.ref == Document(object="Drafts", doc_entry=1, doc_num=1)
        assert (await sink.look_up([mine.k]))[mine.k].draft

    async def test_no_matching_records_without_a_draft_is_a_refusal(self, sink: B1Sink) -> None:
        mine = claim()
        written = await sink.write([mine], [order(mine.k, CardCode="NOBODY")])
        assert (written.outcome, written.reason) == (OutcomeClass.REJECTED, "erp_refused")

    async def test_an_item_that_does_not_exist_is_an_unknown_item(self, sink: B1Sink) -> None:
        k = key("stock_document")
        request = exit_of(k, 1)
        assert request.body is not None
        request.body["DocumentLines"][0]["ItemCode"] = "NONE"
        written = await sink.write([claim("stock_document")], [request])
        assert (written.reason, written.line) == ("unknown_item", 1)

    async def test_two_documents_of_one_key_page(self, sink: B1Sink, service_layer: HttpServiceLayer) -> None:
        mine = claim()
        await sink.write([mine], [order(mine.k)])
        await service_layer.change_set([order(mine.k)])
        written = await sink.write([mine], [order(mine.k)])
        assert (written.outcome, written.orphan) == (OutcomeClass.UNKNOWN, True)
        assert written.error is not None
        assert "2 documents" in written.error

    async def test_an_answer_that_is_lost_is_unknown_and_repeating_adopts(
        self, sink: B1Sink, faults: FaultPlan, company: Company
    ) -> None:
        mine = claim()
        faults.script(FaultKind.LOST_AFTER, path="Orders")
        assert (await sink.write([mine], [order(mine.k)])).outcome is OutcomeClass.UNKNOWN
        assert (await sink.write([mine], [order(mine.k)])).outcome is OutcomeClass.EXISTS
        assert company.counters["documents"] == 1

    async def test_an_outage_while_adopting_is_not_taken_for_an_answer(self, service_layer: HttpServiceLayer) -> None:
        class Half:
            change_set = service_layer.change_set

            async def read(self, paths: Sequence[str]) -> list[B1Answer]:
                raise UnavailableError("gone", retry_after_s=3)

        mine = claim()
        await service_layer.change_set([mine.request()])
        written = await B1Sink(Half()).write([mine], [])  # type: ignore[arg-type]
        assert (written.outcome, written.retry_after_s) == (OutcomeClass.UNAVAILABLE, 3)


class TestWriteClaimed:
    async def test_a_document_goes_alone_under_an_intent_that_stands(self, sink: B1Sink, company: Company) -> None:
        mine = claim(state="intent", writer="w1")
        await sink.write([mine], [])
        written = await sink.write_claimed(mine, [order(mine.k)])
        assert written.outcome is OutcomeClass.APPLIED
        assert (await sink.look_up([mine.k]))[mine.k].claim == mine
        found = await sink.document_of(mine)
        assert found is not None
        assert (found.outcome, found.ref) == (OutcomeClass.EXISTS, written.ref)

    async def test_an_intent_without_a_document_is_open(self, sink: B1Sink) -> None:
        mine = claim(state="intent", plan="0" * 16, writer="w1")
        await sink.write([mine], [])
        written = await sink.write([replace(mine, writer="w2")], [])
        assert is_open(written)
        assert written.claim == mine
        assert await sink.document_of(mine) is None

    async def test_what_the_guard_refuses_is_adopted(self, sink: B1Sink, company: Company) -> None:
        company.load({"rules": {"guard": True}})
        mine = claim(state="intent")
        await sink.write([mine], [])
        first = await sink.write_claimed(mine, [order(mine.k)])
        again = await sink.write_claimed(mine, [order(mine.k)])
        assert (again.outcome, again.ref) == (OutcomeClass.EXISTS, first.ref)

    async def test_a_document_that_lost_its_claim_is_adopted_where_the_guard_refuses_another(
        self, sink: B1Sink, company: Company
    ) -> None:
        company.load({"rules": {"guard": True}})
        mine = claim()
        first = await sink.write([], [order(mine.k)])
        again = await sink.write([mine], [order(mine.k)])
        assert (again.outcome, again.ref) == (OutcomeClass.EXISTS, first.ref)

    async def test_a_withdrawn_claim_is_not_written_under(self, sink: B1Sink, company: Company) -> None:
        company.load({"rules": {"guard": True}})
        mine = claim(state="void")
        await sink.write([mine], [])
        written = await sink.write_claimed(replace(mine, state="intent"), [order(mine.k)])
        assert (written.outcome, written.claim) == (OutcomeClass.EXISTS, mine)

    async def test_a_draft_waits_for_its_approval(self, sink: B1Sink, company: Company) -> None:
        company.load({"rules": {"atomic_change_sets": False, "approval": ["Orders"]}})
        mine = claim(state="intent")
        await sink.write([mine], [])
        written = await sink.write_claimed(mine, [order(mine.k)])
        assert (written.outcome, written.reason) == (OutcomeClass.REJECTED, "approval_required")
        assert written.ref is not None
        again = await sink.document_of(mine)
        assert again is not None
        assert again.reason == "approval_required"

    async def test_a_refusal_is_b1s(self, sink: B1Sink) -> None:
        mine = claim(state="intent")
        await sink.write([mine], [])
        written = await sink.write_claimed(mine, [order(mine.k, CardCode="NOBODY")])
        assert (written.outcome, written.reason) == (OutcomeClass.REJECTED, "erp_refused")


class TestLookUp:
    async def test_nothing_is_found_of_what_was_never_written(self, sink: B1Sink) -> None:
        ks = [
            key(kind) for kind in ("order_placed", "order_cancelled", "stock_batch", "stock_document", "refund_issued")
        ]
        assert await sink.look_up(ks) == dict.fromkeys(ks, Found())
        assert await sink.look_up([]) == {}

    async def test_a_document_without_a_claim_is_found_too(self, sink: B1Sink, service_layer: HttpServiceLayer) -> None:
        """So looks one that was made of a draft, after somebody approved it."""
        k = key("order_placed")
        await service_layer.change_set([order(k)])
        found = (await sink.look_up([k]))[k]
        assert (found.claim, found.draft, found.copies) == (None, False, 1)

    async def test_a_draft_that_became_a_document_is_that_document(self, sink: B1Sink, company: Company) -> None:
        company.rules = replace(company.rules, approval=frozenset({"Orders"}))
        mine = claim()
        await sink.write([mine], [order(mine.k)])
        company.rules = replace(company.rules, approval=frozenset())
        approved = await sink._service_layer.post("DraftsService_SaveDraftToDocument", {"Document": {"DocEntry": 1}})
        assert approved.ok
        found = (await sink.look_up([mine.k]))[mine.k]
        assert (found.draft, found.ref) == (False, Document(object="Orders", doc_entry=1, doc_num=1700001))

    async def test_a_draft_that_was_thrown_away_is_nothing_to_wait_for(self, sink: B1Sink, company: Company) -> None:
        company.rules = replace(company.rules, approval=frozenset({"Orders"}))
        mine = claim()
        await sink.write([mine], [order(mine.k)])
        (draft,) = company.rows("Drafts").values()
        draft["DocumentStatus"] = "bost_Close"  # type: ignore[index]
        assert (await sink.look_up([mine.k]))[mine.k] == Found()

    async def test_of_a_cancelled_document_and_one_that_stands_the_one_that_stands_speaks(
        self, sink: B1Sink, service_layer: HttpServiceLayer
    ) -> None:
        """Whichever came first, it is one copy; the mirror that a cancellation makes is none."""
        mine = claim("refund_issued")
        credit = replace(order(mine.k), path="CreditNotes")
        await service_layer.change_set([credit])
        await service_layer.change_set([B1Request("POST", "CreditNotes(1)/Cancel")])
        await service_layer.change_set([mine.request(), credit])
        found = (await sink.look_up([mine.k]))[mine.k]
        assert found.ref is not None
        assert found.ref.doc_entry not in (1, 2)
        assert (found.copies, found.cancelled) == (1, False)
        again = await sink.write([mine], [credit])
        assert (again.outcome, again.orphan) == (OutcomeClass.EXISTS, False)

    async def test_the_mirror_of_a_cancelled_document_is_not_the_document(
        self, sink: B1Sink, service_layer: HttpServiceLayer
    ) -> None:
        mine = claim("refund_issued")
        await service_layer.change_set([mine.request(), replace(order(mine.k), path="CreditNotes")])
        await service_layer.change_set([B1Request("POST", "CreditNotes(1)/Cancel")])
        found = (await sink.look_up([mine.k]))[mine.k]
        assert found.ref is not None
        assert (found.ref.doc_entry, found.cancelled, found.copies) == (1, True, 0)

    async def test_more_than_a_page_of_keys_is_found_whole(self, sink: B1Sink) -> None:
        claims = [claim(name=name) for name in "abcdefghijklmnopqrstuvwxyz"]
        for one in claims:
            assert (await sink.write([one], [order(one.k)])).outcome is OutcomeClass.APPLIED
        found = await sink.look_up([one.k for one in claims])
        assert all(entry.claim is not None and entry.ref is not None for entry in found.values())


async def test_orders_are_remembered_by_b1(sink: B1Sink) -> None:
    mine = claim()
    await sink.write([mine], [order(mine.k)])
    views = await sink.orders([mine.k, key("order_placed", "z")])
    view = views[mine.k]
    assert view is not None
    assert (view.doc_entry, view.card_code, [line.quantity for line in view.lines]) == (1, "C-WEB", [Decimal(2)])
    assert views[key("order_placed", "z")] is None


async def test_an_invoice_made_by_hand_is_found_by_card_and_number(
    sink: B1Sink, service_layer: HttpServiceLayer
) -> None:
    mine = claim()
    await sink.write([mine], [order(mine.k, NumAtCard="1001")])
    body = {name: value for name, value in (order("k").body or {}).items() if not name.startswith("U_")}
    made = await service_layer.change_set([B1Request("POST", "Invoices", {**body, "NumAtCard": "1001"})])
    assert made[0].ok
    view = (await sink.orders([mine.k]))[mine.k]
    assert view is not None
    assert [invoice.doc_entry for invoice in await sink.invoices(view)] == [1]


class TestPreview:
    async def test_the_total_is_b1s_and_nothing_is_saved(self, sink: B1Sink, company: Company) -> None:
        body = order("k").body
        assert body is not None
        assert total_of((await sink.preview(body)).document or {}) == Decimal("24.00")
        assert company.counters["documents"] == 0

    async def test_a_foreign_total_is_in_its_own_currency(self) -> None:
        assert total_of({"DocTotal": Decimal("20"), "DocTotalFc": Decimal("24")}) == 24
        assert total_of({"DocTotal": Decimal("20"), "DocTotalFc": 0}) == 20
        assert total_of({}) is None

    async def test_what_b1_would_refuse_is_refused(self, sink: B1Sink, company: Company) -> None:
        company.load({"Items": [{"ItemCode": "A1", "Frozen": "tYES", "Valid": "tNO"}]})
        body = order("k").body
        assert body is not None
        previewed = await sink.preview(body)
        assert (previewed.outcome, previewed.reason) == (OutcomeClass.REJECTED, "inactive_item")

    async def test_a_lost_answer_is_unknown(self, sink: B1Sink, faults: FaultPlan) -> None:
        faults.script(FaultKind.LOST_AFTER, path="OrdersService_Preview")
        previewed = await sink.preview({})
        assert (previewed.outcome, previewed.answered) == (OutcomeClass.UNKNOWN, False)

    @pytest.mark.parametrize("kind", [FaultKind.LOCKED, FaultKind.CONFLICT])
    async def test_a_lock_is_a_lock(self, sink: B1Sink, faults: FaultPlan, kind: FaultKind) -> None:
        """Row 2 of the finds of the field: it was taken for an outage."""
        faults.script(kind, path="OrdersService_Preview")
        body = order("k").body
        assert body is not None
        assert (await sink.preview(body)).outcome is OutcomeClass.LOCKED


K = key("order_placed")


class TestAttempts:
    """A withdrawn event that is tried anew has another row under the same K."""

    async def test_each_attempt_has_its_row_and_the_last_one_speaks(self, sink: B1Sink, company: Company) -> None:
        body = order(K)
        first = Claim(K, "order_placed", bytes(16), "1 order-placed/0/0")
        assert (await sink.write([replace(first, state="void")], [])).outcome is OutcomeClass.APPLIED
        late = await sink.write([first], [body])
        assert (late.outcome, late.claim and late.claim.state) == (OutcomeClass.EXISTS, "void")
        again = await sink.write([replace(first, attempt=1)], [body])
        assert again.outcome is OutcomeClass.APPLIED
        for attempt in (0, 1):
            written = await sink.write([replace(first, attempt=attempt)], [body])
            assert (written.outcome, written.claim) == (OutcomeClass.EXISTS, replace(first, attempt=1))
            assert written.ref is not None
        assert company.counters["documents"] == 1
        found = (await sink.look_up([K]))[K]
        assert (found.claim, found.copies) == (replace(first, attempt=1), 1)

    async def test_a_withdrawn_earlier_attempt_is_no_claim_of_the_next_one(
        self, sink: B1Sink, company: Company, faults: FaultPlan
    ) -> None:
        first = Claim(K, "order_placed", bytes(16), "1 order-placed/0/0")
        await sink.write([replace(first, state="void")], [])
        faults.script(FaultKind.LOCKED)
        written = await sink.write([replace(first, attempt=1)], [order(K)])
        assert written.outcome is OutcomeClass.LOCKED
        assert company.counters["documents"] == 0


def test_the_kind_stands_in_the_key() -> None:
    assert kind_of("dispatch_confirmed-abc") == "dispatch_confirmed"
