"""An order, and its cancellation."""

from decimal import Decimal

from connectors.base.context import EventContext, sealed
from connectors.base.errors import RecordError
from connectors.veeqo.records import REMEDY, VeeqoAddress, VeeqoOrder
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate.amounts import OrderAmounts, amounts_of
from schemas.events import Address, Customer, OrderCancelled, OrderLine, OrderPlaced, Payment, Shipping

VeeqoContext = EventContext[VeeqoSettings]


def order_placed(order: VeeqoOrder, context: VeeqoContext) -> OrderPlaced:
    """The order as a sales order: prices net of tax, reconciled to Veeqo's own totals.

    Raises:
        RecordError: No currency, nothing ordered, discounts above the price, or merged into another order.
    """
    settings = context.settings
    if order.merged_to_id is not None and settings.merged_orders == "refuse":
        raise RecordError(
            f"the order was merged into order {order.merged_to_id} in Veeqo, which has its lines now; discard this, "
            "or set "
            f'connectors.{context.source}.merged_orders = "place" where Veeqo keeps both'
        )
    currency = order.currency_code or (order.channel.currency_code if order.channel else None) or settings.currency
    if not currency:
        raise RecordError(
            "neither the order nor its channel names a currency; set the channel's in Veeqo, or "
            f"connectors.{context.source}.currency"
        )
    lines = [line for line in order.line_items if line.quantity]
    if not lines:
        raise RecordError("all lines have the quantity 0; cancel the order in Veeqo")
    amounts = amounts_of(order, lines, currency)
    country = order.deliver_to.country if order.deliver_to else None
    event = OrderPlaced(
        **context.header(order.id, order.created_at),
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
                unit_price=row.price,
                discount=row.discount or None,
                tax_code=_tax_code(settings, country, row.named_rate),
                tax_rate=row.rate,
                tax_amount=row.tax,
            )
            for line, row in zip(lines, amounts.lines, strict=True)
        ),
        shipping=_shipping(order, amounts, settings, country),
        tax_total=order.total_tax,
        grand_total=order.total_price,
        payment=_payment(order),
        note=order.customer_note.text if order.customer_note else None,
    )
    return sealed(event, REMEDY)


def order_cancelled(order: VeeqoOrder, context: VeeqoContext) -> OrderCancelled:
    """The whole order, or what is still open of it."""
    event = OrderCancelled(
        **context.header(f"{order.id}-cancelled", order.cancelled_at or order.updated_at),
        order_id=order.id,
        reason=order.cancel_reason,
    )
    return sealed(event, REMEDY)


def _tax_code(settings: VeeqoSettings, country: str | None, percent: Decimal | None) -> str | None:
    if percent is None or not settings.tax_code:
        return None
    rate = format(percent.normalize(), "f")
    # Without a country the rate alone is a code of its own: it is mapped, or refused as unmapped, never guessed
    return (
        rate
        if country is None and "{country" in settings.tax_code
        else settings.tax_code.format(country=country, rate=rate)
    )


def _shipping(
    order: VeeqoOrder, amounts: OrderAmounts, settings: VeeqoSettings, country: str | None
) -> Shipping | None:
    method = order.delivery_method.name if order.delivery_method else None
    if not order.delivery_cost and method is None:
        return None
    costs = bool(amounts.delivery)
    return Shipping(
        method=method,
        amount=amounts.delivery,
        tax_code=_tax_code(settings, country, amounts.delivery_rate) if costs else None,
        tax_amount=amounts.delivery_tax if costs else None,
    )


def _customer(order: VeeqoOrder) -> Customer | None:
    """Veeqo always makes a customer record, also for guests, and has no flag for them."""
    if order.customer is None:
        return None
    billing = order.customer.billing_address
    return Customer(id=order.customer.id, email=order.customer.email, name=_name(billing) or _name(order.deliver_to))


def _address(found: VeeqoAddress | None) -> Address | None:
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


def _name(address: VeeqoAddress | None) -> str | None:
    if address is None:
        return None
    return " ".join(part for part in (address.first_name, address.last_name) if part) or None


def _payment(order: VeeqoOrder) -> Payment | None:
    if order.payment is None or order.payment.payment_type in (None, "none") or order.total_price is None:
        return None
    return Payment(
        method=order.payment.payment_type or "", amount=order.total_price, reference=order.payment.reference_number
    )
