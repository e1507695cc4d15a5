"""The checker must be checked: a clean history passes, and each doctored one is found."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import FACTS, Ended, Evidence, Record, Sample, _schema
from tests.chaos.generator import NO_OP, PARKED, SHOP, WAREHOUSE, Line
from tests.chaos.invariants.view import key_of

NOW = datetime(2026, 11, 20, tzinfo=UTC)
GENESIS = bytes(16)
BATCH = "stock_batch-AAAAAAAAAAAAAAAAAAAAAAAAAA"
DOCUMENT = "stock_document-AAAAAAAAAAAAAAAAAAAAAAAAAA"
ORDER, SHIPMENT = key_of("order_placed", SHOP, "O1"), key_of("dispatch_confirmed", WAREHOUSE, "S1")
INVOICE = key_of("invoice", WAREHOUSE, "S1")


def encode(name: str, value: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, _schema(name), value)
    return b"\0\0\0\0\1" + buffer.getvalue()


def event(source: str, **fields: object) -> dict[str, Any]:
    return {
        "source": source,
        "company": "acme",
        "event_id": "e",
        "occurred_at": NOW,
        "observed_at": NOW,
        "digest": GENESIS,
        **fields,
    }


def posting(k: str, topic: str, partition: int, offset: int, **fields: object) -> bytes:
    return encode(
        "posting",
        {
            "k": k,
            "kind": k.partition("-")[0],
            "company": "acme",
            "source": "",
            "digest": GENESIS,
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp_ms": 0,
            "value": b"",
            **fields,
        },
    )


def epoch(number: int, prev: bytes, start: int, end: int, **fields: object) -> bytes:
    return encode(
        "sealed_epoch",
        {
            "number": number,
            "prev_digest": prev,
            "start": start,
            "end": end,
            "sealed_at": NOW,
            "config_version": "v",
            "cause": "length",
            "batches": [],
            **fields,
        },
    )


def batch(offset: int, delta: str) -> dict[str, Any]:
    return {
        "company": "acme",
        "source": WAREHOUSE,
        "sku": "A00",
        "location": "MAIN",
        "reason": "found",
        "posting_date": date(2026, 11, 20),
        "net": Decimal(delta),
        "event_ids": ["E1"],
        "offsets": [offset],
        "deltas": [Decimal(delta)],
        "digests": GENESIS,
    }


def document(entity: str, sequence: int, key: str, total: str = "0") -> dict[str, Any]:
    return {"entity": entity, "sequence": sequence, "U_STREAMS_KEY": key, "DocNum": sequence, "DocTotal": total}


@dataclass
class World:
    """An order of 2, its dispatch and invoice; a found 1.5; a dispatch that waits; a repeat; a line that is cut."""

    lines: list[Line] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    sessions: dict[str, dict[str, int]] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = (*FACTS, "stock-sealed", "erp-orders", "erp-stock", "erp-documents", "dead-letter-state")
        letters = (*(f"{name}-dead-letter" for name in FACTS), "erp-stock-dead-letter", "inbox-dead-letter")
        self.records = {name: [] for name in (*names, *letters)}
        total = Decimal("12.00")
        out, found = (("A00", "LON1", Decimal(-2)),), (("A00", "LON1", Decimal("1.5")),)
        self.lines = [
            Line(0, SHOP, "order_placed", "{1}", "t1", ("O1",), total=total),
            Line(1, WAREHOUSE, "dispatch_confirmed", "{2}", "t2", ("S1",), moves=out),
            Line(1, WAREHOUSE, "dispatch_confirmed", "{3}", "t3", ("S2",), PARKED),
            Line(2, WAREHOUSE, "stock_adjusted", "{4}", "t4", ("E1", "A00", "MAIN"), moves=found),
            Line(3, WAREHOUSE, "stock_adjusted", "{4}", "t4", ("E1", "A00", "MAIN"), NO_OP, repeat=True),
            Line(4, SHOP, "inbox", "{cut", "t5", expected="dead:unreadable", published=False),
        ]
        order = event(SHOP, order_id="O1", currency="GBP", note="t1", lines=[])
        self.add("order-placed", encode("order_placed", order))
        for shipment, token in (("S1", "t2"), ("S2", "t3")):
            said = event(
                WAREHOUSE, shipment_id=shipment, order_id="O1", location="MAIN", tracking_numbers=[token], lines=[]
            )
            self.add("dispatch-confirmed", encode("dispatch_confirmed", said))
        for _ in range(2):
            said = event(WAREHOUSE, event_id="E1", sku="A00", location="MAIN", delta=Decimal("1.5"), reason="found")
            self.add("stock-adjusted", encode("stock_adjusted", {**said, "note": "t4"}))
        self.add("erp-orders", posting(ORDER, "order-placed", 0, 0))
        self.add("erp-orders", posting(SHIPMENT, "dispatch-confirmed", 0, 0))
        waiting = key_of("dispatch_confirmed", WAREHOUSE, "S2")
        self.add("erp-orders", posting(waiting, "dispatch-confirmed", 0, 1))
        first = epoch(0, GENESIS, 0, 1, batches=[batch(0, "1.5")])
        self.add("stock-sealed", first)
        self.add("stock-sealed", epoch(0, GENESIS, 0, 2, batches=[batch(0, "1.5")]))  # a zombie's: counts for nobody
        digest = hashlib.sha256(first).digest()[:16]
        self.add("stock-sealed", epoch(1, digest, 1, 2, skipped=[{"offset": 1, "why": "repeat"}]))
        self.add("erp-stock", posting(BATCH, "stock-sealed", 0, 0))
        self.add("erp-documents", self.sealed(0, GENESIS, DOCUMENT, BATCH))
        self.letter("L1", "parked", "order_not_found", "dispatch-confirmed", 0, 1, k=waiting)
        self.letter("L2", "dead", "unreadable", "inbox", -1, 1, value=b"{cut")
        self.ledger = {
            "claims": [
                {"Code": ORDER, "U_KIND": "order_placed"},
                {"Code": SHIPMENT, "U_KIND": "dispatch_confirmed"},
                {"Code": INVOICE, "U_KIND": "invoice"},
                {"Code": DOCUMENT, "U_KIND": "stock_document"},
            ],
            "documents": [
                document("Orders", 1, ORDER, "12"),
                document("DeliveryNotes", 2, SHIPMENT),
                document("Invoices", 3, INVOICE),
                document("InventoryGenEntries", 4, DOCUMENT),
            ],
            "drafts": [],
            "movements": [
                {"item": "A00", "warehouse": "LON1", "quantity": quantity, "object": kind}
                for quantity, kind in (("1000000", 0), ("-2", 15), ("1.5", 59))
            ],
            "on_hand": [{"item": "A00", "warehouse": "LON1", "quantity": "999999.5"}],
        }
        nothing = dict.fromkeys(("received", "posted", "no_op", "parked", "dead"), 0)
        self.status = {
            "flows": {
                "order_placed": {**nothing, "received": 1, "posted": 1},
                "dispatch_confirmed": {**nothing, "received": 2, "posted": 1, "parked": 1},
                "stock_adjusted": {**nothing, "received": 2, "posted": 1, "no_op": 1},
                "inbox": {**nothing, "received": 1, "dead": 1},
            }
        }
        ends = {(name, 0): len(records) for name, records in self.records.items()}
        committed = {(name, 0): ends[name, 0] for name in (*FACTS, "stock-sealed", "erp-orders", "erp-stock")}
        self.samples = [Sample(1.0, dict.fromkeys(committed, 0), 0, ends), Sample(9.0, committed, 4, ends)]
        self.sessions = {"streams-0": {"sessions_open": 0, "sessions_high_water": 2}}
        self.ended = [Ended("worker-0", "streams-0", 0, 2.0)]

    def add(self, topic: str, value: bytes, headers: dict[str, bytes] | None = None) -> None:
        records = self.records[topic]
        records.append(Record(topic, 0, len(records), value, headers or {}))

    def sealed(self, number: int, prev: bytes, k: str, *batch_ks: str) -> bytes:
        return encode(
            "stock_document",
            {
                "number": number,
                "prev_digest": prev,
                "k": k,
                "company": "acme",
                "direction": "entry",
                "posting_date": date(2026, 11, 20),
                "lines": [],
                "batch_ks": list(batch_ks),
                "sealed_at": NOW,
                "config_version": "v",
            },
        )

    def letter(
        self,
        identity: str,
        state: str,
        reason: str,
        flow: str,
        partition: int,
        offset: int,
        *,
        k: str | None = None,
        value: bytes = b"",
    ) -> None:
        told = {
            "id": identity,
            "state": state,
            "reason": reason,
            "owner": "",
            "company": "acme",
            "k": k,
            "event_type": flow.replace("-", "_"),
            "topic": flow,
            "partition": partition,
            "offset": offset,
            "letter_topic": f"{flow}-dead-letter",
            "letter_partition": 0,
            "letter_offset": 0,
            "first_failed_at": NOW,
            "at": NOW,
        }
        self.add("dead-letter-state", encode("letter_state", told))
        self.add(f"{flow}-dead-letter", value, {"b1streams.id": identity.encode()})

    def evidence(self) -> Evidence:
        return Evidence(self.lines, self.records, self.ledger, self.status, self.samples, self.sessions, self.ended, 2)


@pytest.fixture
def world() -> World:
    return World()


def test_a_clean_history_is_clean(world: World) -> None:
    verdict = check(world.evidence())
    assert [str(one) for one in verdict.discrepancies] == []
    assert verdict.ends["dispatch_confirmed"] == {"posted": 1, "parked": 1}
    assert verdict.events == 6


def test_a_fact_that_a_killed_connector_wrote_twice_is_a_repeat(world: World) -> None:
    again = replace(world.records["order-placed"][0], offset=1)
    world.records["order-placed"].append(again)
    world.status["flows"]["order_placed"] |= {"received": 2, "no_op": 1}
    world.samples.clear()
    verdict = check(world.evidence())
    assert (verdict.ok, verdict.published_again) == (True, 1)


def _no_document(world: World) -> None:
    del world.ledger["documents"][1]


def _nothing_of_an_order(world: World) -> None:
    del world.ledger["documents"][0], world.ledger["claims"][0]


def _no_invoice(world: World) -> None:
    del world.ledger["documents"][2], world.ledger["claims"][2]


def _no_stock_document(world: World) -> None:
    del world.ledger["documents"][3], world.ledger["claims"][3]


def _no_letter(world: World) -> None:
    del world.records["dead-letter-state"][0]


def _no_fact(world: World) -> None:
    world.records["dispatch-confirmed"].pop()


def _no_letter_of_a_cut_line(world: World) -> None:
    world.records["inbox-dead-letter"].clear()


def _never_sealed(world: World) -> None:
    world.records["stock-sealed"].pop()


def _two_documents(world: World) -> None:
    world.ledger["documents"].append(document("Orders", 5, ORDER, "12"))


def _posted_and_parked(world: World) -> None:
    waiting = key_of("dispatch_confirmed", WAREHOUSE, "S2")
    invoice = key_of("invoice", WAREHOUSE, "S2")
    world.ledger["claims"] += [{"Code": waiting}, {"Code": invoice}]
    world.ledger["documents"] += [document("DeliveryNotes", 5, waiting), document("Invoices", 6, invoice)]


def _batch_in_two_documents(world: World) -> None:
    head = hashlib.sha256(world.records["erp-documents"][0].value).digest()[:16]
    other = "stock_document-BBBBBBBBBBBBBBBBBBBBBBBBBB"
    world.add("erp-documents", world.sealed(1, head, other, BATCH))
    world.ledger["claims"].append({"Code": other, "U_KIND": "stock_document"})
    world.ledger["documents"].append(document("InventoryGenEntries", 5, other))


def _event_in_two_batches(world: World) -> None:
    head = hashlib.sha256(world.records["stock-sealed"][0].value).digest()[:16]
    world.records["stock-sealed"][2] = replace(
        world.records["stock-sealed"][2], value=epoch(1, head, 1, 2, batches=[batch(1, "1.5")])
    )
    world.add("erp-stock", posting(BATCH, "stock-sealed", 0, 2))


def _a_millionth(world: World) -> None:
    world.ledger["movements"][2]["quantity"] = "1.500001"
    world.ledger["on_hand"][0]["quantity"] = "999999.500001"


def _on_hand(world: World) -> None:
    world.ledger["on_hand"][0]["quantity"] = "999999.6"


def _a_penny(world: World) -> None:
    world.ledger["documents"][0]["DocTotal"] = "12.01"


def _no_claim(world: World) -> None:
    del world.ledger["claims"][3]


def _stranger(world: World) -> None:
    world.ledger["claims"].append({"Code": "order_placed-X", "U_KIND": "order_placed"})
    world.ledger["documents"].append(document("Orders", 5, "order_placed-X"))


def _committed_before_the_document(world: World) -> None:
    world.samples[1] = replace(world.samples[1], documents=3)


def _committed_before_the_letter(world: World) -> None:
    ends = {**world.samples[1].ends, ("dead-letter-state", 0): 0}
    world.samples[1] = replace(world.samples[1], ends=ends)


def _committed_before_the_seal(world: World) -> None:
    ends = {**world.samples[1].ends, ("stock-sealed", 0): 2}
    world.samples[1] = replace(world.samples[1], ends=ends)


def _committed_before_the_queue(world: World) -> None:
    ends = {**world.samples[1].ends, ("erp-orders", 0): 0}
    world.samples[1] = replace(world.samples[1], ends=ends)


def _commit_goes_back(world: World) -> None:
    world.samples.append(replace(world.samples[1], committed={("erp-orders", 0): 1}))


def _gap_in_the_chain(world: World) -> None:
    head = hashlib.sha256(world.records["stock-sealed"][0].value).digest()[:16]
    world.records["stock-sealed"][2] = replace(world.records["stock-sealed"][2], value=epoch(1, head, 2, 2))


def _too_many_sessions(world: World) -> None:
    world.sessions["streams-0"]["sessions_high_water"] = 3


def _session_left(world: World) -> None:
    world.sessions["streams-0"]["sessions_open"] = 1


def _bad_exit(world: World) -> None:
    world.ended = [Ended("worker-0", "streams-0", 1, 2.0)]


def _late_exit(world: World) -> None:
    world.ended = [Ended("worker-0", "streams-0", 0, 31.0)]


def _miscounted(world: World) -> None:
    world.status["flows"]["stock_adjusted"]["no_op"] = 0


def _open_draft(world: World) -> None:
    world.ledger["drafts"].append({"DocEntry": 1, "DocumentStatus": "bost_Open"})


@pytest.mark.parametrize(
    ("doctor", "invariant"),
    [
        (_no_document, "lost"),
        (_nothing_of_an_order, "lost"),
        (_no_invoice, "lost"),
        (_no_stock_document, "lost"),
        (_no_letter, "lost"),
        (_no_fact, "lost"),
        (_no_letter_of_a_cut_line, "lost"),
        (_never_sealed, "lost"),
        (_two_documents, "double"),
        (_posted_and_parked, "double"),
        (_batch_in_two_documents, "double"),
        (_event_in_two_batches, "double"),
        (_a_millionth, "units"),
        (_on_hand, "units"),
        (_a_penny, "money"),
        (_no_claim, "claim"),
        (_stranger, "document"),
        (_open_draft, "document"),
        (_committed_before_the_document, "offsets"),
        (_committed_before_the_letter, "offsets"),
        (_committed_before_the_seal, "offsets"),
        (_committed_before_the_queue, "offsets"),
        (_commit_goes_back, "offsets"),
        (_gap_in_the_chain, "chain"),
        (_too_many_sessions, "sessions"),
        (_session_left, "sessions"),
        (_bad_exit, "stop"),
        (_late_exit, "stop"),
        (_miscounted, "status"),
    ],
)
def test_a_doctored_history_is_found(world: World, doctor: Callable[[World], None], invariant: str) -> None:
    world.ledger = deepcopy(world.ledger)
    doctor(world)
    verdict = check(world.evidence())
    assert verdict.count(invariant) > 0, [str(one) for one in verdict.discrepancies]
