"""Orders placed, and what of them was cancelled."""

from connectors.base.context import sealed
from connectors.base.errors import RecordError
from connectors.base.money import ZERO, rounded
from connectors.base.validate import exactly
from connectors.magento.records import OrderItemRecord, OrderRecord, ShopAddress
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.amounts import NetAndTax, document_amounts, unit_price
from connectors.magento.translate.context import REMEDY, MagentoContext, country_of
from connectors.magento.translate.items import ItemGroup, cancelled_lines, item_groups
from connectors.magento.translate.taxes import MagentoTaxCodes
from schemas.events import (
    Address,
    CancelledLine,
    Customer,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    Payment,
    Shipping,
)

#: As much as B1 takes as a remark.
MAX_NOTE_CHARS = 254


@exactly
def order_placed(order: OrderRecord, context: MagentoContext) -> OrderPlaced:
    """The order with its sellable lines.

    Raises:
        RecordError: Nothing in it can be sold.
    """
    settings, currency = context.settings, order.currency
    ship_to = _address(order.shipping.address if order.shipping else None)
    bill_to = _address(order.billing_address)
    groups = item_groups(order)
    moved = {line.item_id: line.qty_ordered for group in groups for line in group.lines if line.qty_ordered}
    if not moved:
        raise RecordError("no item has a qty_ordered; there is nothing to sell in it")
    amounts = document_amounts(order, groups, {item.item_id: item for item in order.items}, moved, settings)
    taxes = MagentoTaxCodes(order, country_of(order), settings)
    lines = [
        _order_line(group, line, amounts.lines[line.item_id], taxes)
        for group in groups
        for line in group.lines
        if line.item_id in moved
    ]
    payment = order.payment
    return sealed(
        OrderPlaced(
            **context.header(str(order.entity_id), order.created_at),
            order_id=str(order.entity_id),
            order_number=order.increment_id,
            channel=_channel(order.store_id, settings),
            currency=currency,
            customer=_customer(order, bill_to),
            ship_to=ship_to,
            bill_to=bill_to,
            lines=tuple(lines),
            shipping=_shipping(order, amounts.shipping, taxes, settings),
            tax_total=amounts.tax_total,
            grand_total=amounts.total,
            payment=Payment(
                method=payment.method, amount=rounded(order.grand_total, currency), reference=payment.po_number
            )
            if payment is not None and payment.method
            else None,
            note=order.customer_note[:MAX_NOTE_CHARS] if order.customer_note else None,
        ),
        REMEDY,
    )


def _order_line(group: ItemGroup, line: OrderItemRecord, amounts: NetAndTax, taxes: MagentoTaxCodes) -> OrderLine:
    priced = line if group.is_priced_by_parts else group.top
    price, discount = unit_price(line.qty_ordered, priced.price if priced is line else ZERO, amounts.net)
    return OrderLine(
        line_id=str(line.item_id),
        sku=group.sku(line),
        name=line.name,
        quantity=line.qty_ordered,
        unit_price=price,
        discount=discount,
        tax_code=taxes.of_row(priced),
        tax_rate=taxes.rate_of(priced),
        tax_amount=amounts.tax,
    )


def _shipping(
    order: OrderRecord, amounts: NetAndTax, taxes: MagentoTaxCodes, settings: MagentoSettings
) -> Shipping | None:
    method = order.shipping.method if order.shipping else None
    if not (method or amounts.net or amounts.tax):
        return None
    carrier, _, service = (method or "").partition("_")
    return Shipping(
        method=service or method,
        carrier=settings.carriers.get(carrier, carrier) or None,
        amount=amounts.net,
        tax_code=taxes.of_shipping(amounts),
        tax_amount=amounts.tax,
    )


def _channel(store_id: int | None, settings: MagentoSettings) -> str | None:
    return None if store_id is None else settings.channels.get(str(store_id), str(store_id))


def _joined(*parts: str | None, by: str = " ") -> str | None:
    return by.join(part.strip() for part in parts if part and part.strip()) or None


def _address(record: ShopAddress | None) -> Address | None:
    if record is None:
        return None
    street, *more = (*record.street, None)
    return Address(
        name=_joined(record.firstname, record.lastname),
        company=record.company,
        street=street,
        street2=_joined(*more, by=", "),
        city=record.city,
        postcode=record.postcode,
        region=record.region,
        country=record.country_id,
        phone=record.telephone,
    )


def _customer(order: OrderRecord, bill_to: Address | None) -> Customer:
    guest = order.customer_is_guest or order.customer_id is None
    return Customer(
        id=None if guest else str(order.customer_id),
        email=order.customer_email,
        name=_joined(order.customer_firstname, order.customer_lastname) or (bill_to.name if bill_to else None),
        guest=guest,
    )


@exactly
def order_cancelled(order: OrderRecord, context: MagentoContext) -> OrderCancelled | None:
    """What of an order was cancelled in the shop: all of it, or what its rows say; None: nothing.

    The shop cancels what is left of an order once and does not say when: the event has the order's own time.

    Raises:
        RecordError: The rows' quantities make no sense.
    """
    whole = context.settings.states[order.state] == "cancelled"
    lines = cancelled_lines(order)
    if not whole and not lines:
        return None
    return sealed(
        OrderCancelled(
            **context.header(f"{order.entity_id}-cancel", order.created_at),
            order_id=str(order.entity_id),
            reason="cancelled in the shop",
            lines=None
            if whole
            else tuple(CancelledLine(line_id=str(line_id), quantity=q) for line_id, q in lines.items()),
        ),
        REMEDY,
    )
