"""Reads a shop: orders, then invoices where needed, shipments, credit memos; each list by time of change, forwards.

One list is read in passes. A pass goes by keyset: what was changed after the last row's time, or at that time under a
higher id. Page numbers are never used, so that rows which change meanwhile can only move ahead of us and none is skipped;
and the shop's last page, which older versions repeat for ever, is never asked for. The next pass begins `overlap_s` before
the newest row: a transaction may become visible long after the time it wrote. Rows of that overlap which say what they
said before are left out.
"""

import base64
import contextlib
import json
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import accumulate, pairwise

import httpx
import structlog
from pydantic_core import PydanticCustomError

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.errors import FatalError, RecordError, RetriableError
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.magento.client import Filter, MagentoClient
from connectors.magento.records import (
    TIME_FORMAT,
    CreditmemoRecord,
    InvoiceRecord,
    Listing,
    OrderRecord,
    R,
    Row,
    ShipmentRecord,
    a_moment,
    an_id,
    texts_of_comments,
    validate,
)
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.context import MagentoContext
from connectors.magento.translate.orders import order_cancelled, order_placed
from connectors.magento.translate.refunds import History, refunded
from connectors.magento.translate.shipments import dispatch_confirmed, virtual_dispatched
from schemas.events import FactEvent

log = structlog.get_logger(__name__)

#: In this order: what a later list names has then been read, mostly. What comes too early waits in the pipeline.
LISTS = ("orders", "invoices", "shipments", "creditmemos")
_EVENT_TYPES = {
    "orders": "order_placed",
    "invoices": "dispatch_confirmed",
    "shipments": "dispatch_confirmed",
    "creditmemos": "refund_issued",
}
#: A letter has 1 MiB with its headers.
MAX_ROW_BYTES = 990_000
#: A cursor is one Kafka record of at most 1 MiB: 20,000 rows of 8 bytes that hardly compress, in base64, for four lists,
#: come to 850 kB. With more rows than that in the overlap (a mass update), the overlap becomes shorter.
MAX_SEEN = 20_000
#: Ids of orders (and shipments) that were published, as bits: 32,768 of them in a block of 4 KiB. The oldest blocks
#: are dropped; an id below the rest counts as published.
_BLOCK_BITS = 32_768
_BLOCK_BYTES = _BLOCK_BITS // 8
MAX_BLOCKS = 256
#: Ids in one `in` filter: 100 of them are 1 kB of URL, and every proxy takes 4 kB.
_IDS_AT_ONCE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _seconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(seconds=1)


def _text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime(TIME_FORMAT)


# ---- the cursor


class IdSet:
    """Which ids have been, in a few kilobytes for millions."""

    __slots__ = ("_blocks",)

    def __init__(self, blocks: Mapping[int, bytes] | None = None) -> None:
        self._blocks = dict(blocks or {})

    def __contains__(self, number: int | None) -> bool:
        if number is None:
            return False
        block, bit = divmod(number, _BLOCK_BITS)
        found = self._blocks.get(block)
        if found is None:
            return len(self._blocks) >= MAX_BLOCKS and block < min(self._blocks)
        return bool(found[bit >> 3] & (1 << (bit & 7)))

    def with_ids(self, numbers: Iterable[int]) -> "IdSet":
        changed: dict[int, bytearray] = {}
        for number in numbers:
            block, bit = divmod(number, _BLOCK_BITS)
            if block not in changed:
                changed[block] = bytearray(self._blocks.get(block) or _BLOCK_BYTES)
            changed[block][bit >> 3] |= 1 << (bit & 7)
        blocks = self._blocks | {block: bytes(bits) for block, bits in changed.items()}
        return IdSet({block: blocks[block] for block in sorted(blocks)[-MAX_BLOCKS:]})

    def to_bytes(self) -> bytes:
        return b"".join(block.to_bytes(8, "big") + bits for block, bits in sorted(self._blocks.items()))

    @classmethod
    def from_bytes(cls, data: bytes) -> "IdSet":
        size = 8 + _BLOCK_BYTES
        if len(data) % size:
            raise ValueError("not whole blocks")
        parts = (data[at : at + size] for at in range(0, len(data), size))
        return cls({int.from_bytes(part[:8], "big"): part[8:] for part in parts})


@dataclass(frozen=True, slots=True)
class Scan:
    """Where one list stands; times are whole seconds since 1970, as exact as the shop's.

    Attributes:
        floor: Passes begin here.
        at: The last row of the pass under way, as (time, id); None: between two passes.
        top: The newest time of any row.
        seen: The rows since `floor`, as id (below 0: a row without one) to (time, what it said as 32 bits).
    """

    floor: int = 0
    at: tuple[int, int] | None = None
    top: int = 0
    seen: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """The cursor of this source.

    Attributes:
        turn: The list to read next.
        scans: By list.
        placed: Orders that were published: one that is cancelled without ever having been placed is nobody's business.
        dispatched: Shipments that were published: tracks added later would make them say something else.
    """

    turn: str
    scans: Mapping[str, Scan]
    placed: IdSet = field(default_factory=IdSet)
    dispatched: IdSet = field(default_factory=IdSet)

    def to_text(self) -> str:
        return json.dumps(
            {
                "v": 1,
                "turn": self.turn,
                "scans": {
                    name: {"floor": scan.floor, "at": scan.at, "top": scan.top, "seen": _pack_seen(scan.seen)}
                    for name, scan in self.scans.items()
                },
                "placed": _pack(self.placed.to_bytes()),
                "dispatched": _pack(self.dispatched.to_bytes()),
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> "Position":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        try:
            found = json.loads(text)
            scans = {
                name: Scan(
                    int(scan["floor"]),
                    (int(scan["at"][0]), int(scan["at"][1])) if scan["at"] is not None else None,
                    int(scan["top"]),
                    _unpack_seen(scan["seen"]),
                )
                for name, scan in found["scans"].items()
            }
            placed = IdSet.from_bytes(_unpack(found["placed"]))
            return cls(str(found["turn"]), scans, placed, IdSet.from_bytes(_unpack(found["dispatched"])))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, zlib.error) as error:
            raise FatalError(
                "the cursor is not one of a magento connector; give the connector a new name, or its old kind"
            ) from error


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode() if data else ""


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text)) if text else b""


def _pack_seen(seen: Mapping[int, tuple[int, int]]) -> str:
    """Columns, each by its difference to the row before: they compress well."""
    rows = sorted(seen.items())
    ids = [row_id for row_id, _ in rows]
    times = [time for _, (time, _) in rows]
    marks = b"".join(mark.to_bytes(4, "big") for _, (_, mark) in rows)
    columns = json.dumps([_differences(ids), _differences(times)], separators=(",", ":")).encode()
    return _pack(len(columns).to_bytes(4, "big") + columns + marks) if rows else ""


def _unpack_seen(text: str) -> dict[int, tuple[int, int]]:
    data = _unpack(text)
    if not data:
        return {}
    end = 4 + int.from_bytes(data[:4], "big")
    ids, times = (accumulate(column) for column in json.loads(data[4:end]))
    marks = [int.from_bytes(data[at : at + 4], "big") for at in range(end, len(data), 4)]
    return {row_id: (time, mark) for row_id, time, mark in zip(ids, times, marks, strict=True)}


def _differences(numbers: Sequence[int]) -> list[int]:
    return [number - before for number, before in zip(numbers, [0, *numbers], strict=False)]


# ---- the source


@dataclass(frozen=True, slots=True)
class Placed:
    """A row of a list with what orders it: time and id. A row without a time has its neighbour's, one without an id < 0."""

    row: Row
    time: int
    id: int

    @property
    def key(self) -> tuple[int, int]:
        return self.time, self.id

    @property
    def said(self) -> tuple[int, int]:
        """What `Scan.seen` holds for it."""
        return self.time, self.row.mark


class MagentoSource:
    """One shop as a `Source`."""

    def __init__(
        self,
        name: str,
        settings: MagentoSettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._client = MagentoClient(name, settings, clock, transport=transport)
        wanted = {*settings.flows, *(("invoices",) if settings.virtual_source is not None else ())}
        self._lists = tuple(each for each in LISTS if each in wanted)
        self._last: tuple[str, Position] | None = None
        self._readers: Mapping[str, Callable[[Sequence[Placed], Position], Awaitable[tuple[list[Item], Position]]]] = {
            "orders": self._orders,
            "invoices": self._invoices,
            "shipments": self._shipments,
            "creditmemos": self._creditmemos,
        }

    def __repr__(self) -> str:
        return f"MagentoSource({self.name!r})"

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> Batch:
        position = self._resumed(cursor)
        first = self._lists.index(position.turn)
        for name in (*self._lists[first:], *self._lists[:first]):
            was_under_way = position.scans[name].at is not None
            while True:
                new, scan, ended = await self._page(name, position.scans[name])
                items: list[Item] = []
                if new:
                    if name == "creditmemos" and (missed := await self._missed(new, position)).items:
                        return missed
                    items, position = await self._readers[name](new, position)
                turn = self._after(name) if ended else name
                position = replace(position, turn=turn, scans={**position.scans, name: scan})
                # Without news we go on through the overlap, and write nothing down but the end of a pass that was.
                if new or (ended and was_under_way):
                    return self._batch(items, position)
                if ended:
                    break
        return Batch((), cursor, idle=True)

    def _batch(self, items: Iterable[Item], position: Position, *, idle: bool = False) -> Batch:
        text = position.to_text()
        self._last = text, position
        return Batch(tuple(items), text, idle)

    def _resumed(self, cursor: str | None) -> Position:
        """The cursor's position, for the lists that the settings want now."""
        if self._last is not None and self._last[0] == cursor:
            return self._last[1]
        start_at = self._settings.start_at
        # What was not changed since start_at happened before it, and would end as a no-op.
        floor = max(0, _seconds(start_at)) if start_at is not None else 0
        fresh = dict.fromkeys(self._lists, Scan(floor=floor, top=floor))
        if cursor is None:
            return Position(self._lists[0], fresh)
        position = Position.from_text(cursor)
        turn = position.turn if position.turn in self._lists else self._lists[0]
        return replace(position, turn=turn, scans={**fresh, **position.scans})

    def _after(self, name: str) -> str:
        return self._lists[(self._lists.index(name) + 1) % len(self._lists)]

    # ---- pages

    async def _page(self, name: str, scan: Scan) -> tuple[list[Placed], Scan, bool]:
        """The rows of the next page that say something new, where that leaves us, and whether the pass has ended."""
        size = self._settings.page_size
        listing = await self._client.search(name, self._groups(scan), ("updated_at", "entity_id"), size)
        rows = self._placed(listing, scan)
        ended = len(rows) < size or (listing.total is not None and listing.total <= len(rows))
        keys = [each.key for each in rows if each.id > 0]
        passed = [*([scan.at] if scan.at is not None else []), *keys]
        if any(after <= before for before, after in pairwise(passed)) or not (keys or ended):
            raise RetriableError(
                f"{self.name}: {name} do not come in the order of updated_at and entity_id, so that some could be "
                "missed; see which module of the shop changes its lists"
            )
        new = [each for each in rows if scan.seen.get(each.id) != each.said]
        after = replace(
            scan,
            at=passed[-1] if passed else None,
            top=max([scan.top, *(time for time, _ in keys)]),
            seen={**scan.seen, **{each.id: each.said for each in new}},
        )
        return new, self._bounded(name, self._ended(after) if ended else after), ended

    def _groups(self, scan: Scan) -> list[list[Filter]]:
        time, row_id = scan.at or (scan.floor, 0)
        groups: list[list[Filter]] = [[("updated_at", "gteq", _text(time))]]
        if row_id:
            # Together: later, or at that time under a higher id.
            groups.append([("updated_at", "gt", _text(time)), ("entity_id", "gt", str(row_id))])
        if self._settings.store_ids:
            groups.append([("store_id", "in", ",".join(map(str, self._settings.store_ids)))])
        return groups

    def _placed(self, listing: Listing, scan: Scan) -> list[Placed]:
        rows: list[Placed] = []
        time = scan.at[0] if scan.at is not None else scan.floor
        for row in listing.rows:
            row_id = _an_id(row.fields.get("entity_id")) or -1 - row.mark
            with contextlib.suppress(PydanticCustomError):
                time = _seconds(a_moment(row.fields.get("updated_at")))
            # Its neighbour may be another the next time.
            known = scan.seen.get(row_id) if row_id < 0 else None
            rows.append(Placed(row, known[0] if known is not None else time, row_id))
        return rows

    def _ended(self, scan: Scan) -> Scan:
        """Between two passes: what lies before the overlap is forgotten.

        A row that claims to be of the future does not carry the floor with it, or all until then would be missed.
        """
        newest = min(scan.top, _seconds(self._clock.now()))
        floor = max(scan.floor, newest - self._settings.overlap_s)
        seen = {row_id: said for row_id, said in scan.seen.items() if said[0] >= floor}
        return replace(scan, floor=floor, at=None, seen=seen)

    def _bounded(self, name: str, scan: Scan) -> Scan:
        """The overlap begins later where it has too many rows, as after a mass update."""
        if len(scan.seen) <= MAX_SEEN:
            return scan
        times = sorted(time for time, _ in scan.seen.values())
        floor = max(scan.floor, times[-MAX_SEEN - 1] + 1)
        seen = {row_id: said for row_id, said in scan.seen.items() if said[0] >= floor}
        log.warning("overlap_cut", connector=self.name, items=name, floor=_text(floor), count=len(scan.seen))
        return replace(scan, floor=floor, seen=seen)

    # ---- rows to items

    def _frame(self) -> MagentoContext:
        return EventContext(self.name, self.company, self._settings, self._clock.now())

    async def _orders(self, rows: Sequence[Placed], position: Position) -> tuple[list[Item], Position]:
        frame, items, placed = self._frame(), list[Item](), set[int]()
        for each in rows:
            row_id = each.id
            known = row_id in position.placed
            try:
                role = self._role(each.row)
                if role == "wait" or self._is_ours(each.row) or (role == "cancelled" and not known):
                    continue
                order = validate(OrderRecord, each.row, self._settings, frame.observed_at)
                events: list[FactEvent | None] = [] if known else [order_placed(order, frame)]
                items += [event for event in (*events, order_cancelled(order, frame)) if event is not None]
                placed.add(row_id)
            except RecordError as error:
                items.append(self._refused("orders", each, error))
        return items, replace(position, placed=position.placed.with_ids(placed))

    def _role(self, row: Row) -> str:
        state = row.fields.get("state")
        role = self._settings.states.get(state) if isinstance(state, str) else None
        if role is None:
            raise RecordError("state is missing or none that an order can have; fix it in the shop, or edit and replay")
        if role == "placed" and self._settings.wait_for_payment and state == "processing" and _is_due(row):
            return "wait"
        return role

    async def _invoices(self, rows: Sequence[Placed], position: Position) -> tuple[list[Item], Position]:
        frame = self._frame()
        orders = await self._orders_of(rows)

        def translated(each: Placed) -> list[FactEvent]:
            invoice = validate(InvoiceRecord, each.row, self._settings, frame.observed_at)
            event = virtual_dispatched(invoice, self._order(orders, invoice.order_id, frame), frame)
            return [event] if event is not None else []

        return self._items("invoices", rows, translated), position

    async def _shipments(self, rows: Sequence[Placed], position: Position) -> tuple[list[Item], Position]:
        frame, dispatched = self._frame(), set[int]()
        rows = [each for each in rows if each.id not in position.dispatched]
        orders = await self._orders_of(rows)

        def translated(each: Placed) -> list[FactEvent]:
            shipment = validate(ShipmentRecord, each.row, self._settings, frame.observed_at)
            event = dispatch_confirmed(shipment, self._order(orders, shipment.order_id, frame), frame)
            dispatched.add(shipment.entity_id)
            return [event] if event is not None else []

        items = self._items("shipments", rows, translated)
        return items, replace(position, dispatched=position.dispatched.with_ids(dispatched))

    async def _creditmemos(self, rows: Sequence[Placed], position: Position) -> tuple[list[Item], Position]:
        frame = self._frame()
        ids = _order_ids(rows)
        orders = await self._orders_of(rows)
        shipments, memos = {}, {}
        if "shipments" in self._settings.flows:
            shipments, memos = await self._by_order("shipments", ids), await self._by_order("creditmemos", ids)

        def translated(each: Placed) -> list[FactEvent]:
            memo = validate(CreditmemoRecord, each.row, self._settings, frame.observed_at)
            if memo.state is not None and memo.state not in self._settings.refunded_states:
                return []
            of = memo.order_id
            others = self._valid(CreditmemoRecord, memos.get(of, ()), frame)
            history = History(
                self._valid(ShipmentRecord, shipments.get(of, ()), frame),
                [*(other for other in others if other.entity_id != memo.entity_id), memo],
            )
            return list(refunded(memo, self._order(orders, of, frame), history, frame))

        return self._items("creditmemos", rows, translated), position

    async def _missed(self, rows: Sequence[Placed], position: Position) -> Batch:
        """Shipments made since their list was read, of the orders of some credit memos.

        Goods must be told to have left before money is given back for them, and the two go through different topics: so
        the shipments get a poll's lead, and the credit memos are read again after it. A shipment that cannot be told is
        left for its own list to refuse.
        """
        if "shipments" not in self._settings.flows:
            return Batch((), None)
        frame, events, dispatched = self._frame(), list[FactEvent](), list[int]()
        shipments = await self._by_order("shipments", _order_ids(rows))
        missed = [
            row
            for rows_of in shipments.values()
            for row in rows_of
            if _an_id(row.fields.get("entity_id")) not in position.dispatched and not self._is_ours(row)
        ]
        orders = await self._lookup(
            "orders", "entity_id", sorted({_an_id(row.fields.get("order_id")) or 0 for row in missed})
        )
        by_id = {row_id: row for row in orders if (row_id := _an_id(row.fields.get("entity_id"))) is not None}
        for row in missed:
            with contextlib.suppress(RecordError):
                shipment = validate(ShipmentRecord, row, self._settings, frame.observed_at)
                event = dispatch_confirmed(shipment, self._order(by_id, shipment.order_id, frame), frame)
                if event is not None:
                    events.append(event)
                    dispatched.append(shipment.entity_id)
        if not events:
            return Batch((), None)
        position = replace(position, turn="creditmemos", dispatched=position.dispatched.with_ids(dispatched))
        return self._batch(events, position, idle=True)

    def _items(
        self, name: str, rows: Sequence[Placed], translated: Callable[[Placed], Sequence[FactEvent]]
    ) -> list[Item]:
        items: list[Item] = []
        for each in rows:
            try:
                if not self._is_ours(each.row):
                    items += translated(each)
            except RecordError as error:
                items.append(self._refused(name, each, error))
        return items

    def _valid(self, kind: type[R], rows: Sequence[Row], frame: MagentoContext) -> list[R]:
        return [validate(kind, row, self._settings, frame.observed_at) for row in rows]

    def _is_ours(self, row: Row) -> bool:
        """Loop guard: what we wrote into the shop does not come back."""
        mark, number = self._settings.own_mark, row.fields.get("ext_order_id")
        return (isinstance(number, str) and number.startswith(mark)) or any(
            mark in text for text in texts_of_comments(row.fields)
        )

    def _refused(self, name: str, each: Placed, error: RecordError) -> RefusedRecord:
        row, row_id = each.row, max(each.id, 0)
        is_object = isinstance(row.found, dict)
        order_id = row_id if name == "orders" else _an_id(row.fields.get("order_id"))
        return RefusedRecord(
            event_type=_EVENT_TYPES[name] if is_object else None,
            reason="invalid_event" if is_object else "unreadable",
            error=str(error),
            value=row.value[:MAX_ROW_BYTES],
            origin=f"{name}/{row_id or 'unknown'}",
            digest=row.digest,
            number=row_id,
            event_id=str(row_id) if row_id else None,
            order_id=str(order_id) if order_id else None,
        )

    # ---- what belongs to an order

    async def _orders_of(self, rows: Sequence[Placed]) -> dict[int, Row]:
        found = await self._lookup("orders", "entity_id", _order_ids(rows))
        return {row_id: row for row in found if (row_id := _an_id(row.fields.get("entity_id"))) is not None}

    async def _by_order(self, name: str, ids: Sequence[int]) -> dict[int, list[Row]]:
        by_order: dict[int, list[Row]] = {}
        for row in await self._lookup(name, "order_id", ids):
            order_id = _an_id(row.fields.get("order_id"))
            if order_id is not None:
                by_order.setdefault(order_id, []).append(row)
        return by_order

    async def _lookup(self, name: str, by: str, ids: Sequence[int]) -> list[Row]:
        """All rows whose `by` is one of the ids, page by page along their own ids."""
        size, found = self._settings.page_size, list[Row]()
        for start in range(0, len(ids), _IDS_AT_ONCE):
            among = ",".join(map(str, ids[start : start + _IDS_AT_ONCE]))
            last = 0
            while True:
                groups: list[list[Filter]] = [[(by, "in", among)], [("entity_id", "gt", str(last))]]
                listing = await self._client.search(name, groups, ("entity_id",), size)
                found += listing.rows
                if len(listing.rows) < size or (listing.total is not None and listing.total <= len(listing.rows)):
                    break
                newest = max((_an_id(row.fields.get("entity_id")) or 0 for row in listing.rows), default=0)
                if newest <= last:
                    raise RetriableError(f"{self.name}: {name} do not come in the order of entity_id")
                last = newest
        return found

    def _order(self, orders: Mapping[int, Row], order_id: int, frame: MagentoContext) -> OrderRecord:
        row = orders.get(order_id)
        if row is None:
            raise RecordError(
                "its order cannot be read; see that the order is there and that we may see it, and replay"
            )
        return validate(OrderRecord, row, self._settings, frame.observed_at)


def _an_id(value: object) -> int | None:
    try:
        return an_id(value)
    except PydanticCustomError:
        return None


def _order_ids(rows: Sequence[Placed]) -> list[int]:
    found = {_an_id(each.row.fields.get("order_id")) for each in rows}
    return sorted(each for each in found if each is not None)


def _is_due(row: Row) -> bool:
    """Whether anything is still to be paid; an amount that is not told is 0 (null keys are left out)."""
    due = row.fields.get("total_due")
    if due is None:
        return _amount(row.fields.get("grand_total")) > _amount(row.fields.get("total_paid"))
    return _amount(due) > 0


def _amount(value: object) -> Decimal:
    """For comparing only; what is no number is refused with the rest of the row."""
    with contextlib.suppress(InvalidOperation):
        number = Decimal(str(value))
        if number.is_finite():
            return number
    return Decimal(0)
