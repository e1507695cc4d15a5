"""What is known of one company: what B1 says, which orders are under way to it, whose orders they are. Pure.

Everything here is a fold of records in Kafka, so whoever reads them again knows the same.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from connectors.base.errors import Refusal
from connectors.sap_b1.mapping import CompanyMap
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced
from schemas.readings import B1Reading, DeliveryPosted, ItemChanged, OrderStatusChanged, StockLevelRead
from schemas.records import DeadLetterState, Outcome
from streams.chain.keys import event_key, order_key

_T = TypeVar("_T")
ZERO = Decimal(0)
#: Identities that are kept of orders and dispatches that B1 does not (or not yet) say anything of; some 40 MB.
_IDENTITIES = 200_000
#: A stock reading that is so much younger than what it may show, by two clocks that may differ, does show it.
_OUTCOME_SKEW = timedelta(seconds=5)
_B1_SKEW = timedelta(minutes=5)
#: An order that was posted so long ago is in every reading: stock is published again within the hour.
_POSTED_KEPT = timedelta(days=1)


@dataclass(slots=True)
class FlyingOrder:
    """An order that a source was told we have, until every reading of its items shows it.

    Attributes:
        lines: By line id: item, warehouse (None: not mapped) and units that are not cancelled.
        posted_at: When its document was made in B1; None: not yet.
    """

    source: str
    lines: dict[str, tuple[str, str | None, Decimal]]
    posted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What a source said of a delivery that we posted."""

    source: str
    shipment_id: str
    order_id: str
    carrier: str | None
    service: str | None


@dataclass(slots=True)
class Changes:
    """What one deliverer has not looked at yet: codes and DocEntries."""

    items: set[str] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)
    deliveries: set[int] = field(default_factory=set)

    def take(self) -> "Changes":
        """What there is; it is forgotten here."""
        taken = Changes(self.items, self.orders, self.deliveries)
        self.items, self.orders, self.deliveries = set(), set(), set()
        return taken

    def __bool__(self) -> bool:
        return bool(self.items or self.orders or self.deliveries)


class CompanyView:
    """One company, as the records read so far say.

    Attributes:
        items: By ItemCode.
        stock: By ItemCode, then by WhsCode.
        orders: By DocEntry.
        deliveries: By DocEntry.
        unidentified: Ks of orders in B1 of which nobody has said yet whose they are; see `give_up`.
    """

    def __init__(self, map: CompanyMap) -> None:
        self._map = map
        self.items: dict[str, ItemChanged] = {}
        self.stock: defaultdict[str, dict[str, StockLevelRead]] = defaultdict(dict)
        self.orders: dict[int, OrderStatusChanged] = {}
        self.deliveries: dict[int, DeliveryPosted] = {}
        self._orders_of_item: defaultdict[str, set[int]] = defaultdict(set)
        self._committed_since: dict[int, int] = {}  # the reading that showed first what an order commits
        self._entries: dict[str, int] = {}  # DocEntry of an order's K
        self._deliveries_of_order: defaultdict[int, set[int]] = defaultdict(set)
        self._flying: dict[str, FlyingOrder] = {}
        self._flying_of_item: defaultdict[str, set[str]] = defaultdict(set)
        self._cancelled: OrderedDict[str, OrderCancelled] = OrderedDict()  # of orders that were not read yet
        self._ended: OrderedDict[str, datetime | None] = OrderedDict()  # outcomes read before their order
        self._order_ids: OrderedDict[str, tuple[str, str]] = OrderedDict()  # of any order
        self._orders_in_b1: dict[str, tuple[str, str] | None] = {}  # of those in `orders` and `deliveries`
        self.unidentified: set[str] = set()
        self._dispatches: OrderedDict[str, Dispatch] = OrderedDict()
        self._watchers: list[Changes] = []

    def watch(self) -> Changes:
        """What has changed since, beginning with everything."""
        changes = Changes({*self.items, *self.stock}, set(self.orders), set(self.deliveries))
        self._watchers.append(changes)
        return changes

    def unwatch(self, changes: Changes) -> None:
        self._watchers = [each for each in self._watchers if each is not changes]

    # ---- what B1 says -----------------------------------------------------------------------------------------------

    def take_reading(self, reading: B1Reading) -> None:
        """A record of one of the topics of readings; an older one than what is known changes nothing."""
        match reading:
            case ItemChanged():
                if _is_newer(reading, self.items.get(reading.item_code)):
                    self.items[reading.item_code] = reading
                    self._changed(items=(reading.item_code,))
            case StockLevelRead():
                if _is_newer(reading, self.stock[reading.item_code].get(reading.warehouse)):
                    self.stock[reading.item_code][reading.warehouse] = reading
                    self._changed(items=(reading.item_code,))
            case OrderStatusChanged():
                self._take_order(reading)
            case DeliveryPosted():
                self._take_delivery(reading)
            case _:
                raise TypeError(f"{type(reading).__name__} is no reading")

    def _take_order(self, reading: OrderStatusChanged) -> None:
        known = self.orders.get(reading.doc_entry)
        if not _is_newer(reading, known):
            return
        if known is None or _committed(known) != _committed(reading):
            self._committed_since[reading.doc_entry] = reading.reading
        if reading.k is not None:
            self._entries[reading.k] = reading.doc_entry
        self.orders[reading.doc_entry] = reading
        if reading.k is not None and reading.k not in self._orders_in_b1:
            self._look_for(reading.k, reading.number)
        codes = {line.item_code for line in (*(known.lines if known else ()), *reading.lines)}
        for code in codes:
            self._orders_of_item[code].add(reading.doc_entry)
        if reading.status != "open":
            for code in codes:
                self._orders_of_item[code].discard(reading.doc_entry)
        self._changed(
            items=codes, orders=(reading.doc_entry,), deliveries=self._deliveries_of_order.get(reading.doc_entry, ())
        )

    def _take_delivery(self, reading: DeliveryPosted) -> None:
        if not _is_newer(reading, self.deliveries.get(reading.doc_entry)):
            return
        self.deliveries[reading.doc_entry] = reading
        if reading.order_k is not None and reading.order_k not in self._orders_in_b1:
            self._look_for(reading.order_k, None)
        for line in reading.lines:
            if line.order_entry is not None:
                self._deliveries_of_order[line.order_entry].add(reading.doc_entry)
        self._changed(deliveries=(reading.doc_entry,))

    def _look_for(self, k: str, number: str | None) -> None:
        found = self._order_ids.get(k)
        if found is None and number is not None:
            # Most sources have no other number than the id
            sources = [name for name in self._map.sources if order_key(self._map.company, name, number) == k]
            found = (sources[0], number) if sources else None
        if found is None:
            self.unidentified.add(k)
        else:
            self._orders_in_b1[k] = found

    def _identify(self, k: str, found: tuple[str, str]) -> None:
        _remember(self._order_ids, k, found)
        if k in self.unidentified:
            self._settle(k, found)

    def _settle(self, k: str, found: tuple[str, str] | None) -> None:
        self.unidentified.discard(k)
        self._orders_in_b1[k] = found
        self._changed(
            orders=[entry for entry, order in self.orders.items() if order.k == k],
            deliveries=[entry for entry, delivery in self.deliveries.items() if delivery.order_k == k],
        )

    def give_up(self, ks: Iterable[str]) -> None:
        """Nothing that Kafka still has says whose these orders are: they are treated as keyed by people."""
        for k in self.unidentified.intersection(ks):
            self._settle(k, None)

    # ---- orders under way to B1 -------------------------------------------------------------------------------------

    def take_placed(self, event: OrderPlaced) -> None:
        """An order that a source was told we have."""
        k = event_key(event)
        self._identify(k, (event.source, event.order_id))
        if k in self._flying or (k in self._ended and self._ended[k] is None):
            return
        lines: dict[str, tuple[str, str | None, Decimal]] = {}
        for line in event.lines:
            try:
                code = self._map.item_code(line.sku)
            except Refusal:
                continue  # no item of B1's, no stock of it
            try:
                warehouse = self._map.line_warehouse(event.source, line.location)
            except Refusal:
                warehouse = None  # nobody knows which: it counts everywhere
            lines[line.line_id] = code, warehouse, line.quantity
        order = self._flying[k] = FlyingOrder(event.source, lines, self._ended.get(k))
        if (cancelled := self._cancelled.pop(k, None)) is not None:
            self._cancel(order, cancelled)
        codes = {code for code, _, _ in lines.values()}
        for code in codes:
            self._flying_of_item[code].add(k)
        self._changed(items=codes)

    def take_cancelled(self, event: OrderCancelled) -> None:
        """An order, or some of it, that will not come."""
        for source in self._map.order_sources(event.source):
            k = order_key(event.company, source, event.order_id)
            if (order := self._flying.get(k)) is not None:
                self._cancel(order, event)
                self._changed(items={code for code, _, _ in order.lines.values()})
                return
        first = self._map.order_sources(event.source)[0]
        _remember(self._cancelled, order_key(event.company, first, event.order_id), event)

    @staticmethod
    def _cancel(order: FlyingOrder, event: OrderCancelled) -> None:
        if order.posted_at is not None:
            return  # B1 shows it
        if event.lines is None:
            order.lines = {name: (code, whs, ZERO) for name, (code, whs, _) in order.lines.items()}
        for line in event.lines or ():
            if line.line_id in order.lines:
                code, warehouse, units = order.lines[line.line_id]
                order.lines[line.line_id] = code, warehouse, max(ZERO, units - line.quantity)

    def take_dispatch(self, event: DispatchConfirmed) -> None:
        """A dispatch: who reported it, and its id."""
        found = Dispatch(event.source, event.shipment_id, event.order_id, event.carrier, event.service)
        _remember(self._dispatches, event_key(event), found)

    def take_outcome(self, outcome: Outcome) -> None:
        """What became of an order: posted, or never to be."""
        if outcome.kind != "order_placed" or outcome.source is None or outcome.order_id is None:
            return
        self._identify(outcome.k, (outcome.source, outcome.order_id))
        if outcome.outcome in ("created", "adopted", "adopted_cancelled"):
            self._end(outcome.k, outcome.at)
        elif outcome.outcome == "no_op" and outcome.k not in self._ended:
            self._end(outcome.k, None)

    def take_state(self, state: DeadLetterState) -> None:
        """A dead letter that a person discarded: its order will not come."""
        if state.k is not None and state.event_type == "order_placed" and state.state == "discarded":
            self._end(state.k, None)

    def _end(self, k: str, posted_at: datetime | None) -> None:
        """An order is in B1 since then; None: it will never be."""
        _remember(self._ended, k, posted_at)
        order = self._flying.get(k)
        if order is None:
            return
        codes = {code for code, _, _ in order.lines.values()}
        if posted_at is None:
            self._forget_flying(k)
        else:
            order.posted_at = posted_at
        self._changed(items=codes)

    def _forget_flying(self, k: str) -> None:
        for code, _, _ in self._flying.pop(k).lines.values():
            self._flying_of_item[code].discard(k)

    def tidy(self, now: datetime) -> None:
        """Forget orders that every reading shows by now."""
        old = [k for k, order in self._flying.items() if order.posted_at and now - order.posted_at > _POSTED_KEPT]
        for k in old:
            self._forget_flying(k)

    # ---- answers ----------------------------------------------------------------------------------------------------

    def units_under_way(self, reading: StockLevelRead, *, but: str | None) -> Decimal:
        """Units of accepted orders that a stock reading does not show yet; `but`: of all sources except this one."""
        total = ZERO
        for k in self._flying_of_item.get(reading.item_code, ()):
            order = self._flying[k]
            if order.source == but or self._is_shown(k, order, reading):
                continue
            total += sum(
                (
                    units
                    for code, warehouse, units in order.lines.values()
                    if code == reading.item_code and warehouse in (None, reading.warehouse)
                ),
                ZERO,
            )
        return total

    def _is_shown(self, k: str, order: FlyingOrder, reading: StockLevelRead) -> bool:
        """Whether a stock reading counts an order: B1 showed the order no later, or it was posted well before."""
        entry = self._entries.get(k)
        seen = entry is not None and self._committed_since[entry] <= reading.reading
        return seen or (order.posted_at is not None and reading.as_of > order.posted_at + _OUTCOME_SKEW)

    def units_open_of(self, source: str, reading: StockLevelRead) -> Decimal:
        """Open units of a source's own orders that a stock reading counts as committed."""
        total = ZERO
        for entry in self._orders_of_item.get(reading.item_code, ()):
            order = self.orders[entry]
            shown = self._committed_since[entry] <= reading.reading or reading.as_of > order.changed_at + _B1_SKEW
            if not shown or (found := self.order_of(order.k)) is None or found[0] != source:
                continue
            total += sum(
                (
                    line.open
                    for line in order.lines
                    if not line.is_closed
                    and line.item_code == reading.item_code
                    and line.warehouse == reading.warehouse
                ),
                ZERO,
            )
        return total

    def order_of(self, k: str | None) -> tuple[str, str] | None:
        """Source and order id of an order's K; None: people keyed it, or nobody remembers."""
        return None if k is None else self._orders_in_b1.get(k) or self._order_ids.get(k)

    def dispatch_of(self, k: str | None) -> Dispatch | None:
        """The dispatch that a delivery was posted for, by its K; None: people keyed it, or nobody remembers."""
        return None if k is None else self._dispatches.get(k)

    # ---- hands ------------------------------------------------------------------------------------------------------

    def _changed(
        self, *, items: Iterable[str] = (), orders: Iterable[int] = (), deliveries: Iterable[int] = ()
    ) -> None:
        for changes in self._watchers:
            changes.items.update(items)
            changes.orders.update(orders)
            changes.deliveries.update(deliveries)


def _is_newer(reading: B1Reading, known: B1Reading | None) -> bool:
    return known is None or reading.age >= known.age


def _remember(memory: OrderedDict[str, _T], k: str, value: _T) -> None:
    memory[k] = value
    memory.move_to_end(k)
    if len(memory) > _IDENTITIES:
        memory.popitem(last=False)


def _committed(order: OrderStatusChanged) -> list[tuple[str, str | None, Decimal]]:
    """What an order commits: item, warehouse, units."""
    is_open = order.status == "open"
    return [(line.item_code, line.warehouse, line.open) for line in order.lines if is_open and not line.is_closed]
