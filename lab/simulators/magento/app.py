"""A Magento 2 shop: its orders, invoices, shipments and credit memos, and the REST lists of them.

`Shop` is the ledger: what buyers and merchants do, with the shop's own arithmetic (both tax modes, discounts, partial
documents, bundles, base currency). `build_app` is the HTTP side (ASGI): searches as strict as the real one and with its
habits: no order without a sort, DESC where none is said, null keys left out, the last page repeated for ever, whole
seconds, bearer off since 2.4.4, OAuth 1.0a with nonces, HTML when down. Written from the vendor's documentation
(reference of 2026-11-21); imports nothing of ours.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send

Fields = dict[str, Any]
ZERO = Decimal(0)
_CENT = Decimal("0.01")
_STEP = Decimal("0.0001")
_ROW_MONEY = ("row_total", "tax_amount", "discount_amount", "discount_tax_compensation_amount")
LISTS = ("orders", "invoices", "shipments", "creditmemos")


_SHIPPING_COMPENSATION = "shipping_discount_tax_compensation_amount"


def _base(name: str) -> str:
    """The column of an amount in the base currency; one name is shortened."""
    return f"base_{name.removesuffix('amount')}amnt" if name == _SHIPPING_COMPENSATION else f"base_{name}"


class NotAllowedError(Exception):
    """The shop does not allow this: more than is left, on hold, and so on."""


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


# ---- the ledger


@dataclass(frozen=True, kw_only=True)
class Part:
    """A product inside a bundle: so many in each."""

    sku: str
    quantity: Decimal = Decimal(1)
    price: Decimal = ZERO


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a buyer puts into the cart; `price` as in the catalogue: with tax where prices include it.

    `kind` is simple, virtual, configurable, or bundle: with a price of its own (fixed), or without (priced by its parts).
    """

    sku: str
    quantity: Decimal = Decimal(1)
    price: Decimal = ZERO
    rate: Decimal = Decimal(20)
    discount_percent: Decimal = ZERO
    kind: str = "simple"
    parts: tuple[Part, ...] = ()


@dataclass
class Shop:
    """One installation.

    Attributes:
        clock: The shop's own, which may be off.
        prices_include_tax: Whether catalogue prices do.
        tax_on_total: Tax is computed on the total and its rows may miss it by a cent (prices without tax only).
        base_rate: Base currency for one unit of the order's.
        child_rows: Whether shipments of bundles name the children beside the parent.
        lists: By name and entity_id, every row as the API has it.
        hidden: Rows that are not yet committed: (list, id) to the moment they are.
    """

    clock: Callable[[], datetime]
    prices_include_tax: bool = False
    tax_on_total: bool = False
    currency: str = "GBP"
    base_currency: str = "GBP"
    base_rate: Decimal = Decimal(1)
    child_rows: bool = True
    lists: dict[str, dict[int, Fields]] = field(default_factory=lambda: {name: {} for name in LISTS})
    hidden: dict[tuple[str, int], datetime] = field(default_factory=dict)
    _items: int = 900

    def _now(self) -> str:
        return self.clock().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _next(self, name: str) -> int:
        return max(self.lists[name], default=450 if name == "orders" else 0) + 1

    def put(self, name: str, row: Fields) -> int:
        """Add a row as it is: whatever a module of the shop may have written.

        Columns that the shop finds and sorts by one way and tells another are told as in its field `_as`.
        """
        entity_id = int(row.get("entity_id") or self._next(name))
        self.lists[name][entity_id] = row
        return entity_id

    def touch(self, name: str, entity_id: int, **fields: Any) -> None:
        self.lists[name][entity_id] |= {**fields, "updated_at": self._now()}

    # ---- orders

    def place(
        self,
        *wishes: Wish,
        state: str = "new",
        shipping: Decimal = ZERO,
        shipping_rate: Decimal = Decimal(20),
        shipping_discount_percent: Decimal = ZERO,
        gift_card: Decimal = ZERO,
        customer: int | None = None,
        country: str = "GB",
        visible_at: datetime | None = None,
        **fields: Any,
    ) -> int:
        """A buyer orders; `shipping` is net."""
        order_id = self._next("orders")
        items = [row for wish in wishes for row in self._rows(order_id, wish)]
        header = self._shipping(shipping, shipping_rate, shipping_discount_percent / 100)
        row: Fields = {"entity_id": order_id, "increment_id": f"{order_id:09}", "state": state, "status": state}
        row |= {"store_id": 1, "created_at": self._now(), "updated_at": self._now()}
        row |= {"order_currency_code": self.currency, "base_currency_code": self.base_currency, **header}
        for prefix in ("", "base_"):
            row |= self._order_totals(items, header, prefix, gift_card)
        address = {
            "firstname": "Mia",
            "lastname": "Odum",
            "street": ["4 Lime Row", "Flat 2"],
            "city": "Leeds",
            "postcode": "LS1 4XX",
            "country_id": country,
            "telephone": "0113 000000",
            "email": "mia@example.test",
        }
        virtual = all(item.get("is_virtual") for item in items)
        extension: Fields = {
            "gift_cards_amount": gift_card,
            "base_gift_cards_amount": cents(gift_card * self.base_rate),
        }
        if not virtual:
            assignment = {"shipping": {"method": "flatrate_flatrate", "address": address}}
            extension["shipping_assignments"] = [assignment]
        extension["item_applied_taxes"] = [
            *(
                _applied_tax("product", item["item_id"], country, item["tax_percent"], item["tax_amount"])
                for item in items
                if item.get("tax_percent") and not _repeats_its_parts(item, items)
            ),
            *(
                [_applied_tax("shipping", None, country, shipping_rate, header["shipping_tax_amount"])]
                if shipping
                else []
            ),
        ]
        row |= {
            "customer_id": customer,
            "customer_is_guest": 0 if customer else 1,
            "customer_email": "mia@example.test",
            "billing_address": address,
            "payment": {"method": "stripe_payments", "amount_ordered": row["grand_total"]},
            "items": items,
            "total_paid": None,
            "total_due": row["grand_total"],
            "extension_attributes": extension,
            **fields,
        }
        self.lists["orders"][order_id] = row
        if visible_at is not None:
            self.hidden["orders", order_id] = visible_at
        return order_id

    def _shipping(self, net: Decimal, rate: Decimal, share: Decimal) -> Fields:
        """Shipping and its discount: of the price with tax where catalogue prices include it (CommonTaxCollector)."""
        full = cents(net * rate / 100)
        if self.prices_include_tax:
            discount = cents((net + full) * share)
            tax = cents((net + full - discount) * rate / (100 + rate))
            compensation = full - tax
        else:
            discount, compensation = cents(net * share), ZERO
            tax = cents((net - discount) * rate / 100)
        header: Fields = {
            "shipping_amount": net,
            "shipping_incl_tax": net + full,
            "shipping_tax_amount": tax,
            "shipping_discount_amount": discount,
            _SHIPPING_COMPENSATION: compensation,
        }
        return header | {_base(name): cents(value * self.base_rate) for name, value in header.items()}

    def _rows(self, order_id: int, wish: Wish) -> Iterator[Fields]:
        fixed = wish.kind == "bundle" and bool(wish.price)
        parts = wish.parts if wish.kind == "bundle" else ()
        top = self._row(order_id, wish.sku, wish.quantity, wish.kind)
        rows = [top]
        for part in parts or ((Part(sku=wish.sku),) if wish.kind == "configurable" else ()):
            child = self._row(order_id, part.sku, wish.quantity * part.quantity, "simple")
            child |= {"parent_item_id": top["item_id"], **self._money(ZERO if fixed else part.price, child, wish)}
            rows.append(child)
        if wish.kind != "bundle" or fixed:
            top |= self._money(wish.price, top, wish)
        else:
            # Priced by its parts: the parent repeats their sum, but not their tax and discount.
            for name in ("row_total", "base_row_total"):
                top[name] = sum((row[name] for row in rows[1:]), ZERO)
            top |= {
                "price": (top["row_total"] / wish.quantity).quantize(_STEP),
                "tax_amount": ZERO,
                "discount_amount": ZERO,
            }
        yield from rows

    def _row(self, order_id: int, sku: str, quantity: Decimal, kind: str) -> Fields:
        self._items += 1
        none = dict.fromkeys(("qty_invoiced", "qty_shipped", "qty_refunded", "qty_canceled"), ZERO)
        row: Fields = {"item_id": self._items, "order_id": order_id, "parent_item_id": None, "product_type": kind}
        return (
            row
            | {"sku": sku, "name": f"{sku} by name", "qty_ordered": quantity, "is_virtual": int(kind == "virtual")}
            | none
        )

    def _money(self, price: Decimal, row: Fields, wish: Wish) -> Fields:
        quantity, rate, share = row["qty_ordered"], wish.rate, wish.discount_percent / 100
        if self.prices_include_tax:
            gross = cents(price * quantity)
            full = cents(gross * rate / (100 + rate))
            discount = cents(gross * share)
            tax = cents((gross - discount) * rate / (100 + rate))
            net, hidden = gross - full, full - tax
            unit = (price / (1 + rate / 100)).quantize(_STEP)
        else:
            net, unit, hidden = cents(price * quantity), price, ZERO
            discount = cents(net * share)
            tax = cents((net - discount) * rate / 100)
        money = {"price": unit, **dict(zip(_ROW_MONEY, (net, tax, discount, hidden), strict=True))}
        money["row_total_incl_tax"] = net + tax
        return {
            **money,
            **{f"base_{name}": cents(value * self.base_rate) for name, value in money.items()},
            "tax_percent": rate,
        }

    def _order_totals(self, items: Sequence[Fields], header: Fields, prefix: str, gift_card: Decimal) -> Fields:
        priced = [row for row in items if not _repeats_its_parts(row, items)]
        net, tax, discount, hidden = (sum((row.get(prefix + n, ZERO) for row in priced), ZERO) for n in _ROW_MONEY)
        if self.tax_on_total and not self.prices_include_tax:
            rates = {row.get("tax_percent", ZERO) for row in priced}
            tax = sum((cents(self._taxable(priced, rate, prefix) * rate / 100) for rate in rates), ZERO)
        tax += header[f"{prefix}shipping_tax_amount"]
        discount += header[f"{prefix}shipping_discount_amount"]
        compensation = header[_base(_SHIPPING_COMPENSATION) if prefix else _SHIPPING_COMPENSATION]
        card = gift_card if not prefix else cents(gift_card * self.base_rate)
        total = net - discount + hidden + compensation + tax + header[f"{prefix}shipping_amount"] - card
        names = ("subtotal", "discount_amount", "tax_amount", "discount_tax_compensation_amount", "grand_total")
        return {prefix + n: v for n, v in zip(names, (net, -discount, tax, hidden, total), strict=True)}

    def _taxable(self, rows: Sequence[Fields], rate: Decimal, prefix: str) -> Decimal:
        of = [row for row in rows if row.get("tax_percent", ZERO) == rate]
        return sum(
            (row[f"{prefix}row_total"] - row[f"{prefix}discount_amount"] for row in of if "row_total" in row), ZERO
        )

    # ---- what the merchant does

    def order(self, order_id: int) -> Fields:
        return self.lists["orders"][order_id]

    def item_ids(self, order_id: int, sku: str) -> list[int]:
        return [item["item_id"] for item in self.order(order_id)["items"] if item["sku"] == sku]

    def invoice(self, order_id: int, quantities: Mapping[int, Decimal] | None = None) -> int:
        """The buyer has paid; without quantities for everything."""
        order = self._open(order_id)
        wanted = self._wanted(
            order, quantities, lambda item: item["qty_ordered"] - item["qty_invoiced"] - item["qty_canceled"]
        )
        for item, quantity in wanted:
            item["qty_invoiced"] += quantity
        invoice_id = self._document("invoices", order_id, wanted, state=2)
        order |= {"total_paid": order["grand_total"], "total_due": ZERO}
        self._move_on(order)
        return invoice_id

    def ship(
        self,
        order_id: int,
        quantities: Mapping[int, Decimal] | None = None,
        *,
        tracks: Sequence[tuple[str, str, str]] = (("15501234567890", "DPD", "custom"),),
        source_code: str | None = "wh-uk",
        **fields: Any,
    ) -> int:
        """Goods leave; without quantities all that is left. Tracks are (number, title, carrier_code)."""
        order = self._open(order_id)
        wanted = [
            (item, quantity)
            for item, quantity in self._wanted(order, quantities, _to_ship)
            if not item["is_virtual"] and (self.child_rows or item["parent_item_id"] is None or quantities is not None)
        ]
        if not wanted:
            raise NotAllowedError("We cannot create an empty shipment.")
        for item, quantity in self._wanted(order, quantities, _to_ship):
            item["qty_shipped"] += quantity
        rows = [
            {"entity_id": n, "track_number": number, "title": title, "carrier_code": code, "created_at": self._now()}
            for n, (number, title, code) in enumerate(tracks, 1)
        ]
        shipment_id = self._document("shipments", order_id, wanted, tracks=rows, comments=[], **fields)
        extension = {"source_code": source_code} if source_code is not None else []
        self.lists["shipments"][shipment_id]["extension_attributes"] = extension
        self._move_on(order)
        return shipment_id

    def track(self, shipment_id: int, number: str, title: str = "DPD") -> None:
        tracks = self.lists["shipments"][shipment_id]["tracks"]
        tracks.append({"track_number": number, "title": title, "carrier_code": "custom", "created_at": self._now()})
        self.touch("shipments", shipment_id)

    def refund(
        self,
        order_id: int,
        quantities: Mapping[int, Decimal] | None = None,
        *,
        shipping: Decimal = ZERO,
        adjustment_positive: Decimal = ZERO,
        adjustment_negative: Decimal = ZERO,
        online: bool = False,
        **fields: Any,
    ) -> int:
        """Money back; without quantities for all that is left, with {} for no goods. `shipping` is net."""
        order = self.order(order_id)
        left = self._wanted(order, quantities, lambda item: item["qty_invoiced"] - item["qty_refunded"])
        rows = [self._refund_row(item, quantity) for item, quantity in left]
        share = shipping / order["shipping_amount"] if order["shipping_amount"] else ZERO
        header: Fields = {
            "shipping_amount": shipping,
            "shipping_incl_tax": cents(order["shipping_incl_tax"] * share),
            "shipping_tax_amount": cents(order["shipping_tax_amount"] * share),
            "adjustment_positive": adjustment_positive,
            "adjustment_negative": adjustment_negative,
            "adjustment": adjustment_positive - adjustment_negative,
        }
        header |= {f"base_{name}": cents(value * self.base_rate) for name, value in header.items()}
        for prefix in ("", "base_"):
            priced = [row for row in rows if not row["_repeats"]]
            net, tax, discount, hidden = (sum((row.get(prefix + n, ZERO) for row in priced), ZERO) for n in _ROW_MONEY)
            tax += header[f"{prefix}shipping_tax_amount"]
            # A credit memo has no columns for the shipping's discount and its compensation: they are in its own.
            discount += (order[f"{prefix}shipping_discount_amount"] * share).quantize(_STEP)
            hidden += cents(order[_base(_SHIPPING_COMPENSATION) if prefix else _SHIPPING_COMPENSATION] * share)
            total = net - discount + hidden + tax + header[f"{prefix}shipping_amount"] + header[f"{prefix}adjustment"]
            names = ("subtotal", "discount_amount", "tax_amount", "discount_tax_compensation_amount", "grand_total")
            header |= {prefix + n: v for n, v in zip(names, (net, -discount, tax, hidden, total), strict=True)}
        for row in rows:
            del row["_repeats"]
        currencies = {name: order[name] for name in ("order_currency_code", "base_currency_code")}
        memo_id = self._next("creditmemos")
        self.lists["creditmemos"][memo_id] = {
            "entity_id": memo_id,
            "increment_id": f"{memo_id:09}",
            "order_id": order_id,
            "invoice_id": 1 if online else None,
            "state": 2,
            "store_id": order["store_id"],
            "created_at": self._now(),
            "updated_at": self._now(),
            **currencies,
            **header,
            "items": rows,
            "comments": [],
            **fields,
        }
        for item, quantity in left:
            item["qty_refunded"] += quantity
        self._move_on(order)
        return memo_id

    def _refund_row(self, item: Fields, quantity: Decimal) -> Fields:
        """A row's share; the last one takes what is left of it."""
        row: Fields = {
            "entity_id": item["item_id"],
            "order_item_id": item["item_id"],
            "sku": item["sku"],
            "qty": quantity,
        }
        upto, ordered = item["qty_refunded"] + quantity, item["qty_ordered"]
        for name in (*_ROW_MONEY, *(f"base_{name}" for name in _ROW_MONEY)):
            if name not in item:
                continue
            taken = item.setdefault("_taken", {})
            share = (item[name] if upto == ordered else cents(item[name] * upto / ordered)) - taken.get(name, ZERO)
            taken[name] = taken.get(name, ZERO) + share
            row[name] = share
        return row | {"_repeats": _repeats_its_parts(item, self.order(item["order_id"])["items"])}

    def cancel(self, order_id: int) -> None:
        """What is neither invoiced nor shipped will not be."""
        order = self._open(order_id)
        for item in order["items"]:
            left = item["qty_ordered"] - item["qty_invoiced"]
            item["qty_canceled"] = max(ZERO, min(left, _to_ship(item)))
        if all(item["qty_canceled"] == item["qty_ordered"] for item in order["items"]):
            order["state"] = order["status"] = "canceled"
        self._move_on(order)

    def hold(self, order_id: int) -> None:
        self.touch("orders", order_id, state="holded", status="holded", hold_before_state=self.order(order_id)["state"])

    def unhold(self, order_id: int) -> None:
        self.touch("orders", order_id, state=self.order(order_id)["hold_before_state"])

    def _open(self, order_id: int) -> Fields:
        order = self.order(order_id)
        if order["state"] in ("canceled", "closed", "holded"):
            raise NotAllowedError(f"The order is {order['state']}.")
        return order

    def _wanted(
        self, order: Fields, quantities: Mapping[int, Decimal] | None, left: Callable[[Fields], Decimal]
    ) -> list[tuple[Fields, Decimal]]:
        """Rows with quantities; children follow their parent, unless they are named themselves."""
        found: list[tuple[Fields, Decimal]] = []
        by_id = {item["item_id"]: item for item in order["items"]}
        for item in order["items"]:
            parent = by_id.get(item["parent_item_id"])
            if quantities is None:
                quantity = left(item)
            elif item["item_id"] in quantities:
                quantity = Decimal(quantities[item["item_id"]])
            elif parent is not None and parent["item_id"] in quantities:
                quantity = quantities[parent["item_id"]] * item["qty_ordered"] / parent["qty_ordered"]
            else:
                quantity = ZERO
            if quantity > left(item):
                raise NotAllowedError(f"The quantity of {item['sku']} is more than is left.")
            if quantity > 0:
                found.append((item, quantity))
        return found

    def _document(self, name: str, order_id: int, rows: Sequence[tuple[Fields, Decimal]], **fields: Any) -> int:
        entity_id = self._next(name)
        self.lists[name][entity_id] = {
            "entity_id": entity_id,
            "increment_id": f"{entity_id:09}",
            "order_id": order_id,
            "store_id": self.order(order_id)["store_id"],
            "created_at": self._now(),
            "updated_at": self._now(),
            "items": [
                {"entity_id": n, "order_item_id": item["item_id"], "sku": item["sku"], "qty": quantity}
                for n, (item, quantity) in enumerate(rows, 1)
            ],
            **fields,
        }
        return entity_id

    def _move_on(self, order: Fields) -> None:
        items = [item for item in order["items"] if item["parent_item_id"] is None]
        paid = all(item["qty_invoiced"] + item["qty_canceled"] >= item["qty_ordered"] for item in items)
        shipped = all(item["is_virtual"] or _to_ship(item) <= 0 for item in order["items"])
        state = order["state"]
        if state in ("new", "pending_payment", "payment_review") and any(item["qty_invoiced"] for item in items):
            state = "processing"
        if state == "processing" and paid and shipped:
            state = "complete"
        if (
            state != "canceled"
            and any(item["qty_refunded"] for item in items)
            and all(item["qty_refunded"] + item["qty_canceled"] >= item["qty_ordered"] for item in items)
        ):
            state = "closed"
        self.touch("orders", order["entity_id"], state=state, status=state)


def _applied_tax(kind: str, item_id: int | None, country: str, percent: Decimal, amount: Decimal) -> Fields:
    tax = {"code": f"{country}-*-{percent.normalize():f}", "percent": percent, "amount": amount}
    return {"type": kind, "item_id": item_id, "applied_taxes": [tax]}


def _to_ship(item: Fields) -> Decimal:
    taken = item["qty_shipped"] + item["qty_refunded"] + item["qty_canceled"]
    return max(ZERO, Decimal(item["qty_ordered"] - taken))


def _repeats_its_parts(row: Fields, rows: Sequence[Fields]) -> bool:
    """Whether it is the parent of a bundle that is priced by its parts."""
    return row["product_type"] == "bundle" and any(
        each["parent_item_id"] == row["item_id"] and each.get("row_total") for each in rows
    )


# ---- faults


class Kind(StrEnum):
    """What goes wrong, as the client sees it."""

    THROTTLED = "throttled"
    """429 of a CDN, with Retry-After."""
    MAINTENANCE = "maintenance"
    """503 in HTML, with Retry-After."""
    INTERNAL = "internal"
    """500 with a report id: a deadlock in the database."""
    DROPPED = "dropped"
    """The connection is gone before the answer."""
    TRUNCATED = "truncated"
    """Half of the answer, as if it were all."""
    HTML_200 = "html_200"
    """A page of somebody in between."""
    EXPIRED = "expired"
    """401: the token is no longer known."""


@dataclass
class Fault:
    """One fault for the next requests that match."""

    kind: Kind
    path: str = "*"
    times: int = 1
    skip: int = 0
    retry_after_s: int = 1


@dataclass
class Credentials:
    """An integration's."""

    token: str = "access-token"  # noqa: S105 -- nobody's
    token_secret: str = "access-token-secret"  # noqa: S105
    consumer_key: str = "consumer-key"
    consumer_secret: str = "consumer-secret"  # noqa: S105


@dataclass
class Settings:
    """Habits of the installation.

    Attributes:
        bearer: `oauth/consumer/enable_integration_as_bearer`: off by default since 2.4.4.
        repeat_last_page: What older versions do beyond the end.
        page_limit: The optional limit of pageSize; None: none.
        rates: How often a kind of fault happens by chance.
        sources: Of its multi-source inventory, where the integration may see them: code = name.
    """

    bearer: bool = False
    repeat_last_page: bool = True
    page_limit: int | None = 300
    sources: Mapping[str, str] | None = None
    rates: Mapping[Kind, float] = field(default_factory=dict)


# ---- HTTP

_FILTER = re.compile(
    r"searchCriteria\[(?:filter_groups|filterGroups)\]\[(\d+)\]\[filters\]\[(\d+)\]"
    r"\[(field|value|condition_type|conditionType)\]"
)
_SORT = re.compile(r"searchCriteria\[(?:sortOrders|sort_orders)\]\[(\d+)\]\[(field|direction)\]")
_CONDITIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "neq": lambda a, b: bool(a != b),
    "gt": lambda a, b: bool(a > b),
    "gteq": lambda a, b: bool(a >= b),
    "from": lambda a, b: bool(a >= b),
    "lt": lambda a, b: bool(a < b),
    "lteq": lambda a, b: bool(a <= b),
    "to": lambda a, b: bool(a <= b),
}
_COLUMNS = ("entity_id", "increment_id", "order_id", "store_id", "state", "status", "created_at", "updated_at")


@dataclass(eq=False)
class _Reply(Exception):  # noqa: N818 -- an answer, raised from wherever it is known
    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def _message(status: int, text: str, **parameters: str) -> _Reply:
    body: Fields = {"message": text}
    if parameters:
        body["parameters"] = parameters
    return _Reply(status, json.dumps(body).encode())


def _html(status: int, *headers: tuple[str, str]) -> _Reply:
    return _Reply(status, b"<!doctype html><html><body>Please come back later</body></html>", "text/html", headers)


@dataclass
class App:
    """The shop's REST, as an ASGI application.

    Attributes:
        faults: What will happen; used up as it does.
        on_request: Called with each path before it is answered: tests change rows there.
        requests: Paths with their queries, in order of arrival.
    """

    shop: Shop
    credentials: Credentials = field(default_factory=Credentials)
    settings: Settings = field(default_factory=Settings)
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 -- a simulation
    faults: list[Fault] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda _path: None
    requests: list[str] = field(default_factory=list)
    _nonces: set[tuple[str, str]] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        path, query = scope["path"], scope["query_string"].decode("ascii")
        self.requests.append(f"{path}?{unquote(query)}")
        self.on_request(path)
        try:
            fault = self._fault(path)
            if fault is not None:
                self._fail(fault)
            reply = _Reply(200, self._answer(scope, path, query))
        except _Reply as refused:
            reply = refused
        if reply.status == 200 and fault is not None and fault.kind is Kind.TRUNCATED:
            reply = _Reply(200, reply.body[: len(reply.body) // 2])
        headers = [("content-type", reply.content_type), ("date", format_datetime(self.shop.clock(), usegmt=True))]
        head = [(name.encode(), value.encode()) for name, value in (*headers, *reply.headers)]
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        await send({"type": "http.response.body", "body": reply.body})

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fnmatchcase(path, fault.path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        kinds = [kind for kind, rate in self.settings.rates.items() if self.random.random() < rate]
        return Fault(kinds[0]) if kinds else None

    def _fail(self, fault: Fault) -> None:
        after = ("retry-after", str(fault.retry_after_s))
        match fault.kind:
            case Kind.THROTTLED:
                raise _Reply(429, b"Too Many Requests", "text/plain", (after,))
            case Kind.MAINTENANCE:
                raise _html(503, after)
            case Kind.INTERNAL:
                text = "Internal Error. Details are available in Magento log file. Report ID: webapi-65f0c0ffee123"
                raise _message(500, text)
            case Kind.DROPPED:
                raise ConnectionDroppedError
            case Kind.HTML_200:
                raise _html(200)
            case Kind.EXPIRED:
                raise self._not_authorized()
            case Kind.TRUNCATED:
                return

    # ---- who asks

    def _not_authorized(self) -> _Reply:
        text = "The consumer isn't authorized to access %resources."
        return _message(401, text, resources="Magento_Sales::actions_view")

    def _authorize(self, scope: Scope, path: str, query: str) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if (
            scheme == "Bearer"
            and self.settings.bearer
            and hmac.compare_digest(rest.encode(), self.credentials.token.encode())
        ):
            return
        if scheme != "OAuth":
            raise self._not_authorized()
        given = {name: unquote(value) for name, value in re.findall(r'(oauth_[a-z_]+)="([^"]*)"', rest)}
        known = self.credentials
        if given.get("oauth_consumer_key") != known.consumer_key:
            raise _message(401, "A consumer having the specified key does not exist")
        if given.get("oauth_token") != known.token:
            raise _message(401, "Specified token does not exist")
        if given.get("oauth_signature_method") != "HMAC-SHA256":
            raise _message(400, "oauth_problem=signature_method_rejected")
        stamp = given.get("oauth_timestamp", "")
        if not stamp.isdigit() or int(stamp) > self.shop.clock().timestamp() + 600:
            raise _message(400, "Incorrect timestamp value in the oauth_timestamp parameter")
        nonce = (given.get("oauth_nonce", ""), stamp)
        if nonce in self._nonces:
            raise _message(401, "The nonce is already being used by the consumer with ID %1")
        self._nonces.add(nonce)
        host = headers.get("host", "").lower()
        signed = given.pop("oauth_signature", "")
        if not hmac.compare_digest(
            self._signature(f"{scope['scheme']}://{host}{path}", query, given).encode(), signed.encode()
        ):
            raise _message(401, "The signature is invalid. Verify and try again.")

    def _signature(self, url: str, query: str, oauth: Mapping[str, str]) -> str:
        pairs = [*parse_qsl(query, keep_blank_values=True), *oauth.items()]
        names = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
        text = "&".join(f"{name}={value}" for name, value in names)
        base = f"GET&{quote(url, safe='~')}&{quote(text, safe='~')}"
        key = f"{quote(self.credentials.consumer_secret, safe='~')}&{quote(self.credentials.token_secret, safe='~')}"
        return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()).decode()

    # ---- lists

    def _answer(self, scope: Scope, path: str, query: str) -> bytes:
        match = re.fullmatch(r"/rest/([A-Za-z0-9_]+)/V1/([a-z/]+)", path)
        if match is not None and match[2] == "inventory/sources" and self.settings.sources is not None:
            self._authorize(scope, path, query)
            rows = [
                {"source_code": code, "name": name, "enabled": True} for code, name in self.settings.sources.items()
            ]
            return encoded({"items": rows, "search_criteria": {}, "total_count": len(rows)})
        if match is None or match[2] not in LISTS or scope["method"] != "GET":
            raise _message(404, "Request does not match any route.")
        self._authorize(scope, path, query)
        if match[1] not in ("all", "default"):
            raise _message(404, "Specified request cannot be processed.")
        rows = [
            row
            for entity_id, row in self.shop.lists[match[2]].items()
            if self.shop.hidden.get((match[2], entity_id), self.shop.clock()) <= self.shop.clock()
        ]
        return self._search(rows, parse_qsl(query, keep_blank_values=True))

    def _search(self, rows: list[Fields], params: Sequence[tuple[str, str]]) -> bytes:
        groups: dict[int, dict[int, dict[str, str]]] = {}
        sorts: dict[int, dict[str, str]] = {}
        numbers: dict[str, int] = {}
        for name, value in params:
            if filtered := _FILTER.fullmatch(name):
                key = "condition_type" if filtered[3] == "conditionType" else filtered[3]
                groups.setdefault(int(filtered[1]), {}).setdefault(int(filtered[2]), {})[key] = value
            elif ordered := _SORT.fullmatch(name):
                sorts.setdefault(int(ordered[1]), {})[ordered[2]] = value
            elif name in ("searchCriteria[pageSize]", "searchCriteria[currentPage]") and value.isdigit():
                numbers[name[15:-1]] = int(value)
            else:
                raise _message(400, "One or more input exceptions have occurred.")
        for group in groups.values():
            rows = [row for row in rows if any(_fits(row, each) for each in group.values())]
        self.random.shuffle(rows)
        for _, sort in sorted(sorts.items(), reverse=True):
            if sort.get("field") not in _COLUMNS:
                raise _message(500, "Internal Error. Details are available in Magento log file. Report ID: webapi-1")
            rows.sort(key=lambda row: row.get(sort["field"]) or "", reverse=sort.get("direction", "DESC") != "ASC")
        told = [{**row, **row.get("_as", {})} for row in self._page(rows, numbers)]
        return encoded({"items": told, "search_criteria": {}, "total_count": len(rows)})

    def _page(self, rows: list[Fields], numbers: Mapping[str, int]) -> list[Fields]:
        size, page = numbers.get("pageSize"), max(1, numbers.get("currentPage", 1))
        if size is None:
            return rows
        if self.settings.page_limit is not None and size > self.settings.page_limit:
            raise _message(400, "Maximum SearchCriteria pageSize is %max", max=str(self.settings.page_limit))
        last = max(1, -(-len(rows) // size))
        if page > last:
            if not self.settings.repeat_last_page:
                return []
            page = last
        return rows[(page - 1) * size : page * size]


def build_app(shop: Shop, **options: Any) -> App:
    return App(shop, **options)


def _fits(row: Fields, condition: Mapping[str, str]) -> bool:
    name, how, wanted = condition.get("field", ""), condition.get("condition_type", "eq"), condition.get("value", "")
    if name not in _COLUMNS:
        raise _message(500, "Internal Error. Details are available in Magento log file. Report ID: webapi-2")
    value = row.get(name)
    if how in ("null", "notnull"):
        return (value is None) == (how == "null")
    if value is None:
        return False
    number = isinstance(value, int)
    if how in ("in", "nin"):
        among = [int(each) if number else each for each in wanted.split(",")]
        return (value in among) == (how == "in")
    if how not in _CONDITIONS:
        raise _message(400, "Invalid condition type %1")
    return _CONDITIONS[how](value, int(wanted) if number else wanted)


def encoded(value: object) -> bytes:
    return _text(value).encode()


def _text(value: object) -> str:
    """JSON as PHP writes it: no spaces, numbers without trailing zeros; keys that are null, or ours, are left out."""
    match value:
        case dict():
            kept = ((k, v) for k, v in value.items() if v is not None and not str(k).startswith("_"))
            return "{" + ",".join(f"{json.dumps(k)}:{_text(v)}" for k, v in kept) + "}"
        case list() | tuple():
            return "[" + ",".join(_text(each) for each in value) + "]"
        case Decimal():
            return format(value.normalize(), "f") if value else "0"
        case _:
            return json.dumps(value).replace("/", "\\/")
