"""Objects of the shop as Shopify shows them, and what they come to."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, TypeAlias

Row: TypeAlias = dict[str, Any]

CENT: Final = Decimal("0.01")
ADDRESS: Final = {
    "name": "Mia Odum",
    "company": None,
    "address1": "4 Lime Row",
    "address2": None,
    "city": "Leeds",
    "zip": "LS1 4XX",
    "province": None,
    "provinceCode": None,
    "country": "United Kingdom",
    "countryCodeV2": "GB",
    "phone": None,
}
#: Objects of an agreement, by its reason.
_AGREEMENTS: Final = {
    "ORDER": "OrderAgreement",
    "ORDER_EDIT": "OrderEditAgreement",
    "RETURN": "ReturnAgreement",
    "REFUND": "RefundAgreement",
}


def number_of(row: Mapping[str, Any]) -> str:
    """The last part of its id."""
    return str(row["id"]).rpartition("/")[2]


def gross_of(row: Row) -> Decimal:
    """What a line or a freight costs after discounts, as Shopify shows it: with tax or without."""
    price = row.get("originalUnitPriceSet") or row["originalPriceSet"]
    paid = Decimal(price["shopMoney"]["amount"]) * (row["quantity"] or 1)
    return paid - sum(
        (Decimal(each["allocatedAmountSet"]["shopMoney"]["amount"]) for each in row["discountAllocations"]), Decimal(0)
    )


def tax_of(row: Row) -> Decimal:
    """The taxes of a line or a freight."""
    return sum((Decimal(each["priceSet"]["shopMoney"]["amount"]) for each in row["taxLines"]), Decimal(0))


class RowMaker:
    """Makes rows, each with an id of its own.

    Args:
        currency: The shop's.
        stamp: Its time as text.
    """

    def __init__(self, currency: str, stamp: Callable[[], str]) -> None:
        self.currency, self._stamp = currency, stamp
        self._ids = itertools.count(5_000_000_001)

    def number(self) -> str:
        """An id without its kind."""
        return str(next(self._ids))

    def gid(self, kind: str) -> str:
        """An id."""
        return f"gid://shopify/{kind}/{next(self._ids)}"

    def bag(self, amount: Decimal | str | int) -> Row:
        """An amount in both currencies."""
        text = str(Decimal(amount).quantize(CENT, ROUND_HALF_UP))
        money = {"amount": text, "currencyCode": self.currency}
        return {"shopMoney": money, "presentmentMoney": dict(money)}

    def taxes(self, rate: Decimal, amount: Decimal) -> list[Row]:
        """Tax lines; none for a rate of 0."""
        return [{"title": "VAT", "rate": float(rate), "priceSet": self.bag(amount)}] if rate else []

    def line(self, line: Mapping[str, Any], included: bool, rate: Decimal) -> Row:
        """A LineItem."""
        price, quantity = Decimal(line["price"]), int(line["quantity"])
        cut = Decimal(line.get("discount", 0))
        own = Decimal(line.get("rate", rate))
        paid = price * quantity - cut
        tax = (paid * own / (1 + own) if included else paid * own).quantize(CENT, ROUND_HALF_UP)
        return {
            "id": self.gid("LineItem"),
            "sku": line.get("sku"),
            "name": line.get("name", "Tea"),
            "title": "Tea",
            "quantity": quantity,
            "currentQuantity": quantity,
            "unfulfilledQuantity": quantity,
            "requiresShipping": line.get("requires_shipping", True),
            "isGiftCard": line.get("gift_card", False),
            "originalUnitPriceSet": self.bag(price),
            "discountAllocations": [{"allocatedAmountSet": self.bag(cut)}] if cut else [],
            "duties": [],
            "taxLines": self.taxes(own, tax),
        }

    def freight(self, amount: str, included: bool, rate: Decimal) -> Row:
        """A ShippingLine."""
        paid = Decimal(amount)
        tax = (paid * rate / (1 + rate) if included else paid * rate).quantize(CENT, ROUND_HALF_UP)
        return {
            "id": self.gid("ShippingLine"),
            "title": "Next day",
            "code": "ND",
            "source": "shopify",
            "originalPriceSet": self.bag(amount),
            "discountAllocations": [],
            "quantity": None,
            "taxLines": self.taxes(rate, tax),
        }

    def transaction(self, kind: str, amount: str, gateway: str = "shopify_payments", status: str = "SUCCESS") -> Row:
        """An OrderTransaction."""
        return {
            "id": self.gid("OrderTransaction"),
            "kind": kind,
            "status": status,
            "gateway": gateway,
            "processedAt": self._stamp(),
            "createdAt": self._stamp(),
            "amountSet": self.bag(amount),
        }

    def sale(self, row: Row, quantity: int | None, included: bool) -> Row:
        """What an agreement says of a line or a freight; fewer than 0: they come back."""
        is_freight = "sku" not in row
        kind = "SHIPPING" if is_freight else "GIFT_CARD" if row["isGiftCard"] else "PRODUCT"
        share = Decimal(quantity) / row["quantity"] if quantity is not None else Decimal(1)
        tax = tax_of(row) * share
        return {
            "id": self.gid("Sale"),
            "actionType": "RETURN" if share < 0 else "ORDER",
            "lineType": kind,
            "quantity": quantity,
            "totalAmount": self.bag(gross_of(row) * share + (0 if included else tax)),
            "totalTaxAmount": self.bag(tax),
            "lineItem": None if is_freight else row,
        }

    def charge(self, kind: str, total: Decimal, tax: Decimal) -> Row:
        """What an agreement says of money without goods: a DUTY, a FEE of a return."""
        return {
            "id": self.gid("Sale"),
            "actionType": "ORDER",
            "lineType": kind,
            "quantity": None,
            "totalAmount": self.bag(total),
            "totalTaxAmount": self.bag(tax),
            "lineItem": None,
        }

    def agreement(self, reason: str, sales: Sequence[Row]) -> Row:
        """A SalesAgreement."""
        return {
            "id": self.gid(_AGREEMENTS[reason]),
            "happenedAt": self._stamp(),
            "reason": reason,
            "sales": list(sales),
        }
