"""`order_placed` becomes an order (`Orders`), and where the policy says so a new customer."""

import base64
import contextlib
import hashlib
import json
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, line_net, rounded
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.allocation import check_order_lines
from connectors.sap_b1.documents.fields import (
    MAX_LINE_TEXT,
    MAX_NAME,
    address_fields,
    at,
    branch_of,
    check_identity,
    check_quantity,
    check_warehouse,
    comments,
    cut,
    dates,
    find_item,
    find_tax_code,
    foreign_currency,
    given,
    line_at,
    missing_of,
)
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.order import OrderView
from connectors.sap_b1.service_layer import B1Request
from schemas.events import Customer, OrderPlaced, Payment


def codes_needed(event: OrderPlaced, map: CompanyMap, order: OrderView | None = None) -> Codes:
    """What `build` looks up. Refuses nothing: what is not mapped is left for `build` to refuse."""
    items, warehouses, taxes = set(), set(), set()
    for line in event.lines:
        with contextlib.suppress(Refusal):
            items.add(map.item_code(line.sku))
        with contextlib.suppress(Refusal):
            warehouses.add(map.line_warehouse(event.source, line.location))
        with contextlib.suppress(Refusal):
            taxes.add(map.tax_code(line.tax_code, line.tax_rate))
    if event.shipping is not None:
        with contextlib.suppress(Refusal):
            taxes.add(map.tax_code(event.shipping.tax_code))
    return Codes(frozenset(items), frozenset(warehouses), frozenset(taxes)) | customer_codes(
        event.customer, event.source, map
    )


def build(
    event: OrderPlaced, k: str, order_k: str, map: CompanyMap, master: MasterData, order: OrderView | None = None
) -> DocumentPlan:
    """The order; `order_k` is `k`. Amounts are sent, DocTotal never: B1 would bend the discount until it fits.

    Raises:
        Refusal: Whatever of contract section 6 stands against it.
    """
    for name, value in (("order_id", event.order_id), ("order_number", event.order_number)):
        check_identity(name, value)
    if not event.lines:
        raise Refusal("invalid_event", "the order has no lines; send the order with what was ordered")
    check_order_lines([line.line_id for line in event.lines])
    if map.settings.orders.require_address and (missing := missing_of(event.ship_to)):
        raise Refusal(
            "address_incomplete", f"ship_to lacks {', '.join(missing)}; complete it in the shop, then edit and replay"
        )
    card, before = find_card(event.customer, event.source, map, master)
    day = map.posting_date(event.occurred_at)
    lines, taxes = _lines(event, map, master)
    freight = _freight(event, map, master)
    total = _check_total(event, lines, taxes, freight)
    header: dict[str, Any] = {
        **given(
            CardCode=card,
            NumAtCard=event.order_number or event.order_id,
            DocCurrency=foreign_currency(map, event.currency),
            TransportationCode=_shipping_type(event, map),
            BPL_IDAssignedToInvoice=branch_of(master, (line["WarehouseCode"] for line in lines)),
            Comments=comments(event.note, _payment(event.payment, event.currency)),
            AddressExtension=address_fields(event.ship_to, event.bill_to),
        ),
        **dates(day),
        "U_STREAMS_KEY": k,
        "U_STREAMS_ORDER": order_k,
        "DocumentLines": lines,
    }
    if freight is not None:
        header["DocumentAdditionalExpenses"] = [freight]
    return DocumentPlan(
        requests=(B1Request("POST", "Orders", header),),
        before=before,
        items=frozenset(line["ItemCode"] for line in lines),
        expected_total=total,
    )


def _lines(
    event: OrderPlaced, map: CompanyMap, master: MasterData
) -> tuple[list[dict[str, Any]], list[Decimal | None]]:
    day = map.posting_date(event.occurred_at)
    lines: list[dict[str, Any]] = []
    taxes: list[Decimal | None] = []
    for position, line in enumerate(event.lines):
        with at(line_at(position, line.sku)):
            check_identity("line_id", line.line_id)
            item = find_item(master, map.item_code(line.sku), day, sold=True)
            check_quantity(master, line.quantity)
            net = line_net(line.quantity, line.unit_price, line.discount, event.currency)
            if net < 0:
                raise Refusal("invalid_event", "the discount exceeds quantity x price; correct the discount and replay")
            tax = None if line.tax_amount is None else rounded(line.tax_amount, event.currency)
            lines.append(
                given(
                    ItemCode=item.code,
                    ItemDescription=cut(line.name, MAX_LINE_TEXT),
                    Quantity=line.quantity,
                    UnitPrice=line.unit_price,
                    LineTotal=net,
                    TaxTotal=tax,
                    WarehouseCode=check_warehouse(master, map.line_warehouse(event.source, line.location)),
                    U_STREAMS_LINE=line.line_id,
                )
                | {map.settings.tax.field: find_tax_code(map, master, line.tax_code, line.tax_rate).code}
            )
            taxes.append(ZERO if tax is None and not net else tax)
    return lines, taxes


def _freight(event: OrderPlaced, map: CompanyMap, master: MasterData) -> dict[str, Any] | None:
    shipping = event.shipping
    if shipping is None or not (shipping.amount or shipping.tax_amount):
        return None
    code = map.settings.freight.expense_code
    if code is None:
        raise Refusal(
            "erp_refused", f"shipping has an amount and no place; set companies.{map.company}.freight.expense_code"
        )
    with at("shipping"):
        tax_code = find_tax_code(map, master, shipping.tax_code).code
    return given(
        ExpenseCode=code,
        LineTotal=rounded(shipping.amount, event.currency),
        TaxSum=None if shipping.tax_amount is None else rounded(shipping.tax_amount, event.currency),
    ) | {map.settings.tax.field: tax_code}


def _check_total(
    event: OrderPlaced, lines: list[dict[str, Any]], taxes: list[Decimal | None], freight: dict[str, Any] | None
) -> Decimal | None:
    """Our own arithmetic, as far as the event goes: a tax that it leaves out B1 computes, and its preview compares."""
    net = sum((line["LineTotal"] for line in lines), ZERO) + (freight["LineTotal"] if freight else ZERO)
    if freight:
        taxes = [*taxes, freight.get("TaxSum")]
    known = None if None in taxes else sum((tax for tax in taxes if tax is not None), ZERO)
    stated = None if event.tax_total is None else rounded(event.tax_total, event.currency)
    if known is not None and stated is not None and known != stated:
        raise Refusal(
            "total_mismatch",
            f"the lines' and the shipping's tax is {known}, tax_total {stated}; correct the order and replay",
        )
    if event.grand_total is None:
        return None
    grand = rounded(event.grand_total, event.currency)
    tax = stated if known is None else known
    if tax is not None and net + tax != grand:
        raise Refusal(
            "total_mismatch",
            f"lines and shipping are {net} net and {tax} tax, together {net + tax} {event.currency}, grand_total is "
            f"{grand}; correct the order and replay",
        )
    return grand


def _shipping_type(event: OrderPlaced, map: CompanyMap) -> int | None:
    """The carrier that the customer chose, where it is mapped; the dispatch says which one it was, and insists."""
    if event.shipping is None:
        return None
    with contextlib.suppress(Refusal):
        return map.shipping_type(event.shipping.carrier, event.shipping.method)
    return None


def _payment(payment: Payment | None, currency: str) -> str | None:
    if payment is None:
        return None
    reference = f", {payment.reference}" if payment.reference else ""
    return f"Paid {rounded(payment.amount, currency)} {currency} by {payment.method}{reference}"


# ---- customers ------------------------------------------------------------------------------------------------------


def customer_codes(customer: Customer | None, source: str, map: CompanyMap) -> Codes:
    """What `find_card` looks up."""
    policy, email = map.settings.customers.policy, customer.email if customer else None
    if policy == "account":
        return Codes(cards=frozenset({map.settings.customers.card_code or ""}))
    if policy == "match":
        return Codes(emails=frozenset({email} if email else ()))
    code = card_code(customer, source, map.company)
    return Codes(cards=frozenset({code} if code else ()))


def find_card(
    customer: Customer | None, source: str, map: CompanyMap, master: MasterData
) -> tuple[str, tuple[B1Request, ...]]:
    """The CardCode by the company's policy, and the request that makes the card where there is none.

    Raises:
        Refusal: `customer_incomplete`.
    """
    policy = map.settings.customers.policy
    if policy == "match":
        cards = master.cards_by_email.get((customer.email or "").strip().casefold() if customer else "", ())
        usable = [card for card in cards if card.active]
        if not (customer and customer.email):
            raise Refusal(
                "customer_incomplete", "the customer has no e-mail to match by; add it in the shop, edit and replay"
            )
        if len(usable) != 1:
            raise Refusal(
                "customer_incomplete",
                f"{len(usable)} active customers in B1 have this e-mail; leave exactly one with it, then replay",
            )
        return usable[0].code, ()
    code = map.settings.customers.card_code if policy == "account" else card_code(customer, source, map.company)
    if code is None:
        raise Refusal(
            "customer_incomplete",
            "the customer has neither id nor e-mail to make a card for; add one in the shop, edit and replay",
        )
    card = master.cards.get(code)
    if card is not None:
        if not (card.active and card.customer):
            raise Refusal(
                "customer_incomplete", f"business partner {code} is inactive or no customer; fix it in B1, then replay"
            )
        return code, ()
    if policy == "account" or customer is None:
        raise Refusal(
            "customer_incomplete",
            f"customer {code} is not in B1; create it there, or fix companies.{map.company}.customers.card_code",
        )
    return code, (_new_card(code, customer),)


def card_code(customer: Customer | None, source: str, company: str) -> str | None:
    """The one CardCode of a customer of a source: 15 characters from its id, else its e-mail; None when it has neither.

    70 bits: among a million customers two share one with a probability of 1 in 2 billion.
    """
    if customer is None or not (customer.id or (customer.email or "").strip()):
        return None
    identity = ["id", customer.id] if customer.id else ["email", (customer.email or "").strip().casefold()]
    text = json.dumps(["v1", company, "card", source, *identity], ensure_ascii=False, separators=(",", ":"))
    return "W" + base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:14]


def _new_card(code: str, customer: Customer) -> B1Request:
    body = given(
        CardCode=code,
        CardName=cut(customer.name, MAX_NAME) or cut(customer.email, MAX_NAME) or code,
        CardType="cCustomer",
        EmailAddress=cut(customer.email, MAX_NAME),
        Currency="##",  # all currencies: one customer may order in several
    )
    return B1Request("POST", "BusinessPartners", body)
