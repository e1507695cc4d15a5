"""What must hold, whatever went wrong. Reads the history, the ledger and what lies in Kafka; never the core's memory.

The numbers (I1 ...) are those of the invariants that every run is held to: complete, single, balance, serial, order, claims,
offsets, live, chain. The chain rule is walked here a second time, by code of its own.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.metadata import CLAIM_TABLE
from schemas.codec import Codec
from schemas.events import (
    TYPE_NAMES,
    DispatchConfirmed,
    OrderCancelled,
    OrderPlaced,
    RefundIssued,
    StockAdjusted,
    identity,
)
from schemas.letters import OPEN_STATES, letter_id
from schemas.records import NO_OPS, DeadLetterState, Posting, SealedEpoch, StockBatch, StockDocument
from schemas.topics import FACTS, ORDER_FACTS, event_type
from streams.chain.keys import batch_key, event_key, invoice_key, order_key
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Committed
from tests.simulation.broker import Broker, Place
from tests.simulation.history import WAREHOUSES, Fact

_ZONE = ZoneInfo("Europe/London")
ENDS = {
    "dead": "dead",
    "parked": "parked",
    "held": "parked",
    "posted": "posted",
    "no_op": "no_op",
    "discarded": "no_op",
}
_WAITS_FOR_EVENT = ("order_not_found", "invoice_not_found")


@dataclass(slots=True)
class Chain:
    """Walks a chain by the rule alone: a record counts iff it names the last that counted."""

    kind: type[Any]
    number: int = 0
    digest: bytes = bytes(16)
    position: int = 0
    accepted: list[tuple[int, Any]] = field(default_factory=list)

    def walk(self, values: list[bytes | None], codec: Codec) -> Iterator[tuple[int, Any]]:
        for offset in range(self.position, len(values)):
            value = values[offset] or b""
            record = codec.decode(value, self.kind)
            if record.number == self.number and record.prev_digest == self.digest:
                self.number, self.digest = self.number + 1, hashlib.sha256(value).digest()[:16]
                self.accepted.append((offset, record))
                yield offset, record
        self.position = len(values)


class Checker:
    """Watches commits while the run goes on (`committing`), says when it has drained, judges the end (`judge`)."""

    def __init__(
        self, broker: Broker, company: Company, codec: Codec, facts: Mapping[tuple[str, int, int], Fact]
    ) -> None:
        self._broker, self._company, self._codec, self._facts = broker, company, codec, facts
        self.violations: list[str] = []
        self._read: Counter[Place] = Counter()
        self._queued: set[tuple[str, int, int, int]] = set()
        self._letters: dict[str, DeadLetterState] = {}
        self._letter_ks: set[str] = set()
        self._batch_documents: defaultdict[str, list[StockDocument]] = defaultdict(list)
        self._sealed: dict[int, Chain] = {}
        self._accepted: dict[int, dict[int, SealedEpoch]] = defaultdict(dict)
        self._documents: dict[int, Chain] = {}

    def say(self, what: str) -> None:
        self.violations.append(what)

    # ---- what lies in Kafka

    def _look(self) -> None:
        broker = self._broker
        for place in broker.partitions:
            topic, partition = place
            records = broker.partitions[place].records
            if topic in ("erp-orders", "erp-stock"):
                for record in records[self._read[place] :]:
                    posting = self._codec.decode(record.value or b"", Posting)
                    self._queued.add((posting.topic, posting.partition, posting.offset, posting.index))
                self._read[place] = len(records)
            elif topic == "dead-letter-state":
                for record in records[self._read[place] :]:
                    if record.value is None:
                        self._letters.pop((record.key or b"").decode(), None)
                        continue
                    letter = self._codec.decode(record.value, DeadLetterState)
                    self._letters[letter.id] = letter
                    if letter.k is not None:
                        self._letter_ks.add(letter.k)
                self._read[place] = len(records)
            elif topic == "stock-sealed":
                chain = self._sealed.setdefault(partition, Chain(SealedEpoch))
                if chain.position < len(records):
                    self._accepted[partition].update(chain.walk([record.value for record in records], self._codec))
            elif topic == "erp-documents":
                chain = self._documents.setdefault(partition, Chain(StockDocument))
                if chain.position < len(records):
                    for _, document in chain.walk([record.value for record in records], self._codec):
                        for k in document.batch_ks:
                            self._batch_documents[k].append(document)

    @property
    def _claims(self) -> Mapping[str, Mapping[str, Any]]:
        return self._company.rows(CLAIM_TABLE)

    def _posted(self, k: str) -> bool:
        return (row := self._claims.get(k)) is not None and row["U_STATE"] == "posted"

    # ---- I7: no committed offset lies beyond an event without an end

    def committing(self, offsets: Mapping[Place, Committed]) -> None:
        self._look()
        for (topic, partition), at in offsets.items():
            before = self._broker.committed.get((topic, partition))
            start = 0 if before is None else before.offset
            if at.offset < start:
                self.say(f"I7: the commit of {topic}/{partition} goes back from {start} to {at.offset}")
            for offset in range(start, at.offset):
                why = self._unfinished(topic, partition, offset)
                if why is not None:
                    self.say(
                        f"I7: {topic}/{partition} is committed up to {at.offset}, and {offset} is not finished: {why}"
                    )
                    break

    def _unfinished(self, topic: str, partition: int, offset: int) -> str | None:
        if topic in ORDER_FACTS:
            done = (topic, partition, offset, 0) in self._queued or letter_id(topic, partition, offset) in self._letters
            return None if done else "neither queued nor a letter"
        if topic == "stock-adjusted":
            sealed = self._sealed.get(partition)
            end = sealed.accepted[-1][1].end if sealed is not None and sealed.accepted else 0
            return None if offset < end else f"sealed up to {end}"
        if topic == "stock-sealed":
            return self._unrouted(partition, offset)
        posting = self._codec.decode(self._broker.partitions[topic, partition].records[offset].value or b"", Posting)
        return self._unposted(posting)

    def _unrouted(self, partition: int, offset: int) -> str | None:
        epoch = self._accepted[partition].get(offset)
        if epoch is None:
            return None
        for index in range(len(epoch.batches)):
            if ("stock-sealed", partition, offset, index) not in self._queued:
                return f"batch {index} is not queued"
        for skip in epoch.skipped:
            if skip.why not in NO_OPS and letter_id("stock-adjusted", partition, skip.offset) not in self._letters:
                return f"{skip.why} of offset {skip.offset} has no letter"
        return None

    def _unposted(self, posting: Posting) -> str | None:
        if posting.k in self._letter_ks:
            return None
        if posting.kind == "stock_batch":
            batch = self._codec.decode(posting.value, StockBatch)
            posted = any(self._posted(document.k) for document in self._batch_documents[posting.k])
            return None if posted or not batch.net else f"{posting.k} is in no document that B1 has"
        event = self._codec.decode(posting.value, (OrderPlaced, OrderCancelled, DispatchConfirmed, RefundIssued))
        if posting.k in self._claims:
            if (
                isinstance(event, DispatchConfirmed)
                and invoice_key("acme", event.source, event.shipment_id) not in self._claims
            ):
                return f"{posting.k} has no invoice"
            return None
        return None if self._may_be_nothing(event) else f"{posting.k} has no claim"

    def _may_be_nothing(self, event: Any) -> bool:
        """A cancellation of what is cancelled, and a refund of what never left, have nothing to post."""
        if not isinstance(event, OrderCancelled | RefundIssued):
            return False
        order = self._order_document(event.order_id)
        if order is None:
            return False
        closed = order["Cancelled"] == "tYES" or order["DocumentStatus"] == "bost_Close"
        return closed or (isinstance(event, RefundIssued) and self._was_cancelled(event.order_id))

    def _order_document(self, order_id: str | None) -> Mapping[str, Any] | None:
        k = order_key("acme", "shop", order_id or "")
        return next((d for d in self._company.rows("Orders").values() if d.get("U_STREAMS_KEY") == k), None)

    def _was_cancelled(self, order_id: str | None) -> bool:
        return any(
            isinstance(fact.event, OrderCancelled)
            and fact.event.order_id == order_id
            and event_key(fact.event) in self._claims
            for fact in self._facts.values()
        )

    # ---- I9: what still has to happen

    def undrained(self) -> str | None:
        """Why the run is not over: None when nothing more can happen by itself."""
        broker = self._broker
        for (topic, partition), lying in broker.partitions.items():
            if topic in (*FACTS, "stock-sealed", "erp-orders", "erp-stock") and lying.records:
                at = broker.committed.get((topic, partition))
                if at is None or at.offset < len(lying.records):
                    return f"{topic}/{partition} is at {at and at.offset} of {len(lying.records)}"
        self._look()
        for letter in self._letters.values():
            if letter.state == "parked" and letter.reason not in _WAITS_FOR_EVENT:
                return f"letter {letter.id} is parked: {letter.reason}: {letter.error}"
            if (
                letter.state == "parked"
                and letter.reason == "order_not_found"
                and self._order_document(letter.order_id)
            ):
                return f"letter {letter.id} ({letter.event_type}) waits for order {letter.order_id}, which B1 has"
            if letter.state == "held":
                blocker = self._letters.get(letter.blocked_by or "")
                if blocker is None or blocker.state not in OPEN_STATES:
                    return f"letter {letter.id} is held by {letter.blocked_by}, which is {blocker and blocker.state}"
            if letter.state in OPEN_STATES and self._whole(letter):
                return f"letter {letter.id} ({letter.event_type}) is {letter.state}, and B1 has {letter.k}"
        return None

    def _whole(self, letter: DeadLetterState) -> bool:
        """Whether B1 has all of an event whose letter is open: it landed late, and the letter is still to be closed."""
        if letter.k not in self._claims or letter.reason in ("id_reuse", "key_conflict"):
            return False
        fact = self._facts.get((letter.topic, letter.partition, letter.offset))
        event = None if fact is None else fact.event
        if isinstance(event, DispatchConfirmed):
            return self._posted(invoice_key("acme", event.source, event.shipment_id))
        return event is not None and not isinstance(event, StockAdjusted)

    # ---- the end

    def judge(self, *, drained: bool) -> None:
        self._look()
        ledger = self._company.ledger()
        documents: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for document in ledger["documents"]:
            documents[document.get("U_STREAMS_KEY") or "-"].append(document)
        self._judge_claims(ledger, documents)
        self._judge_chains()
        if not drained:
            return
        posted = self._judge_orders(documents)
        posted["stock_adjusted"] = self._judge_stock(documents)
        self._judge_counts(posted)
        self._judge_letters()

    def _judge_claims(self, ledger: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
        kinds = ("order_placed", "dispatch_confirmed", "invoice", "refund_issued", "stock_document")
        for k, lying in documents.items():
            if len(lying) > 1:
                self.say(f"I2: {k} has {len(lying)} documents: {[(d['entity'], d['DocEntry']) for d in lying]}")
            row = self._claims.get(k)
            if row is None or row["U_STATE"] != "posted":
                self.say(f"I6: {lying[0]['entity']} {lying[0]['DocEntry']} with key {k} has the claim {row}")
        for row in ledger["claims"]:
            if row["U_STATE"] == "posted" and row["U_KIND"] in kinds and row["Code"] not in documents:
                self.say(f"I6: claim {row['Code']} has no document")
        # By what people know it by, whatever K says
        for entity in ("Orders", "CreditNotes"):
            named = Counter(d["NumAtCard"] for d in ledger["documents"] if d["entity"] == entity)
            for number, count in named.items():
                if count > 1:
                    self.say(f"I2: {count} {entity} have the number {number}")

    def _judge_chains(self) -> None:
        """I12: ranges join, and every identity is a member once."""
        members: Counter[tuple[str, ...]] = Counter()
        for partition, chain in self._sealed.items():
            end = 0
            for offset, epoch in chain.accepted:
                if epoch.start != end:
                    self.say(
                        f"I12: the epoch at stock-sealed/{partition}/{offset} starts at {epoch.start}, the one before ends at {end}"
                    )
                end = epoch.end
                for batch in epoch.batches:
                    members.update((event_id, batch.sku, batch.location) for event_id in batch.event_ids)
        for member, count in members.items():
            if count > 1:
                self.say(f"I2: {member} is a member of {count} sealed batches")
        for k, lying in self._batch_documents.items():
            standing = [document.k for document in lying if self._posted(document.k)]
            if len(standing) > 1:
                self.say(f"I2: {k} is in {len(standing)} documents that stand: {standing}")

    def _judge_orders(self, documents: Mapping[str, list[Mapping[str, Any]]]) -> Counter[str]:
        posted: Counter[str] = Counter()
        first: dict[str, Any] = {}
        for _, fact in sorted(self._facts.items(), key=lambda item: item[0]):
            if fact.event is not None and not isinstance(fact.event, StockAdjusted):
                first.setdefault(event_key(fact.event), fact.event)
        open_ = {
            letter.k: letter for letter in self._letters.values()
            if letter.k is not None and letter.state in OPEN_STATES and letter.reason not in ("id_reuse", "key_conflict")
        }  # fmt: skip
        for k, event in first.items():
            kind, row, letter = TYPE_NAMES[type(event)], self._claims.get(k), open_.get(k)
            whole = row is not None
            if isinstance(event, DispatchConfirmed) and whole:
                whole = self._posted(invoice_key("acme", event.source, event.shipment_id))
                if not whole and letter is None:
                    self.say(f"I1: {k} has a delivery, no invoice and no letter")
            if whole and letter is not None:
                self.say(f"I1: {k} is posted, and letter {letter.id} is {letter.state}: {letter.reason}")
            if row is None and letter is None and not self._may_be_nothing(event):
                self.say(f"I1: {k} ({event.event_id}) is neither posted nor a letter")
            if row is not None:
                if row["U_DIGEST"] != event.digest.hex():
                    self.say(f"I1: {k} was posted with other content than came first")
                posted[kind] += letter is None
                self._judge_content(k, event, documents)
        self._judge_sequence(first, documents)
        return posted

    def _judge_content(self, k: str, event: Any, documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
        """Units and money of one document."""
        if k not in documents:
            return
        document = documents[k][0]
        cancelled = self._was_cancelled(event.order_id)
        match event:
            case OrderPlaced():
                units = Counter({line.line_id: line.quantity for line in event.lines})
                told = Counter(
                    {line["U_STREAMS_LINE"]: Decimal(line["Quantity"]) for line in document["DocumentLines"]}
                )
                if not cancelled and (units != told or Decimal(document["DocTotal"]) != event.grand_total):
                    self.say(
                        f"I3: order {event.order_id} is {units}, {event.grand_total}, in B1 {told}, {document['DocTotal']}"
                    )
            case DispatchConfirmed():
                if _units(event.lines) != (told := _item_units(document)):
                    self.say(f"I3: shipment {event.shipment_id} has {_units(event.lines)}, its delivery {told}")
            case RefundIssued():
                wrong = _units(event.lines) != _item_units(document) or Decimal(document["DocTotal"]) != event.total
                if not cancelled and wrong:
                    self.say(f"I3: refund {event.refund_id} is {event.total}, its credit memo {document['DocTotal']}")

    def _judge_sequence(self, first: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
        """I5: order before delivery before invoice before credit memo; the invoices of all of an order come to its total."""
        orders = {event.order_id: (k, event) for k, event in first.items() if isinstance(event, OrderPlaced)}
        placed: dict[int, int] = {}
        invoices: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for order_id, (k, _) in orders.items():
            if k in documents:
                placed[order_id] = documents[k][0]["sequence"]
        credited: dict[str, int] = {}
        for k, event in first.items():
            if isinstance(event, OrderPlaced) or k not in documents:
                continue
            sequence = documents[k][0]["sequence"]
            if sequence < placed.get(event.order_id, sequence + 1):
                self.say(f"I5: {k} came before its order {event.order_id}")
            if isinstance(event, RefundIssued):
                credited[event.order_id] = min(sequence, credited.get(event.order_id, sequence))
            if isinstance(event, DispatchConfirmed):
                invoice = documents.get(invoice_key("acme", event.source, event.shipment_id))
                if invoice:
                    invoices[event.order_id].append(invoice[0])
                    if invoice[0]["sequence"] < sequence:
                        self.say(f"I5: the invoice of {k} came before its delivery")
        for order_id, sequence in credited.items():
            if not any(invoice["sequence"] < sequence for invoice in invoices[order_id]):
                self.say(f"I5: a credit memo of order {order_id} came before every invoice")
        self._judge_cancellations(first, documents)
        for order_id, (k, event) in orders.items():
            if k not in documents or self._was_cancelled(order_id):
                continue
            units: Counter[Any] = Counter()
            for invoice in invoices[order_id]:
                units.update({line["ItemCode"]: Decimal(0) for line in invoice["DocumentLines"]})
                for line in invoice["DocumentLines"]:
                    units[line["ItemCode"]] += Decimal(line["Quantity"])
            total = sum((Decimal(invoice["DocTotal"]) for invoice in invoices[order_id]), Decimal(0))
            if units == _units(event.lines) and total != event.grand_total:
                self.say(f"I3: order {order_id} is {event.grand_total}, its invoices come to {total}")

    def _judge_cancellations(self, first: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
        """I5: a dispatch that was published before its order was cancelled is not refused because of that."""
        stamps: dict[str, int] = {}
        cancelled: dict[str, int] = {}
        for place, fact in sorted(self._facts.items(), key=lambda item: item[0]):
            if fact.event is None or isinstance(fact.event, StockAdjusted):
                continue
            stamp = self._broker.partitions[place[0], place[1]].records[place[2]].timestamp_ms
            stamps.setdefault(event_key(fact.event), stamp)
            if isinstance(fact.event, OrderCancelled):
                cancelled[fact.event.order_id] = min(stamp, cancelled.get(fact.event.order_id, stamp))
        shipped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        ordered: dict[str, Any] = {}
        for k, event in first.items():
            if isinstance(event, OrderPlaced) and len({line.sku for line in event.lines}) == len(event.lines):
                if stamps[k] <= cancelled.get(event.order_id, -1):
                    ordered[event.order_id] = event
            elif isinstance(event, DispatchConfirmed) and k in documents:
                shipped[event.order_id] += _units(event.lines)
        for letter in self._letters.values():
            event = first.get(letter.k or "")
            if (
                letter.reason != "over_delivered"
                or letter.state != "dead"
                or event is None
                or event.order_id not in ordered
            ):
                continue
            units = _units(event.lines) + shipped[event.order_id]
            room = all(count <= _units(ordered[event.order_id].lines)[sku] for sku, count in units.items())
            if room and stamps[letter.k or ""] < cancelled[event.order_id]:
                self.say(f"I5: {letter.k} was refused for a cancellation that was published after it")

    # ---- stock

    def _judge_stock(self, documents: Mapping[str, list[Mapping[str, Any]]]) -> int:
        """I3: movements of stock documents = deltas of what was accepted and is not in a letter. Answers how many were posted."""
        counted: dict[tuple[str, ...], StockAdjusted] = {}
        known: set[tuple[str, ...]] = set()
        for _, fact in sorted(self._facts.items(), key=lambda item: item[0]):
            event = fact.event
            if isinstance(event, StockAdjusted) and identity(event) not in known:
                known.add(identity(event))
                old = event.observed_at - event.occurred_at > timedelta(days=35)
                if event.location in WAREHOUSES and event.reason != "return" and not old:
                    counted[identity(event)] = event
        sealed = {
            (event_id, batch.sku, batch.location): (batch_key(batch), batch)
            for chain in self._sealed.values() for _, epoch in chain.accepted for batch in epoch.batches for event_id in batch.event_ids
        }  # fmt: skip
        if sealed.keys() != counted.keys():
            self.say(
                f"I1: counted {sorted(sealed.keys() - counted.keys())}, not counted {sorted(counted.keys() - sealed.keys())}"
            )
            return -1
        letters = {
            letter.k
            for letter in self._letters.values()
            if letter.event_type == "stock_batch" and letter.state in OPEN_STATES
        }
        wanted: Counter[Any] = Counter()
        posted = 0
        for key, event in counted.items():
            k, batch = sealed[key]
            standing = any(self._posted(document.k) for document in self._batch_documents[k])
            if batch.net and standing == (k in letters):
                self.say(f"I1: batch {k} is {'posted and a letter' if standing else 'neither posted nor a letter'}")
            if k in letters:
                continue
            posted += bool(batch.net)
            day = event.occurred_at.astimezone(_ZONE).date().isoformat()
            wanted[event.sku, WAREHOUSES[event.location], event.reason, day] += event.delta
            if event.to_location is not None:
                wanted[event.sku, WAREHOUSES[event.to_location], event.reason, day] -= event.delta
        moved: Counter[Any] = Counter()
        for lying in documents.values():
            for document in lying:
                day = document["DocDate"][:10]
                for line in document.get("DocumentLines", ()) if document["object"] in (59, 60) else ():
                    sign = 1 if document["object"] == 59 else -1
                    moved[line["ItemCode"], line["WarehouseCode"], line["FreeText"], day] += sign * Decimal(
                        line["Quantity"]
                    )
                for line in document.get("StockTransferLines", ()):
                    moved[line["ItemCode"], line["FromWarehouseCode"], "transfer", day] -= Decimal(line["Quantity"])
                    moved[line["ItemCode"], line["WarehouseCode"], "transfer", day] += Decimal(line["Quantity"])
        for key in wanted.keys() | moved.keys():
            if wanted[key] != moved[key]:
                self.say(f"I3: {key}: {moved[key]} in B1, {wanted[key]} came")
        return posted

    # ---- counts and letters

    def _judge_counts(self, posted: Mapping[str, int]) -> None:
        """I1 as `streams status` shows it: published = posted + no_op + parked + dead, of each flow."""
        received: Counter[str] = Counter()
        for (topic, _), lying in self._broker.partitions.items():
            if topic in FACTS:
                received[event_type(topic)] += len(lying.records)
        ended: Counter[tuple[str, str]] = Counter()
        for committed in self._broker.committed.values():
            ended.update(
                {key: n for key, n in decode_counts(committed.metadata).items() if key[1] in ("posted", "no_op")}
            )
        for letter in self._letters.values():
            ended[_flow(letter), ENDS[letter.state]] += len(letter.members) or 1
        for topic in FACTS:
            flow = event_type(topic)
            ends = {end: ended[flow, end] for end in ("posted", "no_op", "parked", "dead")}
            if sum(ends.values()) != received[flow]:
                self.say(f"I1: {flow}: {received[flow]} published, ended {ends}")
            if posted.get(flow, 0) >= 0 and ends["posted"] != posted.get(flow, 0):
                self.say(f"I1: {flow}: counted as posted {ends['posted']}, in B1 {posted.get(flow, 0)}")

    def _judge_letters(self) -> None:
        """The bytes of a letter are those that came, and it names what it is."""
        for letter in self._letters.values():
            if letter.event_type == "stock_batch":
                continue
            fact = self._facts.get((letter.topic, letter.partition, letter.offset))
            place = (letter.letter_topic, letter.letter_partition)
            records = self._broker.partitions[place].records
            if (
                fact is None
                or letter.letter_offset >= len(records)
                or records[letter.letter_offset].value != fact.value
            ):
                self.say(
                    f"I1: letter {letter.id} does not have the bytes of {letter.topic}/{letter.partition}/{letter.offset}"
                )


def _flow(letter: DeadLetterState) -> str:
    return "stock_adjusted" if letter.event_type == "stock_batch" else letter.event_type


def _units(lines: Any) -> Counter[Any]:
    units: Counter[Any] = Counter()
    for line in lines:
        units[line.sku] += line.quantity
    return units


def _item_units(document: Mapping[str, Any]) -> Counter[Any]:
    units: Counter[Any] = Counter()
    for line in document["DocumentLines"]:
        units[line["ItemCode"]] += Decimal(line["Quantity"])
    return units
