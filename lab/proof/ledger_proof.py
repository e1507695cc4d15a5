"""The demo's ledger proof: was every unit and every penny that went in posted once?

It reads what anybody can read: the files that were put in, what the vendors' ledgers say (`books.py`), the dead-letter
topics, and the simulated company's ledger.
It shares no code with the pipeline: it imports none of its modules, finds documents by what people see on them
(`NumAtCard`, tracking number, base documents), and does its own sums. The only thing taken from the pipeline's side is
the published schema of a letter's state, read as data.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fastavro
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

FLOWS = ("order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued", "stock_adjusted", "unreadable")
_SHOWN = 20  # discrepancies that are named on the screen
_PENNY = Decimal("0.01")
_ZERO = Decimal(0)
_STATE_SCHEMA = Path(__file__).parents[2] / "schemas" / "avro" / "letter_state.v1.avsc"
_LETTER_TOPICS = (
    *(f"{flow.replace('_', '-')}-dead-letter" for flow in FLOWS[:-1]),
    "erp-stock-dead-letter",
    "inbox-dead-letter",
)
_STATE_TOPIC = "dead-letter-state"
_OPEN = {"dead": "dead", "parked": "parked", "held": "parked"}
_NUMBERS = frozenset(
    {"quantity", "unit_price", "discount", "tax_rate", "tax_amount", "amount", "tax_total", "grand_total", "total"}
    | {"delta", "level"}
)
_STOCK_OBJECTS = {59: 1, 60: -1}  # InventoryGenEntries, InventoryGenExits


@dataclass(frozen=True, slots=True)
class Terms:
    """What the company agreed, in the words of the input; everything else is read from files and ledger.

    Attributes:
        items: sku -> ItemCode, where they differ.
        places: A location's name -> WhsCode.
        accounts: Reason of a stock movement -> G/L account; a reason without one is posted without.
        default_places: Connector -> WhsCode of its order lines that name no location.
        timezone: Of posting dates.
        returns_by_refund: Whether refunds bring goods back, so that adjustments of reason `return` do nothing.
    """

    items: Mapping[str, str]
    places: Mapping[str, str]
    accounts: Mapping[str, str]
    default_places: Mapping[str, str]
    timezone: str = "Europe/London"
    returns_by_refund: bool = True

    def item(self, sku: str) -> str:
        return self.items.get(sku, sku)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead, parked or held event as the dead-letter topics have it; `state` is the last one."""

    id: str
    topic: str
    state: str
    reason: str
    event_type: str
    value: bytes
    event_ids: tuple[str, ...] = ()  # several for a stock batch
    sku: str | None = None


#: All that is looked at on a document; the rest would only fill memory.
_OF_A_DOCUMENT = frozenset(
    {
        "entity", "object", "DocEntry", "DocNum", "DocDate", "DocTotal", "NumAtCard", "TrackingNumber", "Cancelled",
        "CancelStatus", "U_STREAMS_KEY", "U_STREAMS_ORDER",
    }
)  # fmt: skip
_OF_A_LINE = frozenset(
    {
        "ItemCode", "WarehouseCode", "FromWarehouseCode", "Quantity", "LineTotal", "TaxTotal", "BaseType", "BaseEntry",
        "BaseLine", "AccountCode",
    }
)  # fmt: skip
_LINES = ("DocumentLines", "StockTransferLines")


def read_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of the ledger, with what the proof looks at."""
    kept = {name: value for name, value in document.items() if name in _OF_A_DOCUMENT}
    for name in _LINES:
        if name in document:
            kept[name] = [{key: line[key] for key in line.keys() & _OF_A_LINE} for line in document[name]]
    return kept


@dataclass(frozen=True, slots=True)
class Discrepancy:
    kind: str  # lost | double | units | money | claim | document | letter
    where: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Ends:
    """What became of the lines of one flow, repeats included."""

    received: int = 0
    posted: int = 0
    no_op: int = 0
    parked: int = 0
    dead: int = 0

    @property
    def unaccounted(self) -> int:
        return self.received - self.posted - self.no_op - self.parked - self.dead


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict; `ok` is whether nothing was lost, doubled, miscounted or mispriced.

    Attributes:
        flows: Flow -> ends, in lines of input.
        reasons: Reason -> open letters.
        discrepancies: Everything that does not balance.
        units_expected, units_posted: Units moved, by absolute value, from the files and in the ledger.
        ordered, invoiced, credited: Money, gross: grand totals of the posted orders, invoices, credit memos.
        stock_events, stock_documents: How many movements became how many documents.
        calls, documents: As the ledger counted them.
        document_sets: Change sets that made documents; `previews` and `refused` (also what was already there when a
            lost answer made us ask again) made none.
        naive_writes: Calls that one for each posted event's document would have taken (a dispatch has two).
    """

    flows: Mapping[str, Ends]
    reasons: Mapping[str, int]
    discrepancies: tuple[Discrepancy, ...]
    units_expected: Decimal
    units_posted: Decimal
    ordered: Decimal
    invoiced: Decimal
    credited: Decimal
    stock_events: int
    stock_documents: int
    calls: int
    document_sets: int
    previews: int
    refused: int
    documents: int
    naive_writes: int

    @property
    def ok(self) -> bool:
        return not self.discrepancies

    @property
    def received(self) -> int:
        return sum(ends.received for ends in self.flows.values())

    def count(self, kind: str) -> int:
        """How many discrepancies of a kind."""
        return sum(1 for one in self.discrepancies if one.kind == kind)


async def read_letters(bootstrap_servers: str, prefix: str = "", **security: Any) -> list[Letter]:
    """Every letter of the cluster: the bytes in the dead-letter topics, and each one's last state.

    Args:
        bootstrap_servers: Kafka's.
        prefix: The configuration's `topic_prefix`.
        security: Further arguments of the consumer, for a cluster that wants them.
    """
    wanted = [prefix + name for name in (*_LETTER_TOPICS, _STATE_TOPIC)]
    connection = {"bootstrap_servers": bootstrap_servers, **security}
    admin: Any = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        described = await admin.describe_topics([name for name in wanted if name in there])
    finally:
        await admin.close()
    partitions = {
        topic["topic"]: [TopicPartition(topic["topic"], one["partition"]) for one in topic["partitions"]]
        for topic in described
    }
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        group_id=None, auto_offset_reset="earliest", **connection
    )
    try:
        await consumer.start()
        letters = [
            (name, {key: value for key, value in record.headers if value is not None}, bytes(record.value or b""))
            for name in _LETTER_TOPICS
            for record in await _records(consumer, partitions.get(prefix + name, []))
        ]
        records = await _records(consumer, partitions.get(prefix + _STATE_TOPIC, []))
    finally:
        await consumer.stop()
    return letters_of(letters, [(record.key, record.value) for record in records])


def letters_of(
    letters: Iterable[tuple[str, Mapping[str, bytes], bytes]], states: Iterable[tuple[bytes | None, bytes | None]]
) -> list[Letter]:
    """Dead letters from (topic, headers, bytes) and `dead-letter-state`'s keys and values, in order of their offsets."""
    schema = fastavro.parse_schema(json.loads(_STATE_SCHEMA.read_text(encoding="utf-8")))
    last: dict[str, dict[str, Any]] = {}
    withdrawn: set[str] = set()
    for key, value in states:
        identity = (key or b"").decode()
        if value is None:  # the letter should not have been written, say, by a poster that was paused and replaced
            last.pop(identity, None)
            withdrawn.add(identity)
        else:
            last[identity] = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)  # type: ignore[assignment]
            withdrawn.discard(identity)
    found: dict[str, Letter] = {}
    for topic, headers, value in letters:
        text = {name: content.decode() for name, content in headers.items() if name.startswith("b1streams.")}
        identity = text["b1streams.id"]
        if identity in withdrawn:
            continue
        state = last.get(identity, {})
        ids = tuple(state.get("members") or ()) or (
            (text["b1streams.event_id"],) if "b1streams.event_id" in text else ()
        )
        # Written twice it is one letter still.
        found[identity] = Letter(
            id=identity,
            topic=topic,
            state=state.get("state", text["b1streams.state"]),
            reason=state.get("reason", text["b1streams.reason"]),
            event_type=text.get("b1streams.event_type", ""),
            value=value,
            event_ids=ids,
            sku=text.get("b1streams.sku"),
        )
    bare = [state for identity, state in last.items() if identity not in found and state["state"] in _OPEN]
    return [
        *found.values(),
        # A state without a letter: its bytes are gone. Nothing of the input equals it, so the proof names it.
        *(Letter(state["id"], "", state["state"], state["reason"], "no bytes", b"") for state in bare),
    ]


def prove(
    inputs: Mapping[str, Sequence[Path]],
    ledger: Mapping[str, Any],
    letters: Sequence[Letter],
    terms: Terms,
    told: Mapping[str, Iterable[dict[str, Any]]] | None = None,
    shelves: Mapping[tuple[str, str], Decimal] | None = None,
) -> Proof:
    """Compare what went in with what is in the books.

    Args:
        inputs: The files of each connector, in the order in which it read them.
        ledger: The simulator's `GET /_simulator/ledger`, decimals as text.
        letters: As `read_letters` gives them.
        terms: What the configuration says.
        told: Connector -> what its vendor's ledger says has happened, each thing once, as events.
        shelves: (sku, place) -> units that a vendor has there at the end: B1 must have as many.
    """
    return _Check(ledger, letters, terms).run(inputs, told or {}, shelves or {})


def render(proof: Proof) -> RenderableType:
    """The proof for a terminal."""
    flows = Table(title="Every line that went in, and its end", title_justify="left")
    for name in ("flow", "in", "posted", "no-op", "parked", "dead", "unaccounted"):
        flows.add_column(name, justify="left" if name == "flow" else "right")
    for name, ends in proof.flows.items():
        numbers = (ends.received, ends.posted, ends.no_op, ends.parked, ends.dead, ends.unaccounted)
        flows.add_row(name, *(f"{number:,}" for number in numbers))
    books = Table(title="The books", title_justify="left", show_header=False)
    books.add_column()
    books.add_column(justify="right")
    saved = proof.stock_events - proof.stock_documents
    for name, value in (
        ("units moved, net by item and warehouse: told", f"{proof.units_expected:,f}"),
        ("units moved, net by item and warehouse: B1", f"{proof.units_posted:,f}"),
        ("orders, gross", f"{proof.ordered:,}"),
        ("invoices, gross", f"{proof.invoiced:,}"),
        ("credit memos, gross", f"{proof.credited:,}"),
        ("documents in B1", f"{proof.documents:,}"),
        ("ERP calls in all", f"{proof.calls:,}"),
        (
            "  change sets that made documents (one call each: so many)",
            f"{proof.document_sets:,} ({proof.naive_writes:,})",
        ),
        ("  totals asked beforehand (previews)", f"{proof.previews:,}"),
        ("  refused: locked, or there already (a lost answer)", f"{proof.refused:,}"),
        ("stock movements -> documents", f"{proof.stock_events:,} -> {proof.stock_documents:,}"),
        ("ERP calls saved against one per movement", f"{saved:,}"),
        ("lost", f"{proof.count('lost'):,}"),
        ("double", f"{proof.count('double'):,}"),
    ):
        books.add_row(name, value)
    parts: list[RenderableType] = [flows, books]
    if proof.reasons:
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(proof.reasons.items()))
        parts.append(Text(f"Open letters by reason: {reasons}"))
    if proof.ok:
        parts.append(Text("PROVED: 0 lost, 0 double; units and money equal to the last digit.", style="bold green"))
        return Group(*parts)
    wrong = Table(title=f"{len(proof.discrepancies)} things do not balance", title_justify="left", style="red")
    for name in ("kind", "where", "expected", "found"):
        wrong.add_column(name)
    for one in proof.discrepancies[:_SHOWN]:
        wrong.add_row(one.kind, one.where, one.expected, one.found)
    return Group(*parts, wrong, Text("NOT PROVED", style="bold red"))


@dataclass(slots=True)
class _Invoiced:
    """One order line, as the ledger's own references lead from invoices to it."""

    quantity: Decimal = _ZERO
    net: Decimal = _ZERO
    tax: Decimal = _ZERO


class _Check:
    def __init__(self, ledger: Mapping[str, Any], letters: Sequence[Letter], terms: Terms) -> None:
        self._ledger = ledger
        self._letters = letters
        self._terms = terms
        self._zone = ZoneInfo(terms.timezone)
        self._wrong: list[Discrepancy] = []
        self._counts: dict[str, Counter[str]] = {flow: Counter() for flow in FLOWS}
        self._judged: set[str] = set()  # ids of letters that belong to an input line
        self._by_bytes: dict[bytes, list[Letter]] = defaultdict(list)
        self._by_event: dict[tuple[str, str], list[Letter]] = defaultdict(list)
        for letter in letters:
            self._by_bytes[letter.value.strip()].append(letter)
            for event_id in letter.event_ids:
                self._by_event[_type(letter), event_id].append(letter)
        # By entity set; cancelled documents and their mirrors are left out.
        self._books: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for document in ledger["documents"]:
            if document.get("Cancelled") != "tYES" and document.get("CancelStatus") != "csCancellation":
                self._books[document["entity"]].append(document)
        self._moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)  # (item, warehouse) -> units in
        self._open_moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)

    def run(
        self,
        inputs: Mapping[str, Sequence[Path]],
        told: Mapping[str, Iterable[dict[str, Any]]],
        shelves: Mapping[tuple[str, str], Decimal],
    ) -> Proof:
        accepted = self._accepted(inputs, told)
        ordered = self._orders(accepted["order_placed"])
        self._dispatches(accepted["dispatch_confirmed"], accepted["order_placed"])
        left_from = {
            event["order_id"]: self._place(event, event["location"]) for event in accepted["dispatch_confirmed"]
        }
        credited = self._refunds(accepted["refund_issued"], left_from)
        self._stock(accepted["stock_adjusted"])
        self._movements()
        self._shelves(shelves)
        self._claims()
        self._drafts()
        self._letters_left()
        flows = {flow: Ends(**counts) for flow, counts in self._counts.items() if counts}
        for flow, ends in flows.items():
            if ends.unaccounted and not self._wrong:
                self._say("lost", flow, "every line has one end", f"{ends.unaccounted} unaccounted for")
        return Proof(
            flows=flows,
            reasons=Counter(letter.reason for letter in self._letters if letter.state in _OPEN),
            discrepancies=tuple(self._wrong),
            units_expected=sum((abs(units) for units in self._moves.values()), _ZERO),
            units_posted=sum((abs(units) for units in self._posted_moves().values()), _ZERO),
            ordered=ordered,
            invoiced=sum((Decimal(one["DocTotal"]) for one in self._books["Invoices"]), _ZERO),
            credited=credited,
            stock_events=len(accepted["stock_adjusted"]),
            stock_documents=sum(
                len(self._books[name]) for name in ("InventoryGenEntries", "InventoryGenExits", "StockTransfers")
            ),
            calls=int(self._ledger["counters"]["calls"]),
            document_sets=int(self._ledger["counters"]["document_sets"]),
            previews=int(self._ledger["counters"]["previews"]),
            refused=int(self._ledger["counters"]["refused"]),
            documents=sum(map(len, self._books.values())),
            naive_writes=self._counts["order_placed"]["posted"]
            + 2 * self._counts["dispatch_confirmed"]["posted"]
            + self._counts["refund_issued"]["posted"]
            + len(accepted["stock_adjusted"]),
        )

    def _accepted(
        self, inputs: Mapping[str, Sequence[Path]], told: Mapping[str, Iterable[dict[str, Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        """The events that must be in the books; every other line gets its end here."""
        accepted: dict[str, list[dict[str, Any]]] = defaultdict(list)
        seen: dict[tuple[str, ...], bytes] = {}
        for connector, line in _lines(inputs):
            event = _parsed(line)
            if event is None:
                self._refused("unreadable", self._by_bytes.get(line, []), f"{connector}: {line[:40]!r}...")
                continue
            flow = event["type"]
            identity, event_id = _identity(connector, event)
            content = hashlib.sha256(repr(_canonical(event)).encode()).digest()
            found = [*self._by_event.get((flow, event_id), ()), *self._by_bytes.get(line, ())]
            if flow == "stock_adjusted":
                found = [letter for letter in found if letter.sku in (None, event["sku"])]
            if identity in seen and seen[identity] == content:
                self._end(flow, "received")
                self._end(flow, "no_op")
            elif identity in seen:
                self._refused(flow, [one for one in found if one.reason == "id_reuse"], "/".join(identity))
            else:
                seen[identity] = content
                self._first(connector, event, [one for one in found if one.reason != "id_reuse"], accepted)
        for connector, events in told.items():
            for event in events:
                found = self._by_event.get((event["type"], _identity(connector, event)[1]), [])
                found = [letter for letter in found if letter.sku in (None, event.get("sku"))]
                self._first(connector, event, found, accepted)
        return accepted

    def _first(
        self,
        connector: str,
        event: dict[str, Any],
        letters: Sequence[Letter],
        accepted: dict[str, list[dict[str, Any]]],
    ) -> None:
        flow = event["type"]
        self._judged.update(letter.id for letter in letters)
        self._end(flow, "received")
        states = {letter.state for letter in letters}
        ended = next((_OPEN[state] for state in ("dead", "parked", "held") if state in states), None)
        returned = flow == "stock_adjusted" and event["reason"] == "return" and self._terms.returns_by_refund
        if ended is not None:
            self._end(flow, ended)
            self._leave_open({**event, "source": connector})
        elif returned or states & {"no_op", "discarded"}:
            self._end(flow, "no_op")
        else:
            accepted[flow].append({**event, "source": connector})

    def _leave_open(self, event: Mapping[str, Any]) -> None:
        """What an event in a dead-letter topic would have moved, which a vendor's shelves have and B1 has not."""
        match event["type"]:
            case "dispatch_confirmed":
                for line in event["lines"]:
                    slot = self._terms.item(line["sku"]), self._place(event, event["location"])
                    self._open_moves[slot] -= Decimal(line["quantity"])
            case "stock_adjusted" if "delta" in event:
                slot = self._terms.item(event["sku"]), self._place(event, event["location"])
                self._open_moves[slot] += Decimal(event["delta"])

    def _refused(self, flow: str, letters: Sequence[Letter], where: str) -> None:
        """A line that must be in a dead-letter topic."""
        self._end(flow, "received")
        free = [letter for letter in letters if letter.id not in self._judged]
        if not free:
            self._say("lost", where, "a dead letter", "none")
            return
        self._judged.add(free[0].id)
        self._end(flow, _OPEN.get(free[0].state, "no_op"))

    def _orders(self, events: Sequence[dict[str, Any]]) -> Decimal:
        total = _ZERO
        numbered = _numbered(self._books["Orders"])
        for event in events:
            number = event.get("order_number") or event["order_id"]
            document = self._one("order_placed", f"order {number}", numbered.pop(number, []))
            if document is None:
                continue
            total += Decimal(document["DocTotal"])
            where = f"order {number}"
            self._money(where, event.get("grand_total"), document["DocTotal"])
            self._date(where, event, document)
            wanted = [
                (
                    self._terms.item(line["sku"]),
                    self._place(event, line.get("location")),
                    Decimal(line["quantity"]),
                    _net(line),
                )
                for line in event["lines"]
            ]
            there = [
                (line["ItemCode"], line["WarehouseCode"], Decimal(line["Quantity"]), Decimal(line["LineTotal"]))
                for line in document["DocumentLines"]
            ]
            if wanted != there:
                self._first_difference(where, wanted, there)
        self._unexpected("Orders", numbered)
        return total

    def _dispatches(self, events: Sequence[dict[str, Any]], orders: Sequence[dict[str, Any]]) -> None:
        entries = {document["DocEntry"]: document for document in self._books["Orders"]}
        there: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for document in self._books["DeliveryNotes"]:
            order = self._base(document, 17, entries)
            there[str(order and order["NumAtCard"]), document.get("TrackingNumber") or ""].append(document)
        numbers = {event["order_id"]: event.get("order_number") or event["order_id"] for event in orders}
        for event in events:
            where = f"dispatch {event['shipment_id']}"
            tracking = next(iter(event.get("tracking_numbers") or ()), "")
            key = (numbers.get(event["order_id"], event["order_id"]), tracking)
            found = there.pop(key, [])
            place = self._place(event, event["location"])
            wanted: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
            for line in event["lines"]:
                wanted[self._terms.item(line["sku"]), place] += Decimal(line["quantity"])
            for slot, units in wanted.items():
                self._moves[slot] -= units
            delivery = self._one("dispatch_confirmed", where, found)
            if delivery is not None:
                self._date(where, event, delivery)
                self._same_units(where, wanted, _units(delivery))
        self._unexpected("DeliveryNotes", there)
        self._invoices(entries, orders)

    def _invoices(self, entries: Mapping[int, dict[str, Any]], orders: Sequence[dict[str, Any]]) -> None:
        """One invoice for each delivery, the same units; and an order's invoices add up to what they must be."""
        deliveries = {document["DocEntry"]: document for document in self._books["DeliveryNotes"]}
        of_delivery: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for invoice in self._books["Invoices"]:
            delivery = self._base(invoice, 15, deliveries)
            if delivery is not None:
                of_delivery[delivery["DocEntry"]].append(invoice)
        lines: dict[tuple[int, int], _Invoiced] = defaultdict(_Invoiced)
        totals: dict[int, Decimal] = defaultdict(lambda: _ZERO)
        for entry, delivery in deliveries.items():
            where = f"invoice of delivery {delivery['DocNum']}"
            invoices = of_delivery[entry]
            if len(invoices) != 1:
                self._say("lost" if not invoices else "double", where, "1 invoice", str(len(invoices)))
                continue
            self._same_units(where, _units(delivery), _units(invoices[0]))
            if invoices[0]["DocDate"][:10] != delivery["DocDate"][:10]:
                self._say("document", f"date of {where}", delivery["DocDate"][:10], invoices[0]["DocDate"][:10])
            for line in invoices[0]["DocumentLines"]:
                base = delivery["DocumentLines"][int(line["BaseLine"])]
                slot = lines[int(base["BaseEntry"]), int(base["BaseLine"])]
                slot.quantity += Decimal(line["Quantity"])
                slot.net += Decimal(line["LineTotal"])
                slot.tax += Decimal(line["TaxTotal"])
            order = self._base(delivery, 17, entries)
            if order is not None:
                totals[order["DocEntry"]] += Decimal(invoices[0]["DocTotal"])
        by_number = {event.get("order_number") or event["order_id"]: event for event in orders}
        for entry, order in entries.items():
            event = by_number.get(str(order.get("NumAtCard")))
            if event is not None and entry in totals:
                self._invoiced(event, order, lines, totals[entry])

    def _invoiced(
        self,
        event: dict[str, Any],
        order: Mapping[str, Any],
        lines: Mapping[tuple[int, int], _Invoiced],
        total: Decimal,
    ) -> None:
        """What has been invoiced of each line is its rounded share; with the freight they are the invoices' total."""
        shipping = event.get("shipping") or {}
        there = [lines.get((order["DocEntry"], number), _Invoiced()) for number in range(len(event["lines"]))]
        complete = all(
            got.quantity == Decimal(line["quantity"]) for got, line in zip(there, event["lines"], strict=True)
        )
        if any(line.get("tax_amount") is None for line in event["lines"]) or (
            shipping and shipping.get("tax_amount") is None
        ):
            # The tax of a part is B1's own affair; that of the whole order is not.
            if complete:
                self._money(f"invoices of order {order['NumAtCard']}", event.get("grand_total"), total)
            return
        expected = Decimal(shipping.get("amount", 0)) + Decimal(shipping.get("tax_amount", 0))
        for got, line in zip(there, event["lines"], strict=True):
            quantity = Decimal(line["quantity"])
            net = _pence(_net(line) * got.quantity / quantity)
            tax = _pence(Decimal(line["tax_amount"]) * got.quantity / quantity)
            expected += net + tax
            where = f"order {order['NumAtCard']}, line {line['line_id']}: invoiced"
            if (net, tax) != (got.net, got.tax):
                self._say("money", where, f"{net} + {tax}", f"{got.net} + {got.tax}")
        if complete and event.get("grand_total") is not None:
            expected = Decimal(event["grand_total"])
        self._money(f"invoices of order {order['NumAtCard']}", expected, total)

    def _refunds(self, events: Sequence[dict[str, Any]], left_from: Mapping[str, str]) -> Decimal:
        """Credit memos; what names no place comes back to where its order left from."""
        total = _ZERO
        numbered = _numbered(self._books["CreditNotes"])
        orders = _numbered(self._books["Orders"])
        for event in events:
            where = f"refund {event['refund_id']}"
            wanted: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
            for line in event.get("lines") or ():
                place = line.get("location") is None and left_from.get(str(event.get("order_id")))
                slot = (self._terms.item(line["sku"]), place or self._place(event, line.get("location")))
                wanted[slot] += Decimal(line["quantity"])
                if line["restock"]:
                    self._moves[slot] += Decimal(line["quantity"])
            document = self._one("refund_issued", where, numbered.pop(event["refund_id"], []))
            if document is None:
                continue
            total += Decimal(document["DocTotal"])
            self._money(where, event.get("total"), document["DocTotal"])
            self._date(where, event, document)
            if wanted:
                self._same_units(where, wanted, _units(document))
            order = next(iter(orders.get(str(event.get("order_id")), [])), None)
            if order is not None and document.get("U_STREAMS_ORDER") != order.get("U_STREAMS_KEY"):
                self._say(
                    "document", f"{where}: order", str(order["U_STREAMS_KEY"]), str(document.get("U_STREAMS_ORDER"))
                )
        self._unexpected("CreditNotes", numbered)
        return total

    def _stock(self, events: Sequence[dict[str, Any]]) -> None:
        """Sums by item, warehouse, posting date and account: all that a netted document lets one see from outside."""
        wanted: dict[tuple[str, str, str, str], list[Decimal]] = defaultdict(list)
        for event in events:
            item, delta = self._terms.item(event["sku"]), Decimal(event["delta"])
            place = self._place(event, event["location"])
            account = self._terms.accounts.get(event["reason"], "")
            if event["reason"] == "transfer":
                account = "transfer"
                target = self._place(event, event["to_location"])
                self._moves[item, target] -= delta
                wanted[item, target, self._day(event), account].append(-delta)
            self._moves[item, place] += delta
            wanted[item, place, self._day(event), account].append(delta)
        there: dict[tuple[str, str, str, str], list[Decimal]] = defaultdict(list)
        for key, units in self._stock_lines():
            there[key].append(units)
        for key in sorted({*wanted, *there}):
            expected, posted = sum(wanted.get(key, ()), _ZERO), sum(there.get(key, ()), _ZERO)
            where = "stock of {} in {} on {}, account {}".format(*key[:3], key[3] or "by B1")
            if expected != posted:
                kind = "lost" if abs(posted) < abs(expected) else "double"
                self._say(kind, where, f"{expected:f} units", f"{posted:f} units")
                continue
            moved = [units for units in wanted.get(key, ()) if key[3] != "transfer" or units < 0]
            end = "posted" if key in there else "no_op"  # a net of nothing needs no document
            for _ in moved:
                self._end("stock_adjusted", end)

    def _stock_lines(self) -> Iterator[tuple[tuple[str, str, str, str], Decimal]]:
        for document in (
            *self._books["InventoryGenEntries"],
            *self._books["InventoryGenExits"],
        ):
            for line in document["DocumentLines"]:
                key = (line["ItemCode"], line["WarehouseCode"], document["DocDate"][:10], line.get("AccountCode") or "")
                yield key, Decimal(line["Quantity"]) * _STOCK_OBJECTS[document["object"]]
        for document in self._books["StockTransfers"]:
            for line in document["StockTransferLines"]:
                day = document["DocDate"][:10]
                yield (line["ItemCode"], line["FromWarehouseCode"], day, "transfer"), -Decimal(line["Quantity"])
                yield (line["ItemCode"], line["WarehouseCode"], day, "transfer"), Decimal(line["Quantity"])

    def _posted_moves(self) -> dict[tuple[str, str], Decimal]:
        moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
        for movement in self._ledger["movements"]:
            if movement["object"]:  # 0 is the opening stock
                moves[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
        return moves

    def _movements(self) -> None:
        """Units by item and warehouse: the files against the stock journal, and the journal against what is on hand."""
        posted = self._posted_moves()
        for slot in sorted({*posted, *self._moves}):
            expected, found = self._moves.get(slot, _ZERO), posted.get(slot, _ZERO)
            if expected != found:
                self._say("units", "{} in {}".format(*slot), f"{expected:+f}", f"{found:+f}")
        balance: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
        for movement in self._ledger["movements"]:
            balance[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
        for row in self._ledger["on_hand"]:
            level = balance.pop((row["item"], row["warehouse"]), _ZERO)
            if level != Decimal(row["quantity"]):
                self._say("units", f"{row['item']} on hand in {row['warehouse']}", f"{level:f}", row["quantity"])
        for slot, level in balance.items():
            if level:
                self._say("units", "{} on hand in {}".format(*slot), f"{level:f}", "none")

    def _shelves(self, shelves: Mapping[tuple[str, str], Decimal]) -> None:
        """What lies in a vendor's warehouse is what B1 says lies there, but for what is still in a dead-letter topic."""
        there: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
        for (sku, place), units in shelves.items():
            there[self._terms.item(sku), self._terms.places.get(place, f"?{place}")] += units
        on_hand = {(row["item"], row["warehouse"]): Decimal(row["quantity"]) for row in self._ledger["on_hand"]}
        for slot, shelf in sorted(there.items()):
            units = shelf - self._open_moves.get(slot, _ZERO)
            if on_hand.get(slot, _ZERO) != units:
                where = "{} on the shelf in {}".format(*slot)
                self._say("units", where, f"{units:f}", f"{on_hand.get(slot, _ZERO):f}")

    def _claims(self) -> None:
        """Each claim stands for one document, each document for one claim; a withdrawn one has none."""
        keyed: dict[str, list[str]] = defaultdict(list)
        for document in self._ledger["documents"]:
            if document.get("CancelStatus") == "csCancellation":
                continue
            name = f"{document['entity']} {document['DocNum']}"
            if document.get("U_STREAMS_KEY"):
                keyed[document["U_STREAMS_KEY"]].append(name)
            else:
                self._say("claim", name, "U_STREAMS_KEY", "none")
        for claim in self._ledger["claims"]:
            code, documents = claim["Code"], keyed.pop(claim["Code"], [])
            bare = claim.get("U_STATE") in ("void", "discarded") or claim.get("U_KIND") == "order_cancelled"
            if len(documents) != (0 if bare else 1):
                kind = "double" if len(documents) > 1 else "claim"
                self._say(
                    kind, f"claim {code}", "no document" if bare else "1 document", ", ".join(documents) or "none"
                )
        for code, documents in keyed.items():
            self._say("claim", f"claim {code}", f"a row for {', '.join(documents)}", "none")

    def _drafts(self) -> None:
        for draft in self._ledger["drafts"]:
            if draft.get("DocumentStatus") == "bost_Open":
                self._say("document", f"draft {draft['DocEntry']}", "no open draft", str(draft.get("DocObjectCode")))

    def _letters_left(self) -> None:
        for letter in self._letters:
            if letter.id not in self._judged:
                what = f"{letter.reason}, {letter.state}"
                self._say("letter", f"letter {letter.id} in {letter.topic or 'no topic'}", "a line of the input", what)

    # ---- small parts --------------------------------------------------------------------------------------------

    def _say(self, kind: str, where: str, expected: str, found: str) -> None:
        self._wrong.append(Discrepancy(kind, where, expected, found))

    def _end(self, flow: str, end: str) -> None:
        self._counts[flow][end] += 1

    def _one(self, flow: str, where: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not documents:
            self._say("lost", where, "1 document", "none, and no letter")
            return None
        self._end(flow, "posted")
        if len(documents) > 1:
            numbers = ", ".join(str(document["DocNum"]) for document in documents)
            self._say("double", where, "1 document", f"{len(documents)}: {numbers}")
        return documents[0]

    def _unexpected(self, entity: str, left: Mapping[Any, Sequence[Mapping[str, Any]]]) -> None:
        for documents in left.values():
            for document in documents:
                where = f"{entity} {document['DocNum']} ({document.get('NumAtCard')})"
                self._say("document", where, "an accepted event", "none (never sent, or in a dead-letter topic)")

    def _base(
        self, document: Mapping[str, Any], number: int, entries: Mapping[int, dict[str, Any]]
    ) -> dict[str, Any] | None:
        """The one document that every line is based on."""
        bases = {
            (int(line.get("BaseType") or -1), int(line.get("BaseEntry") or -1)) for line in document["DocumentLines"]
        }
        base = bases.pop() if len(bases) == 1 else (-1, -1)
        if base[0] != number or base[1] not in entries:
            where = f"{document['entity']} {document['DocNum']}"
            self._say("document", where, f"based on one document of type {number}", str(base))
            return None
        return entries[base[1]]

    def _place(self, event: Mapping[str, Any], location: str | None) -> str:
        if location is None:
            return self._terms.default_places.get(event["source"], f"?{event['source']}")
        return self._terms.places.get(location, f"?{location}")

    def _day(self, event: Mapping[str, Any]) -> str:
        return datetime.fromisoformat(event["occurred_at"]).astimezone(self._zone).date().isoformat()

    def _date(self, where: str, event: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        if document["DocDate"][:10] != self._day(event):
            self._say("document", f"date of {where}", self._day(event), document["DocDate"][:10])

    def _money(self, where: str, expected: object, found: object) -> None:
        if expected is not None and Decimal(str(expected)) != Decimal(str(found)):
            self._say("money", where, str(expected), str(found))

    def _same_units(
        self, where: str, wanted: Mapping[tuple[str, str], Any], there: Mapping[tuple[str, str], Any]
    ) -> None:
        for slot in sorted({*wanted, *there}):
            expected, found = wanted.get(slot, _ZERO), there.get(slot, _ZERO)
            if expected != found:
                self._say("units", f"{where}: {slot[0]} in {slot[1]}", f"{expected:f}", f"{found:f}")

    def _first_difference(
        self, where: str, wanted: Sequence[tuple[Any, ...]], there: Sequence[tuple[Any, ...]]
    ) -> None:
        if len(wanted) != len(there):
            self._say("units", where, f"{len(wanted)} lines", f"{len(there)} lines")
            return
        number, pair = next(
            (n, pair) for n, pair in enumerate(zip(wanted, there, strict=True), 1) if pair[0] != pair[1]
        )
        kind = "money" if pair[0][:3] == pair[1][:3] else "units"
        self._say(kind, f"{where}, line {number}", " ".join(map(str, pair[0])), " ".join(map(str, pair[1])))


async def _records(consumer: Any, partitions: Sequence[TopicPartition]) -> list[Any]:
    """Every record of some partitions, by partition and offset, up to where they end now."""
    if not partitions:
        return []
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    records: list[Any] = []
    for partition in partitions:
        while await consumer.position(partition) < ends[partition]:
            batches = await consumer.getmany(partition, timeout_ms=1_000)
            records.extend(record for batch in batches.values() for record in batch if record.offset < ends[partition])
    return records


def _lines(inputs: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, bytes]]:
    for connector, paths in inputs.items():
        for path in paths:
            for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
                if line.strip():
                    yield connector, line.strip()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line, parse_float=str, parse_int=str)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("type") in FLOWS[:-1] else None


def _identity(connector: str, event: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """What tells an event from every other one, and the id by which letters name it."""
    flow = event["type"]
    match flow:
        case "order_placed":
            own = str(event["order_id"])
        case "dispatch_confirmed":
            own = str(event["shipment_id"])
        case "refund_issued":
            own = str(event["refund_id"])
        case "stock_adjusted":
            return (flow, connector, event["event_id"], event["sku"], event["location"]), str(event["event_id"])
        case _:
            own = str(event["event_id"])
    return (flow, connector, own), own


def _canonical(value: Any, name: str = "") -> Any:
    """Equal for equal content: 1.5 is 1.50, null is absent, the order of keys and the event's id do not matter."""
    if isinstance(value, dict):
        return {
            name: _canonical(member, name)
            for name, member in sorted(value.items())
            if member is not None and name not in ("event_id", "observed_at")
        }
    if isinstance(value, list):
        return [_canonical(member) for member in value]
    return Decimal(value).normalize() if name in _NUMBERS and isinstance(value, str) else value


def _type(letter: Letter) -> str:
    return "stock_adjusted" if letter.topic == "erp-stock-dead-letter" else letter.event_type


def _numbered(documents: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for document in documents:
        found[str(document.get("NumAtCard"))].append(document)
    return found


def _units(document: Mapping[str, Any]) -> dict[tuple[str, str], Decimal]:
    units: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
    for line in document["DocumentLines"]:
        units[line["ItemCode"], line["WarehouseCode"]] += Decimal(line["Quantity"])
    return units


def _net(line: Mapping[str, Any]) -> Decimal:
    return _pence(Decimal(line["quantity"]) * Decimal(line["unit_price"]) - Decimal(line.get("discount") or 0))


def _pence(amount: Decimal) -> Decimal:
    return amount.quantize(_PENNY, ROUND_HALF_UP)
