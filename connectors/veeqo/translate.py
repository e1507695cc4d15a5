"""A checked record to events, in Veeqo's own ids. Pure.

What may change without meaning anything to B1 (status, tags, names of channels and warehouses) is left out, so that an
order read again says the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TypeVar

from connectors.base.errors import RecordError
from connectors.base.source import StockLevel
from connectors.base.validate import violation_of
from connectors.veeqo.records import Address as AddressRecord
from connectors.veeqo.records import Allocation, Order
from connectors.veeqo.settings import VeeqoSettings
from schemas.events import (
    Address,
    Customer,
    DispatchConfirmed,
    DispatchLine,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    Payment,
    Shipping,
    digest_of,
)

_Event = TypeVar("_Event", OrderPlaced, OrderCancelled, DispatchConfirmed)
ZERO = Decimal(0)
_STEP = Decimal("0.000001")
#: ISO 4217 list one (2026-01-01): those of Veeqo's shops that do not have two decimals.
_MINOR_UNITS = {"CLP": 0, "ISK": 0, "JPY": 0, "KRW": 0, "VND": 0, "BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}
#: Carriers by id, where a shipment names only that (api-docs, "Create a Shipment"; 3 is "Other").
CARRIERS = {
    "1": "Royal Mail", "2": "FedEx", "3": "Other", "4": "DPD", "5": "UPS", "6": "CityLink", "7": "USPS", "8": "Interlink",
    "9": "DHL", "10": "MyHermes", "11": "Australia Post", "12": "Parcelforce", "13": "TNT", "14": "Yodel", "15": "APC",
    "16": "DX", "17": "UK Mail", "18": "Israel Post", "19": "Canada Post", "23": "Hermes World", "24": "DHL DE",
}  # fmt: skip


def order_placed(
    order: Order, source: str, company: str, observed_at: datetime, settings: VeeqoSettings
) -> OrderPlaced:
    """The order as a sales order: prices net of tax, tax per line by its rate, reconciled to Veeqo's own totals.

    Veeqo gives no tax amount per line and no tax of the delivery: the lines' is reckoned, what remains of `total_tax`
    is the delivery's. Differences of rounding (half a minor unit per line) go to the largest line; a larger difference
    stays and is B1's `total_mismatch`.

    Raises:
        RecordError: No currency, or discounts above the price.
    """
    currency = order.currency_code or (order.channel.currency_code if order.channel else None)
    if currency is None:
        raise RecordError("neither the order nor its channel names a currency; set the channel's in Veeqo")
    lines = [line for line in order.line_items if line.quantity]
    if not lines:
        raise RecordError("all lines have the quantity 0; cancel the order in Veeqo")
    with localcontext(prec=60):
        step = Decimal(1).scaleb(-_MINOR_UNITS.get(currency, 2))
        discounts = [line.taxless_discount_per_unit * line.quantity for line in lines]
        gross = [line.price_per_unit * line.quantity for line in lines]
        before = [_rounded(whole - off, step) for whole, off in zip(gross, discounts, strict=True)]
        shared = _shares(_rounded(order.additional_order_level_taxless_discount, step), before, step)
        discounts = [_rounded(off, _STEP) + share for off, share in zip(discounts, shared, strict=True)]
        prices = [line.price_per_unit for line in lines]
        nets = [_rounded(whole - off, step) for whole, off in zip(gross, discounts, strict=True)]
        if any(net < 0 for net in nets):
            raise RecordError("a discount is above the price of its line; mend it in Veeqo")
        largest = max(range(len(nets)), key=lambda n: nets[n])
        tolerance = step * (len(lines) + 1) / 2
        short = ZERO if order.subtotal_price is None else _rounded(order.subtotal_price, step) - sum(nets, ZERO)
        if short and abs(short) <= tolerance and nets[largest] + short >= 0:
            nets[largest] += short
            if short < 0:
                discounts[largest] = _rounded(gross[largest] - nets[largest], _STEP)
            else:
                prices[largest] = _rounded((nets[largest] + discounts[largest]) / lines[largest].quantity, _STEP)
        taxes = [
            None if line.tax_rate is None else _rounded(net * line.tax_rate, step)
            for line, net in zip(lines, nets, strict=True)
        ]
        delivery_tax = _delivery_tax(order, taxes, step, tolerance)
    country = order.deliver_to.country if order.deliver_to else None
    event = OrderPlaced(
        source=source,
        company=company,
        event_id=order.id,
        occurred_at=order.created_at,
        observed_at=observed_at,
        digest=b"",
        order_id=order.id,
        order_number=order.number or order.id,
        channel=order.channel.type_code if order.channel else None,
        currency=currency,
        customer=_customer(order),
        ship_to=_address(order.deliver_to),
        bill_to=_address(order.customer.billing_address if order.customer else None),
        lines=tuple(
            OrderLine(
                line_id=line.id,
                sku=line.sellable.sku_code,
                name=line.sellable.title,
                quantity=line.quantity,
                unit_price=price,
                discount=discount or None,
                tax_code=_tax_code(settings, country, line.tax_rate),
                tax_rate=None if line.tax_rate is None else line.tax_rate * 100,
                tax_amount=tax,
            )
            for line, price, discount, tax in zip(lines, prices, discounts, taxes, strict=True)
        ),
        shipping=_shipping(order, delivery_tax, settings, country),
        tax_total=order.total_tax,
        grand_total=order.total_price,
        payment=_payment(order),
        note=order.customer_note.text if order.customer_note else None,
    )
    return _sealed(event)


def _sealed(event: _Event) -> _Event:
    fault = violation_of(event)
    if fault is not None:
        raise RecordError(f"{fault}. Mend it in Veeqo; it is read again when it changes")
    return replace(event, digest=digest_of(event))


def _rounded(amount: Decimal, step: Decimal) -> Decimal:
    return amount.quantize(step, ROUND_HALF_UP)


def _shares(whole: Decimal, weights: Sequence[Decimal], step: Decimal) -> list[Decimal]:
    """Parts of `whole` in proportion to `weights`, that add up to it."""
    total, upto, taken, shares = sum(weights, ZERO), ZERO, ZERO, []
    for weight in weights:
        upto += weight
        share = _rounded(whole * upto / total, step) - taken if total else whole - taken
        taken += share
        shares.append(share)
    return shares


def _delivery_tax(order: Order, taxes: list[Decimal | None], step: Decimal, tolerance: Decimal) -> Decimal | None:
    """What remains of the order's tax; pennies that cannot be the delivery's go to the largest tax (changes `taxes`)."""
    if order.total_tax is None or None in taxes:
        return None
    remains = _rounded(order.total_tax, step) - sum((tax for tax in taxes if tax is not None), ZERO)
    if abs(remains) <= tolerance and (remains < 0 or not _would_be_taxed(order, taxes, tolerance)):
        largest = max(range(len(taxes)), key=lambda n: taxes[n] or ZERO)
        tax = (taxes[largest] or ZERO) + remains
        if tax >= 0:
            taxes[largest] = tax
            return ZERO
    return remains if 0 <= remains <= order.delivery_cost else ZERO


def _would_be_taxed(order: Order, taxes: Sequence[Decimal | None], tolerance: Decimal) -> bool:
    """Whether a tax on so small a delivery cannot be told from rounding."""
    highest = max((line.tax_rate or ZERO for line in order.line_items), default=ZERO)
    return any(taxes) and ZERO < order.delivery_cost * highest <= tolerance * 2


def _tax_code(settings: VeeqoSettings, country: str | None, rate: Decimal | None) -> str | None:
    if rate is None or not settings.tax_code:
        return None
    percent = format((rate * 100).normalize(), "f")
    return settings.tax_code.format(country=country or "", rate=percent)


def _shipping(order: Order, tax: Decimal | None, settings: VeeqoSettings, country: str | None) -> Shipping | None:
    method = order.delivery_method.name if order.delivery_method else None
    if not order.delivery_cost and method is None:
        return None
    rate = ZERO
    if tax and order.delivery_cost:
        # The line's rate that comes nearest: the delivery has none of its own.
        seen = [line.tax_rate for line in order.line_items if line.tax_rate]
        rate = min(seen, key=lambda each: abs(order.delivery_cost * each - tax), default=ZERO)
    elif tax is None:
        rate = max((line.tax_rate or ZERO for line in order.line_items), default=ZERO)
    return Shipping(
        method=method,
        amount=order.delivery_cost,
        tax_code=_tax_code(settings, country, rate) if order.delivery_cost else None,
        tax_amount=tax if order.delivery_cost else None,
    )


def _customer(order: Order) -> Customer | None:
    """Veeqo always makes a customer record, also for guests, and has no flag for them."""
    if order.customer is None:
        return None
    billing = order.customer.billing_address
    return Customer(id=order.customer.id, email=order.customer.email, name=_name(billing) or _name(order.deliver_to))


def _address(found: AddressRecord | None) -> Address | None:
    if found is None:
        return None
    address = Address(
        name=_name(found),
        company=found.company,
        street=found.address1,
        street2=found.address2,
        city=found.city,
        postcode=found.zip,
        region=found.state,
        country=found.country,
        phone=found.phone,
    )
    return address if address != Address() else None


def _name(address: AddressRecord | None) -> str | None:
    if address is None:
        return None
    return " ".join(part for part in (address.first_name, address.last_name) if part) or None


def _payment(order: Order) -> Payment | None:
    if order.payment is None or order.payment.payment_type in (None, "none") or order.total_price is None:
        return None
    return Payment(
        method=order.payment.payment_type or "", amount=order.total_price, reference=order.payment.reference_number
    )


def order_cancelled(order: Order, source: str, company: str, observed_at: datetime) -> OrderCancelled:
    """The whole order, or what is still open of it."""
    event = OrderCancelled(
        source=source,
        company=company,
        event_id=f"{order.id}-cancelled",
        occurred_at=order.cancelled_at or order.updated_at,
        observed_at=observed_at,
        digest=b"",
        order_id=order.id,
        reason=order.cancel_reason,
    )
    return _sealed(event)


def dispatch_confirmed(
    allocation: Allocation, order: Order, order_id: str, source: str, company: str, observed_at: datetime
) -> DispatchConfirmed:
    """One allocation's shipment. Its lines name no line of the order: by sellable, where only one line has it.

    Args:
        allocation: With its shipment.
        order: It belongs to.
        order_id: The order's id at whoever reports it.
        source: The connector's name.
        company: The company it feeds.
        observed_at: When it was read; aware UTC.

    Raises:
        RecordError: Nothing is in it.
    """
    shipment = allocation.shipment
    of_sellable: dict[str, list[str]] = {}
    for line in order.line_items:
        of_sellable.setdefault(line.sellable.id, []).append(line.id)
    lines: dict[str, DispatchLine] = {}
    for item in allocation.line_items:
        if not item.quantity:
            continue
        ids = of_sellable.get(item.sellable.id, []) if order_id == order.id else []
        known = lines.get(item.sellable.id)
        lines[item.sellable.id] = DispatchLine(
            line_id=ids[0] if len(ids) == 1 else None,
            sku=item.sellable.sku_code,
            quantity=item.quantity + (known.quantity if known else ZERO),
        )
    if not lines:
        raise RecordError("the shipment has no units in it; mend its allocation in Veeqo")
    carrier = shipment.carrier.name if shipment.carrier else None
    event = DispatchConfirmed(
        source=source,
        company=company,
        event_id=shipment.id,
        occurred_at=shipment.created_at,
        observed_at=observed_at,
        digest=b"",
        shipment_id=shipment.id,
        order_id=order_id,
        location=allocation.warehouse.id,
        carrier=carrier or CARRIERS.get(shipment.carrier_id or ""),
        tracking_numbers=tuple(each.tracking_number for each in shipment.tracking_number if each.tracking_number),
        lines=tuple(lines.values()),
    )
    return _sealed(event)


def stock_level(
    sku: str,
    warehouse: str,
    level: Decimal,
    sequence: int,
    at: datetime,
    source: str,
    company: str,
    observed_at: datetime,
    reason: str,
) -> StockLevel:
    """What was counted of a sku in a warehouse.

    Args:
        sku: Veeqo's sku_code.
        warehouse: Its id.
        level: Units on the shelf, and those that shipments have taken from it: B1 takes these by their deliveries.
        sequence: Grows with every report of the place.
        at: When it was read, by Veeqo's clock.
        source: The connector's name.
        company: The company it feeds.
        observed_at: When it was read, by ours.
        reason: One of `schemas.events.STOCK_REASONS`.
    """
    return StockLevel(
        source=source,
        company=company,
        event_id=f"{sequence}:{format(level.normalize(), 'f')}",
        occurred_at=min(at, observed_at),
        observed_at=observed_at,
        sku=sku,
        location=warehouse,
        level=level,
        sequence=sequence,
        reason=reason,
    )
