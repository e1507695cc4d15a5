"""What a connector is to be told, as B1 stands now (contract "Out of B1"). Pure.

Everything is a desired state: an item, a price, a level, an order and a delivery each have the content that their
receiver ought to have. What is sent is the difference from what it took last (`plan`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.base.settings import OutSettings
from connectors.base.sink import EffectType
from schemas.events import BatchQuantity
from schemas.readings import DeliveryPosted, EffectState, ItemChanged, OrderLineRead, OrderStatusChanged, StockLevelRead
from streams.delivery.names import ReceiverNames
from streams.delivery.view import ZERO, Changes, CompanyView

Subject = tuple[str, ...]
#: A delivery that is older is not sent any more, whatever is changed in it.
DELIVERY_KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a receiver ought to have of one subject.

    Attributes:
        content: As in a file; None: nothing, and nothing has to be taken back.
        missing: Fields that must be there before it may go.
    """

    subject: Subject
    type: EffectType
    content: Mapping[str, Any] | None
    as_of: datetime
    order_id: str | None = None
    order_source: str | None = None
    sku: str | None = None
    revision: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StockTerms:
    """What a channel may sell of an item in one warehouse, term by term.

    Attributes:
        location: Whose level it is part of; None: the sum of all warehouses.
        reading: On hand and committed, and as of when.
        own_open: The channel's own open units among the committed: it holds them back itself.
        under_way: Units of accepted orders that the reading does not show yet.
    """

    location: str | None
    reading: StockLevelRead
    own_open: Decimal
    under_way: Decimal

    @property
    def figure(self) -> Decimal:
        """Before the buffer; may be below zero."""
        return self.reading.on_hand - (self.reading.committed - self.own_open) - self.under_way


def decimal_text(value: Decimal) -> str:
    """An exact decimal as files have it: no exponent, no zeros behind the last digit."""
    return format(value.normalize(), "f") if value else "0"


class Wants:
    """What one connector is to be told.

    Args:
        connector: Its name.
        out: What it receives.
        names: What it calls things.
        view: What is known of its company.
        start: Deliveries made before it are not sent.
        currency: The company's.
    """

    def __init__(
        self,
        connector: str,
        out: OutSettings,
        names: ReceiverNames,
        view: CompanyView,
        *,
        start: datetime,
        currency: str,
    ) -> None:
        self._connector, self._out, self._names, self._view = connector, out, names, view
        self._start, self._currency = start, currency

    def of(self, changes: Changes, states: Mapping[Subject, EffectState], now: datetime) -> Iterator[Wanted]:
        """Everything that is to be had of what has changed.

        Args:
            changes: Which items, orders and deliveries.
            states: What the receiver was told.
            now: Aware.
        """
        for code in changes.items:
            yield from self._of_item(code, states)
        if self._out.orders:
            for entry in changes.orders:
                yield from self._of_order(self._view.orders[entry], states.get(("order", str(entry))))
        if self._out.tracking:
            # A delivery may have waited for its order to be known
            for entry in changes.deliveries:
                yield from self._of_delivery(self._view.deliveries[entry], states, now)

    # ---- items, prices, levels --------------------------------------------------------------------------------------

    def _of_item(self, code: str, states: Mapping[Subject, EffectState]) -> Iterator[Wanted]:
        item = self._view.items.get(code)
        for sku in self._names.skus(code):
            if item is not None and self._out.items and (item.is_sold or item.is_stocked or ("item", sku) in states):
                yield self._item(item, sku)
            if item is not None and self._out.prices is not None:
                yield from self._price(item, sku, self._out.prices)
            if self._out.stock:
                yield from self._levels(code, item, sku, states)

    def _item(self, item: ItemChanged, sku: str) -> Wanted:
        content = {
            "sku": sku,
            "item_code": item.item_code,
            "name": item.name,
            "barcode": item.barcode,
            "unit": item.unit,
            "active": item.is_active,
            "batch_managed": item.batch_managed,
            "serial_managed": item.serial_managed,
            "prices": {str(each.price_list): decimal_text(each.amount) for each in item.prices},
        }
        return Wanted(subject=("item", sku), type="item_changed", content=_given(content), as_of=item.as_of, sku=sku)

    def _price(self, item: ItemChanged, sku: str, price_list: int) -> Iterator[Wanted]:
        # B1 shows 0 where a list has no price for an item
        price = next((each for each in item.prices if each.price_list == price_list and each.amount > 0), None)
        if price is not None:
            content = {
                "sku": sku,
                "list": price_list,
                "price": decimal_text(price.amount),
                "currency": price.currency or self._currency,
            }
            yield Wanted(subject=("price", sku), type="price_changed", content=content, as_of=item.as_of, sku=sku)

    def terms(self, code: str) -> list["StockTerms"]:
        """What an item's figure is made of, by warehouse that the channel sells from."""
        found = []
        for warehouse, reading in self._view.stock.get(code, {}).items():
            if warehouse not in self._names.sellable:
                continue
            own = self._view.units_open_of(self._connector, reading) if self._out.reserves else ZERO
            under_way = self._view.units_under_way(reading, but=self._connector if self._out.reserves else None)
            place = self._names.location(warehouse) if self._out.levels_by_location else None
            found.append(StockTerms(place, reading, own, under_way))
        return found

    def _levels(
        self, code: str, item: ItemChanged | None, sku: str, states: Mapping[Subject, EffectState]
    ) -> Iterator[Wanted]:
        terms_of_item = self.terms(code)
        if item is None or not terms_of_item:
            return  # nothing is known: nothing is said
        may_be_sold = item.is_active and item.is_sold and item.is_stocked
        figures: dict[str | None, Decimal] = {}
        for terms in terms_of_item:
            figures[terms.location] = figures.get(terms.location, ZERO) + terms.figure
        as_of = max(item.as_of, *(terms.reading.as_of for terms in terms_of_item))
        for place, figure in figures.items():
            sellable = max(ZERO, figure - self._out.buffer) if may_be_sold else ZERO
            subject = ("level", sku) if place is None else ("level", sku, place)
            content: dict[str, Any] | None = _given({"sku": sku, "location": place, "sellable": decimal_text(sellable)})
            state = states.get(subject)
            if sellable == ZERO and (state is None or (state.sent is None and state.state != "sending")):
                content = None  # one that was never above zero has none
            yield Wanted(subject=subject, type="stock_level", content=content, as_of=as_of, sku=sku)

    # ---- orders -----------------------------------------------------------------------------------------------------

    def _of_order(self, order: OrderStatusChanged, state: EffectState | None) -> Iterator[Wanted]:
        if order.k in self._view.unidentified:
            return  # whose it is will be known in a moment
        owner = self._view.order_of(order.k)
        if owner is not None and owner[0] == self._connector:
            return  # its own order does not come back to it
        lines = [line for line in order.lines if line.warehouse in self._names.warehouses]
        subject: Subject = ("order", str(order.doc_entry))
        order_id = owner[1] if owner is not None else f"B1-{order.doc_num}"
        has_it = state is not None and (state.sent_type == "order_released" or state.state == "sending")
        revision = state.revision if state is not None else 0
        is_due = order.status == "open" and order.is_released and any(map(_is_open, lines))
        why = _withdrawn_for(order, lines, state) if has_it and state is not None else None
        common: dict[str, Any] = {
            "subject": subject,
            "as_of": order.as_of,
            "order_id": order_id,
            "order_source": owner[0] if owner is not None else None,
        }
        if why is not None:
            content = {"order_id": order_id, "doc_entry": order.doc_entry, "company": order.company, "reason": why}
            yield Wanted(**common, type="order_withdrawn", content=content, revision=revision)
        elif has_it:
            yield Wanted(**common, type="order_released", content=None, revision=revision)  # it has what it ought to
        elif is_due:
            if state is not None and state.sent_type == "order_withdrawn":
                revision += 1
            content, missing = self._released(order, lines, order_id, revision)
            yield Wanted(**common, type="order_released", content=content, revision=revision, missing=missing)
        elif state is not None:
            yield Wanted(**common, type="order_released", content=None, revision=revision)  # no more to be sent

    def _released(
        self, order: OrderStatusChanged, lines: Sequence[OrderLineRead], order_id: str, revision: int
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The content, and what it lacks."""
        address = asdict(order.ship_to) if order.ship_to is not None else {}
        missing = [f"ship_to.{name}" for name in ("street", "city", "postcode", "country") if not address.get(name)]
        told = []
        for line in lines:
            if not _is_open(line):
                continue
            skus = self._names.skus(line.item_code)
            if not skus:
                missing.append(f"lines.{_line_id(line)}.sku")
            told.append(
                _given(
                    {
                        "line_id": _line_id(line),
                        "sku": skus[0] if skus else None,
                        "item_code": line.item_code,
                        "quantity": decimal_text(line.open),
                        "ordered": decimal_text(_ordered(line)),
                        "location": self._names.location(line.warehouse),
                        "batches": [_batch(batch) for batch in line.batches] or None,
                    }
                )
            )
        carrier, service = self._names.carrier(order.shipping_type)
        content = {
            "order_id": order_id,
            "order_number": order.number or str(order.doc_num),
            "doc_entry": order.doc_entry,
            "company": order.company,
            "ship_to": _given(address),
            "carrier": carrier,
            "service": service,
            "lines": told,
            "revision": revision or None,
        }
        return _given(content), tuple(missing)

    # ---- deliveries -------------------------------------------------------------------------------------------------

    def _of_delivery(
        self, delivery: DeliveryPosted, states: Mapping[Subject, EffectState], now: datetime
    ) -> Iterator[Wanted]:
        entries = {line.order_entry for line in delivery.lines if line.order_entry is not None}
        orders = [self._view.orders[entry] for entry in entries if entry in self._view.orders]
        ks = {delivery.order_k, *(order.k for order in orders)} - {None}
        found = {owner for k in ks if (owner := self._view.order_of(k)) is not None and owner[0] == self._connector}
        if len(found) != 1 or delivery.is_cancelled or not delivery.tracking_numbers:
            return  # no order of this connector, or nothing to track yet
        if delivery.created_at < max(self._start, now - DELIVERY_KEPT):
            return
        dispatch = self._view.dispatch_of(delivery.k)
        if dispatch is not None and dispatch.source == self._connector:
            return  # it told us
        subject: Subject = ("delivery", str(delivery.doc_entry))
        state = states.get(subject)
        sent = json.loads(state.sent) if state is not None and state.sent is not None else None
        if sent is not None and sent["tracking_numbers"] == list(delivery.tracking_numbers):
            return
        line_ids = {(order.doc_entry, line.line_num): _line_id(line) for order in orders for line in order.lines}
        carrier, service = self._names.carrier(delivery.shipping_type)
        if dispatch is not None and dispatch.carrier is not None:
            carrier, service = dispatch.carrier, dispatch.service
        ((_, order_id),) = found
        content = _given(
            {
                "order_id": order_id,
                "shipment_id": dispatch.shipment_id if dispatch is not None else f"B1-{delivery.doc_num}",
                "tracking_numbers": list(delivery.tracking_numbers),
                "carrier": carrier,
                "service": service,
                "lines": [
                    _given(
                        {
                            "line_id": line.line_id or line_ids.get((line.order_entry or 0, line.order_line or 0)),
                            "sku": next(iter(self._names.skus(line.item_code)), None),
                            "quantity": decimal_text(line.quantity),
                            "location": self._names.location(line.warehouse),
                        }
                    )
                    for line in delivery.lines
                ],
                "corrected": True if sent is not None else None,
            }
        )
        yield Wanted(
            subject=subject,
            type="delivery_posted",
            content=content,
            as_of=delivery.as_of,
            order_id=order_id,
            order_source=self._connector,
        )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _batch(batch: BatchQuantity) -> dict[str, Any]:
    expires_on = batch.expires_on.isoformat() if batch.expires_on is not None else None
    return _given({"number": batch.number, "quantity": decimal_text(batch.quantity), "expires_on": expires_on})


def _line_id(line: OrderLineRead) -> str:
    return line.line_id or str(line.line_num)


def _is_open(line: OrderLineRead) -> bool:
    return line.open > 0 and not line.is_closed


def _ordered(line: OrderLineRead) -> Decimal:
    """What a line asks for: of a closed one, what was delivered."""
    return line.quantity - line.open if line.is_closed else line.quantity


def _withdrawn_for(order: OrderStatusChanged, lines: Sequence[OrderLineRead], state: EffectState) -> str | None:
    """Why an order that the receiver has must be taken back from it; None: it may keep it."""
    if order.status == "cancelled":
        return "cancelled"
    if order.status == "closed":
        return "closed" if any(line.open > 0 for line in lines) else None
    if not order.is_released:
        return "not_released"
    told = {
        line["line_id"]: (line["item_code"], line["ordered"])
        for line in json.loads(state.sent or state.content).get("lines", ())
    }
    now = {_line_id(line): line for line in lines}
    same = all(
        name in now and fields == (now[name].item_code, decimal_text(_ordered(now[name])))
        for name, fields in told.items()
    )
    return None if same and not any(_is_open(line) for name, line in now.items() if name not in told) else "changed"
