"""An order, with all that happened to it, to events; a level to a level. Pure.

Shopify has one order that changes, we have facts that do not. Its lines as they were placed are one `order_placed`. What
an edit adds is an order of its own (`<order>-<agreement>`), since a fact once said cannot be said otherwise. What an edit,
a refund or a cancellation takes off before it was sent is an `order_cancelled`; what a refund brings back of goods that
were sent is a `refund_issued`. Which units were sent when a refund came is reckoned from the fulfilments before it, never
from how the order stands now: so a fact is the same whenever it is read.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any, TypeVar

from connectors.base.errors import RecordError
from connectors.base.source import RefusedRecord, StockLevel
from connectors.base.validate import exactly, violation_of
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from schemas.events import (
    TYPE_NAMES,
    Address,
    Adjustment,
    CancelledLine,
    Customer,
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    Payment,
    RefundIssued,
    RefundLine,
    RefundShipping,
    Shipping,
    StockAdjusted,
    digest_of,
)

ZERO = Decimal(0)
_STEP = Decimal("0.000001")
# ISO 4217 list one (published 2026-01-01, read 2026-11-21): currencies that shops have, and that do not have two decimals.
_MINOR_UNITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND"), Decimal(1)),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), Decimal(1)),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), Decimal("0.001")),
}
_CENT = Decimal("0.01")
#: Below it a line rounds to the same amount in every currency.
_NOTHING = Decimal("0.0005")
#: A fulfilment at no location, to be mapped like any other name of a place.
NO_LOCATION = "none"
_PROMISED = frozenset({"AUTHORIZATION", "SALE", "CAPTURE"})
_PAID = frozenset({"SALE", "CAPTURE"})
_PLAIN = re.compile(r"[ -~]{1,200}")
_OPEN_STATES = frozenset({"PENDING", "OPEN", "IN_PROGRESS"})


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that has happened to an order.

    Attributes:
        key: Its name within the order.
        moment: Shopify's time at which it came to be; never changes, and the order was updated then or later.
        items: What it is to us.
        final: Whether it is over; else it is to be looked at again.
        undoes: The key and moment of what it takes back; without that having been told it is nothing.
    """

    key: str
    moment: datetime
    items: tuple[FactEvent | RefusedRecord, ...] = ()
    final: bool = True
    undoes: tuple[str, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """In whose name events are made.

    Attributes:
        counted_since: The locations whose counts are read, and when the first reading was done. What is sent from there
            later leaves the count too, see `_Teller._kept`.
    """

    source: str
    company: str
    settings: ShopifySettings
    observed_at: datetime
    counted_since: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """The order as placed, or what one edit added: an order of its own to us."""

    order_id: str
    number: str
    key: str
    moment: datetime
    quantities: Mapping[str, int]
    amounts: Mapping[str, tuple[Decimal, Decimal]]  # by line: what it comes to with tax, and its tax
    shipping: tuple[Decimal, Decimal] | None = None  # the same, where an agreement tells it


def is_ours(order: records.Order, settings: ShopifySettings) -> bool:
    """Whether the order is none of the shop's own: written by us, or a test."""
    return bool(set(order.tags) & set(settings.ignore_tags)) or (order.test and not settings.test_orders)


@exactly
def find(order: records.Order, raw: Mapping[str, Any], voice: Voice) -> list[Found]:
    """All that has happened to an order, oldest first.

    Args:
        order: With every line, fulfilment, refund and (if it was edited) agreement.
        raw: What it was read from, for a letter.
        voice: In whose name.

    Raises:
        RecordError: What it comes to is no event.
    """
    placed_at = _placed_at(order, voice.settings)
    if placed_at is None or is_ours(order, voice.settings):
        return []
    teller = _Teller(order, raw, voice)
    parts, odd = _parts(order, placed_at)
    found = [teller.placed(part) for part in parts]
    found += [teller.priced(agreement) for agreement in odd]
    found += teller.moved(parts)
    if order.cancelled_at is not None:
        found += [teller.cancelled(part, order.cancelled_at) for part in parts]
    # Nothing happens to an order before it is one: what came earlier is told with it.
    found = [
        replace(
            each,
            moment=max(each.moment, placed_at),
            items=tuple(item for item in each.items if _is_wanted(item, voice)),
        )
        for each in found
    ]
    return sorted((each for each in found if each.items or not each.final), key=lambda each: each.moment)


def unreadable(order_id: str, updated_at: str, raw: object, fault: str, events: Sequence[str]) -> RefusedRecord:
    """The letter of an order that cannot be read: whatever of it is wanted is not told, so it is a letter in any case."""
    event_type = "order_placed" if "order_placed" in events or not events else events[0]
    error = f"{fault}; report it, and replay it edited"
    return _refused(event_type, f"order-{order_id}-{updated_at}", raw, error, order_id=order_id)


def unreadable_level(location: str, raw: object, error: str) -> RefusedRecord:
    """The letter of a count that cannot be read."""
    item = raw.get("item") if isinstance(raw, Mapping) else None
    name = str(item.get("id")) if isinstance(item, Mapping) else "unknown"
    return _refused("stock_adjusted", f"level-{location}-{name[-60:]}", raw, error)


def find_level(
    level: records.InventoryLevel, location: str, raw: object, voice: Voice
) -> StockLevel | RefusedRecord | None:
    """The count of one item at one location; None where it is not counted, or not by this name."""
    item, settings = level.item, voice.settings
    quantity = next((each.quantity for each in level.quantities if each.name == settings.stock_quantity), None)
    if not item.tracked or quantity is None:
        return None
    sku = settings.inventory_skus.get(item.id) or item.sku
    mapped = item.id in settings.inventory_skus
    # Whether Shopify counts the item itself is not documented, so one other already is too many.
    shared = item.duplicate_sku_count > 1 and not mapped
    if sku is None or shared:
        what = "shares its sku with another" if shared else "has no sku"
        return _refused(
            "stock_adjusted",
            f"item-{item.id}",
            raw,
            f"inventory item {item.id} {what}, so its count is nobody's; give it its own in the shop, or name it in "
            f"connectors.{voice.source}.inventory_skus",
            sku=sku,
        )
    seconds = int(level.updated_at.timestamp())
    return StockLevel(
        source=voice.source,
        company=voice.company,
        event_id=f"{item.id}-{location}-{seconds}",
        occurred_at=level.updated_at,
        observed_at=voice.observed_at,
        sku=sku,
        location=location,
        level=Decimal(quantity),
        sequence=seconds,
        reason="other",
    )


# ---- the order as placed, and what edits added ----------------------------------------------------------------------


def _placed_at(order: records.Order, settings: ShopifySettings) -> datetime | None:
    """When the order became one by `place_on`; None: not yet."""
    if settings.place_on == "placed":
        return order.created_at
    status = order.display_financial_status
    states = {"PAID", "PARTIALLY_REFUNDED", "REFUNDED"}
    kinds = _PAID
    if settings.place_on == "authorized":
        states |= {"AUTHORIZED", "PARTIALLY_PAID"}
        kinds = _PROMISED
    times = [_time(each) for each in order.transactions if each.status == "SUCCESS" and each.kind in kinds]
    if status not in states and not (settings.place_on == "authorized" and times):
        return None
    if not times:
        return order.created_at
    return max(order.created_at, min(times) if settings.place_on == "authorized" else max(times))


def _time(transaction: records.Transaction) -> datetime:
    return transaction.processed_at or transaction.created_at


def _parts(order: records.Order, placed_at: datetime) -> tuple[list[_Part], list[records.Agreement]]:
    """The order's parts, and the edits that changed a price, which no event can say."""
    number = order.name or order.id
    first = next((each for each in order.agreements if each.reason == "ORDER"), None)
    if first is None:
        return [_Part(order.id, number, "p", placed_at, {line.id: line.quantity for line in order.line_items}, {})], []
    parts = [_Part(order.id, number, "p", placed_at, *_sold(first.sales), shipping=_freight(first.sales))]
    odd: list[records.Agreement] = []
    edits = sorted(
        (each for each in order.agreements if each.reason == "ORDER_EDIT"), key=lambda a: (a.happened_at, a.id)
    )
    for count, edit in enumerate(edits, start=1):
        quantities, amounts = _sold(edit.sales)
        shipping = _freight(edit.sales)
        if quantities or shipping[0] > 0:
            parts.append(
                _Part(
                    f"{order.id}-{edit.id}",
                    f"{number}-E{count}",
                    f"p{edit.id}",
                    max(placed_at, edit.happened_at),
                    quantities,
                    amounts,
                    shipping,
                )
            )
        if any(not each.quantity and each.total_amount.amount and each.line_type != "SHIPPING" for each in edit.sales):
            odd.append(edit)
    return parts, odd


def _sold(sales: Sequence[records.Sale]) -> tuple[dict[str, int], dict[str, tuple[Decimal, Decimal]]]:
    quantities: dict[str, int] = {}
    amounts: dict[str, tuple[Decimal, Decimal]] = {}
    for sale in sales:
        if sale.line_item is not None and sale.quantity is not None and sale.quantity > 0:
            line = sale.line_item.id
            quantities[line] = quantities.get(line, 0) + sale.quantity
            total, tax = amounts.get(line, (ZERO, ZERO))
            amounts[line] = (total + sale.total_amount.amount, tax + sale.total_tax_amount.amount)
    return quantities, amounts


def _freight(sales: Sequence[records.Sale]) -> tuple[Decimal, Decimal]:
    rows = [each for each in sales if each.line_type == "SHIPPING"]
    return _sum(each.total_amount for each in rows), _sum(each.total_tax_amount for each in rows)


# ---- who had which units when ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Units:
    """Units of one line, by part: not sent yet, and sent."""

    open: list[int]
    sent: list[int] = field(default_factory=list)


class _Ledger:
    """Follows units through fulfilments and refunds, in the order in which they happened."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        lines = {line for part in parts for line in part.quantities}
        self._units = {
            line: _Units([part.quantities.get(line, 0) for part in parts], [0] * len(parts)) for line in lines
        }
        self._count = len(parts)

    def send(self, line: str, quantity: int) -> list[tuple[int, int]]:
        """Units leave: of the first part that has some. What nobody ordered is the first part's, and B1 refuses it."""
        units = self._of(line)
        taken = _take(units.open, quantity, range(self._count))
        for part, number in taken:
            units.sent[part] += number
        return _with_rest(taken, quantity, self._home(line))

    def cancel(self, line: str, quantity: int, *, beyond: bool) -> list[tuple[int, int]]:
        """Units that will not leave: of the last part first; `beyond`: also those that are not there."""
        taken = _take(self._of(line).open, quantity, range(self._count - 1, -1, -1))
        return _with_rest(taken, quantity, self._home(line)) if beyond else taken

    def bring_back(self, line: str, quantity: int) -> list[tuple[int, int]]:
        return _with_rest(_take(self._of(line).sent, quantity, range(self._count)), quantity, self._home(line))

    def _of(self, line: str) -> _Units:
        return self._units.setdefault(line, _Units([0] * self._count, [0] * self._count))

    def _home(self, line: str) -> int:
        units = self._of(line)
        return next((part for part in range(self._count) if units.open[part] or units.sent[part]), 0)


def _take(places: list[int], quantity: int, order: Iterable[int]) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    for part in order:
        number = min(places[part], quantity)
        if number > 0:
            places[part] -= number
            quantity -= number
            taken.append((part, number))
    return taken


def _with_rest(taken: list[tuple[int, int]], quantity: int, home: int) -> list[tuple[int, int]]:
    rest = quantity - sum(number for _, number in taken)
    if rest <= 0:
        return taken
    by_part = dict(taken)
    by_part[home] = by_part.get(home, 0) + rest
    return sorted(by_part.items())


# ---- events ---------------------------------------------------------------------------------------------------------


class _Teller:
    """Makes the events of one order."""

    def __init__(self, order: records.Order, raw: Mapping[str, Any], voice: Voice) -> None:
        self._order, self._raw, self._voice, self._settings = order, raw, voice, voice.settings
        self._lines = {line.id: line for line in order.line_items}
        self._currency = order.total_price_set.shop_money.currency_code
        self._cent = _MINOR_UNITS.get(self._currency, _CENT)

    # ---- placed

    def placed(self, part: _Part) -> Found:
        order = self._order
        nameless = [
            line for line in order.line_items if line.id in part.quantities and self._sku(line) is None and not _is_charge(line)
        ]  # fmt: skip
        if nameless:
            return Found(part.key, part.moment, (self._without_sku(part, nameless),))
        lines = [line for line in order.line_items if part.quantities.get(line.id) and not _is_charge(line)]
        is_whole = not part.amounts
        shipping = self._shipping(part)
        if not lines:
            what = "has no goods, only charges; key it in B1 by hand, and discard this"
            return Found(part.key, part.moment, (self._refusal("order_placed", part.key, what, part.order_id),))
        event = OrderPlaced(
            **self._header(part.order_id, order.processed_at or order.created_at if part.key == "p" else part.moment),
            order_id=part.order_id,
            order_number=part.number,
            channel=order.source_name,
            currency=self._currency,
            customer=self._customer(),
            ship_to=_address(order.shipping_address),
            bill_to=_address(order.billing_address),
            lines=tuple(self._line(line, part) for line in lines),
            shipping=shipping,
            tax_total=self._tax_total(part),
            grand_total=order.total_price_set.amount if is_whole else self._part_total(part),
            payment=self._payment() if part.key == "p" else None,
            note=order.note,
        )
        return Found(part.key, part.moment, (_signed(event),))

    def _line(self, line: records.LineItem, part: _Part) -> OrderLine:
        quantity = Decimal(part.quantities[line.id])
        net, tax = self._amounts(line, part)
        gross_price = quantity * line.original_unit_price_set.amount
        paid = net + tax if self._order.taxes_included else net
        cut = max(ZERO, gross_price - paid)
        if self._order.taxes_included and paid > 0:
            cut = (cut * net / paid).quantize(self._cent, ROUND_HALF_UP)
        price = ((net + cut) / quantity).quantize(_STEP, ROUND_HALF_UP)
        if abs(quantity * price - cut - net) >= _NOTHING:
            # So many units that the price's sixth digit shows in the total: the discount takes it.
            price = ((net + cut) / quantity).quantize(_STEP, ROUND_UP)
            cut = quantity * price - net
        return OrderLine(
            line_id=line.id,
            sku=self._sku(line) or "",
            name=line.name,
            quantity=quantity,
            unit_price=price,
            discount=cut or None,
            tax_code=self._tax_code(line.tax_lines),
            tax_rate=_rate(line.tax_lines),
            tax_amount=tax,
        )

    def _amounts(self, line: records.LineItem, part: _Part) -> tuple[Decimal, Decimal]:
        """What a line comes to without tax, and its tax."""
        if line.id in part.amounts:
            total, tax = part.amounts[line.id]
            return total - tax, tax
        price = part.quantities[line.id] * line.original_unit_price_set.amount
        paid = price - _sum(each.allocated_amount_set for each in line.discount_allocations)
        tax = _sum(each.price_set for each in line.tax_lines)
        return (paid - tax if self._order.taxes_included else paid), tax

    def _shipping(self, part: _Part) -> Shipping | None:
        """Freight, and what else is charged and never sent: duties, fees, tips."""
        order = self._order
        first = order.shipping_lines[0] if order.shipping_lines and part.key == "p" else None
        net = tax = ZERO
        if part.shipping is not None:
            net, tax = part.shipping[0] - part.shipping[1], part.shipping[1]
        elif part.key == "p":
            for freight in order.shipping_lines:
                cut = _sum(each.allocated_amount_set for each in freight.discount_allocations)
                paid = freight.original_price_set.amount - cut
                its_tax = _sum(each.price_set for each in freight.tax_lines)
                net, tax = net + (paid - its_tax if order.taxes_included else paid), tax + its_tax
        if part.key == "p":
            net += _sum(
                bag for bag in (order.original_total_duties_set, order.original_total_additional_fees_set) if bag
            )
        for line in order.line_items:
            if part.quantities.get(line.id) and _is_charge(line):
                its_net, its_tax = self._amounts(line, part)
                net, tax = net + its_net, tax + its_tax
        if not (first or net or tax):
            return None
        return Shipping(
            method=first.title if first else None,
            carrier=first.source if first else None,
            amount=net,
            tax_code=self._tax_code(first.tax_lines) if first else None,
            tax_amount=tax,
        )

    def _tax_total(self, part: _Part) -> Decimal | None:
        """Of the order as placed, which is the same sum before and after an edit; of what an edit adds, nobody tells it."""
        told = self._order.total_tax_set
        if told is None or part.key != "p":
            return None
        if not part.amounts:
            return told.amount
        return sum((tax for _, tax in part.amounts.values()), part.shipping[1] if part.shipping else ZERO)

    def _part_total(self, part: _Part) -> Decimal:
        total = sum((each for each, _ in part.amounts.values()), ZERO)
        if part.key == "p":
            shipping = self._shipping(replace(part, quantities={}))
            return total + (shipping.amount + (shipping.tax_amount or ZERO) if shipping else ZERO)
        return total + (part.shipping[0] if part.shipping else ZERO)

    def _customer(self) -> Customer:
        order = self._order
        address = order.billing_address or order.shipping_address
        name = order.customer.display_name if order.customer else None
        return Customer(
            id=order.customer.id if order.customer else None,
            email=order.email,
            name=name or (address.name if address else None),
            guest=order.customer is None,
        )

    def _payment(self) -> Payment | None:
        """The first payment; only where orders wait for one, since elsewhere it may come after the event."""
        if self._settings.place_on != "paid":
            return None
        paid = [each for each in self._order.transactions if each.status == "SUCCESS" and each.kind in _PAID]
        first = min(paid, key=lambda each: (_time(each), each.id), default=None)
        if first is None:
            return None
        return Payment(method=first.gateway or "unknown", amount=first.amount_set.amount, reference=first.id)

    def priced(self, agreement: records.Agreement) -> Found:
        what = "was edited and a price changed, which cannot be posted; mend the order in B1 by hand, and discard this"
        key = f"e{agreement.id}"
        return Found(key, agreement.happened_at, (self._refusal("order_placed", key, what, self._order.id),))

    # ---- sent, cancelled, refunded

    def moved(self, parts: Sequence[_Part]) -> list[Found]:
        """Fulfilments and refunds, reckoned in the order in which they happened."""
        ledger, found = _Ledger(parts), []
        steps: list[records.Fulfillment | records.Refund] = [*self._order.fulfillments, *self._order.refunds]
        # Of one second the fulfilment comes first: what is refunded as sent has been sent.
        steps.sort(key=lambda step: (step.created_at, isinstance(step, records.Refund), step.id))
        for step in steps:
            if isinstance(step, records.Refund):
                found.append(self._refund(step, ledger, parts))
            else:
                found.append(self._fulfilment(step, ledger, parts))
        return found

    def _fulfilment(self, step: records.Fulfillment, ledger: _Ledger, parts: Sequence[_Part]) -> Found:
        key = f"f{step.id}"
        if step.status != "SUCCESS":
            if step.status == "CANCELLED" and step.updated_at > step.created_at:
                return self._taken_back(step)
            return Found(key, step.created_at, final=step.status not in _OPEN_STATES)
        sent: dict[int, list[DispatchLine]] = {}
        for row in step.fulfillment_line_items:
            line = self._lines.get(row.line_item.id)
            if line is None or _is_charge(line) or row.quantity <= 0:
                continue
            for part, quantity in ledger.send(line.id, row.quantity):
                one = DispatchLine(line_id=line.id, sku=self._sku(line) or line.id, quantity=Decimal(quantity))
                sent.setdefault(part, []).append(one)
        numbers = dict.fromkeys(each.number for each in step.tracking_info if each.number)
        events: list[FactEvent] = []
        for part in sorted(sent):
            shipment_id = step.id if part == min(sent) else f"{step.id}-{part}"
            events.append(
                _signed(
                    DispatchConfirmed(
                        **self._header(shipment_id, step.created_at),
                        shipment_id=shipment_id,
                        order_id=parts[part].order_id,
                        location=step.location.id if step.location else NO_LOCATION,
                        carrier=next((each.company for each in step.tracking_info if each.company), None),
                        tracking_numbers=tuple(numbers),
                        lines=tuple(sent[part]),
                    )
                )
            )
        return Found(key, step.created_at, (*events, *self._kept(step, 1)))

    def _kept(self, step: records.Fulfillment, sign: int) -> list[FactEvent]:
        """What a dispatch from a counted location must not take off twice.

        B1's delivery takes the units off, and so does the next count, which knows no deliveries. So each dispatch comes
        with the same units as a plus: it and the count's minus are nothing together, mostly within one window.
        """
        since = self._voice.counted_since.get(step.location.id) if step.location else None
        if since is None or step.location is None or step.created_at <= since:
            return []
        units: dict[str, int] = {}
        for row in step.fulfillment_line_items:
            line = self._lines.get(row.line_item.id)
            if line is not None and not _is_charge(line) and row.quantity > 0:
                sku = self._sku(line) or line.id
                units[sku] = units.get(sku, 0) + row.quantity
        name, at = ("dispatched", step.created_at) if sign > 0 else ("undispatched", step.updated_at)
        return [
            _signed(
                StockAdjusted(
                    **self._header(f"{step.id}-{name}", at),
                    sku=sku,
                    location=step.location.id,
                    delta=Decimal(sign * quantity),
                    reason="other",
                    note=f"fulfilment {step.id}, which its delivery takes off and the count takes off as well",
                )
            )
            for sku, quantity in sorted(units.items())
        ]

    def _taken_back(self, step: records.Fulfillment) -> Found:
        key = f"f{step.id}-cancelled"
        what = (
            f"fulfilment {step.id} was cancelled after it was made; if B1 has its delivery, return it there by hand, "
            "then discard this"
        )
        letter = self._refusal("dispatch_confirmed", key, what, self._order.id)
        items = (letter, *self._kept(step, -1))
        return Found(key, step.updated_at, items, undoes=(f"f{step.id}", step.created_at))

    def cancelled(self, part: _Part, at: datetime) -> Found:
        event_id = f"{part.order_id}-cancelled"
        reason = self._order.cancel_reason
        event = OrderCancelled(
            **self._header(event_id, at), order_id=part.order_id, reason=reason.lower() if reason else None
        )
        return Found(f"c{part.key}", max(at, part.moment), (_signed(event),))

    def _refund(self, step: records.Refund, ledger: _Ledger, parts: Sequence[_Part]) -> Found:
        gone: dict[int, dict[str, int]] = {}
        back: dict[int, list[RefundLine]] = {}
        charged = (ZERO, ZERO)
        never_sent = ZERO
        for row in step.refund_line_items:
            line = self._lines.get(row.line_item.id)
            net, tax = self._refunded(row.subtotal_set.amount, row.total_tax_set.amount)
            if line is None or _is_charge(line):
                charged = (charged[0] + net, charged[1] + tax)
                continue
            if row.quantity <= 0:
                continue
            cancelled: list[tuple[int, int]] = []
            if row.restock_type != "RETURN":
                cancelled = ledger.cancel(line.id, row.quantity, beyond=row.restock_type == "CANCEL")
            for part, quantity in cancelled:
                lines = gone.setdefault(part, {})
                lines[line.id] = lines.get(line.id, 0) + quantity
            left = row.quantity - sum(quantity for _, quantity in cancelled)
            shares = ledger.bring_back(line.id, left) if left > 0 else []
            # What came back has its share of the money; what never left has the rest, and no invoice to credit.
            weights = [*(number for _, number in shares), row.quantity - left]
            paid, taxes = _shares(net + tax, weights, self._cent), _shares(tax, weights, self._cent)
            never_sent += paid[-1]
            nets = [whole - its_tax for whole, its_tax in zip(paid, taxes, strict=True)]
            for (part, quantity), its_net, its_tax in zip(shares, nets, taxes, strict=False):
                back.setdefault(part, []).append(
                    RefundLine(
                        line_id=line.id,
                        sku=self._sku(line) or line.id,
                        quantity=Decimal(quantity),
                        amount=its_net,
                        tax_amount=its_tax,
                        restock=row.restock_type in ("RETURN", "LEGACY_RESTOCK"),
                        location=row.location.id if row.location else None,
                    )
                )
        items: list[FactEvent | RefusedRecord] = []
        if self._order.cancelled_at is None:
            items += self._taken_off(step, gone, parts)
        waits = any(each.status in ("PENDING", "AWAITING_RESPONSE") for each in step.transactions)
        if waits:
            # The money's way is not over; what it says of goods can wait with it.
            return Found(f"r{step.id}", step.created_at, final=False)
        items += self._given_back(step, back, charged, never_sent, parts)
        return Found(f"r{step.id}", step.created_at, tuple(items))

    def _taken_off(
        self, step: records.Refund, gone: Mapping[int, Mapping[str, int]], parts: Sequence[_Part]
    ) -> list[FactEvent | RefusedRecord]:
        events: list[FactEvent | RefusedRecord] = []
        for part in sorted(gone):
            event_id = f"{parts[part].order_id}-refund-{step.id}"
            event = OrderCancelled(
                **self._header(event_id, step.created_at),
                order_id=parts[part].order_id,
                reason=step.note,
                lines=tuple(CancelledLine(line_id=line, quantity=Decimal(n)) for line, n in sorted(gone[part].items())),
            )
            events.append(_signed(event))
        return events

    def _given_back(
        self,
        step: records.Refund,
        back: Mapping[int, Sequence[RefundLine]],
        charged: tuple[Decimal, Decimal],
        never_sent: Decimal,
        parts: Sequence[_Part],
    ) -> list[FactEvent]:
        freight_net = freight_tax = ZERO
        for row in step.refund_shipping_lines:
            net, tax = self._refunded(row.subtotal_amount_set.amount, row.tax_amount_set.amount)
            freight_net, freight_tax = freight_net + net, freight_tax + tax
        duties = _sum(each.amount_set for each in step.duties or ())
        extra_net = charged[0] + duties - _sum(each.amount_set for each in step.order_adjustments)
        extra_tax = charged[1] - _sum(each.tax_amount_set for each in step.order_adjustments)
        money = [each for each in step.transactions if each.kind == "REFUND" and each.status == "SUCCESS"]
        total = sum((each.amount_set.amount for each in money), ZERO) - never_sent
        if not back:
            # Without goods that came back an adjustment that only evens out what never left is nothing to credit.
            if not (freight_net or freight_tax or ((extra_net or extra_tax) and money)):
                return []
            back = {0: ()}
        first = min(back)
        others = sum(
            (line.amount + (line.tax_amount or ZERO) for part in back if part != first for line in back[part]), ZERO
        )
        events: list[FactEvent] = []
        for part in sorted(back):
            is_first = part == first
            refund_id = step.id if is_first else f"{step.id}-{part}"
            own = sum((line.amount + (line.tax_amount or ZERO) for line in back[part]), ZERO)
            event = RefundIssued(
                **self._header(refund_id, step.created_at),
                refund_id=refund_id,
                order_id=parts[part].order_id,
                currency=self._currency,
                lines=tuple(back[part]),
                shipping=RefundShipping(amount=freight_net, tax_amount=freight_tax)
                if is_first and (freight_net or freight_tax)
                else None,
                adjustment=Adjustment(amount=extra_net, tax_amount=extra_tax)
                if is_first and (extra_net or extra_tax)
                else None,
                total=total - others if is_first else own,
                reason=step.note,
            )
            events.append(_signed(event))
        return events

    # ---- small things

    def _refunded(self, subtotal: Decimal, tax: Decimal) -> tuple[Decimal, Decimal]:
        includes = self._order.taxes_included and self._settings.refund_subtotals == "as_order"
        return (subtotal - tax if includes else subtotal), tax

    def _sku(self, line: records.LineItem) -> str | None:
        return line.sku or (self._settings.skus.gift_card if line.is_gift_card else self._settings.skus.custom)

    def _tax_code(self, taxes: Sequence[records.TaxLine]) -> str | None:
        match self._settings.tax_codes:
            case "title":
                return "+".join(each.title for each in taxes if each.title) or None
            case "country-rate":
                address = self._order.shipping_address or self._order.billing_address
                rate = _rate(taxes) if taxes else ZERO
                if address is None or address.country_code_v2 is None or rate is None:
                    return None
                return f"{address.country_code_v2}-{format(rate.normalize(), 'f')}"
            case _:
                return None

    def _header(self, event_id: str, occurred_at: datetime) -> dict[str, Any]:
        voice = self._voice
        return {
            "source": voice.source,
            "company": voice.company,
            "event_id": event_id,
            "occurred_at": occurred_at,
            "observed_at": voice.observed_at,
            "digest": b"",
        }

    def _without_sku(self, part: _Part, lines: Sequence[records.LineItem]) -> RefusedRecord:
        kind = "gift_card" if lines[0].is_gift_card else "custom"
        what = (
            f"line {lines[0].id} has no sku; give its product one, or set connectors.{self._voice.source}.skus.{kind}, "
            "then edit and replay"
        )
        return self._refusal("order_placed", part.key, what, part.order_id)

    def _refusal(self, event_type: str, key: str, what: str, order_id: str) -> RefusedRecord:
        return _refused(event_type, f"order-{self._order.id}-{key}", self._raw, f"the order {what}", order_id=order_id)


def _refused(event_type: str, digest: str, raw: object, error: str, **ids: str | None) -> RefusedRecord:
    """A letter. Names in it are Shopify's own, which are short and plain; what is not is no name."""
    plain = digest if _PLAIN.fullmatch(digest) else hashlib.sha256(digest.encode("utf-8", "replace")).hexdigest()
    value = json.dumps(raw, default=str, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return RefusedRecord(
        event_type=event_type,
        reason="invalid_event",
        error=error,
        value=value[:990_000],
        origin="shopify",
        digest=plain,
        number=0,
        **{name: value if value is not None and _PLAIN.fullmatch(value) else None for name, value in ids.items()},
    )


_Event = TypeVar("_Event", OrderPlaced, OrderCancelled, DispatchConfirmed, RefundIssued, StockAdjusted)


def _signed(event: _Event) -> _Event:
    fault = violation_of(event)
    if fault is not None:
        raise RecordError(f"its {TYPE_NAMES[type(event)]} cannot be: {fault}")
    return replace(event, digest=digest_of(event))


def _is_wanted(item: FactEvent | RefusedRecord, voice: Voice) -> bool:
    names = {
        OrderPlaced: "order_placed",
        OrderCancelled: "order_cancelled",
        DispatchConfirmed: "dispatch_confirmed",
        RefundIssued: "refund_issued",
        StockAdjusted: "dispatch_confirmed",  # it goes with one
    }
    name = item.event_type if isinstance(item, RefusedRecord) else names.get(type(item))
    return name in voice.settings.events


def _is_charge(line: records.LineItem) -> bool:
    """Whether a line is money without goods: a tip, a fee, a service typed in by hand. It is never sent."""
    return line.sku is None and not line.requires_shipping and not line.is_gift_card


def _sum(bags: Iterable[records.MoneyBag]) -> Decimal:
    return sum((bag.amount for bag in bags), ZERO)


def _shares(total: Decimal, weights: Sequence[int], cent: Decimal) -> list[Decimal]:
    """Shares in proportion to the weights, that add up: the last of those with a weight has what rounding left."""
    whole, upto, taken = sum(weights), 0, ZERO
    shares: list[Decimal] = []
    for weight in weights:
        upto += weight
        share = (total * upto / whole).quantize(cent, ROUND_HALF_UP) - taken if upto < whole else total - taken
        share = share if weight else ZERO
        shares.append(share)
        taken += share
    return shares


def _rate(taxes: Sequence[records.TaxLine]) -> Decimal | None:
    """The rates of a line together, in percent; None where one is not told."""
    rates = [each.rate for each in taxes]
    if not rates or any(rate is None for rate in rates):
        return None
    return (sum((rate for rate in rates if rate is not None), ZERO) * 100).quantize(_STEP)


def _address(address: records.Address | None) -> Address | None:
    if address is None:
        return None
    return Address(
        name=address.name,
        company=address.company,
        street=address.address1,
        street2=address.address2,
        city=address.city,
        postcode=address.zip,
        region=address.province_code,
        country=address.country_code_v2,
        phone=address.phone,
    )
