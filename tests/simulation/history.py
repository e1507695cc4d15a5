"""What the sources of one run say: orders, dispatches, cancellations, refunds and stock movements, in no good order.

Everything is drawn from one seed. A record is what a connector would publish; `Fact.publish_s` is when it does. What
the checker needs to know of a stock event beforehand stands beside it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any

from connectors.base.publisher import key_of
from schemas.codec import Codec
from schemas.events import (
    TYPE_NAMES,
    BatchQuantity,
    CancelledLine,
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    RefundIssued,
    RefundLine,
    Shipping,
    StockAdjusted,
    digest_of,
)
from schemas.topics import fact_topic
from tests.simulation.broker import EPOCH_S

ITEMS, LOT_ITEM, MISSING_ITEM = ("A1", "A2", "A3"), "L1", "NONE"  # the last is not in B1 until somebody makes it
WAREHOUSES = {"MAIN": "LON1", "BACK": "LON2"}
#: Who places the orders of a company, and who counts and ships for it.
ORDER_SOURCES = {"acme": ("shop", "market"), "beta": ("boutique",)}
STOCK_SOURCES = {"acme": "warehouse", "beta": "depot"}
_START = datetime.fromtimestamp(EPOCH_S, UTC)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fact:
    publish_s: float
    topic: str
    key: bytes
    value: bytes
    event: FactEvent | None  # None: bytes that nobody can read


@dataclass(frozen=True, slots=True)
class Shape:
    """How much happens."""

    orders: int
    movements: int
    span_s: float
    repeats: float
    reuses: float
    disorder_s: float


def shape_of(random: Random, share: float = 1.0) -> Shape:
    """`share`: how much of it happens, of what happens to a company that is alone."""
    return Shape(
        orders=round(share * random.choice((0, 1, 2, 3, 4))),
        movements=round(share * random.choice((2, 5, 8, 12, 16))),
        span_s=random.choice((3.0, 20.0, 60.0)),
        repeats=random.choice((0.0, 0.15, 0.4)),
        reuses=random.choice((0.0, 0.0, 0.15)),
        disorder_s=random.choice((0.0, 0.0, 3.0, 30.0)),
    )


class History:
    """All facts of one company in a run, by the time of publishing.

    The order within one topic and key is the source's own, repeats aside. Two companies use the same names for orders,
    items and events.
    """

    def __init__(self, random: Random, codec: Codec, shape: Shape, company: str) -> None:
        self._random, self._codec, self._shape, self._company = random, codec, shape, company
        self._orders, self._stock = ORDER_SOURCES[company], STOCK_SOURCES[company]
        self._numbers = 0
        self.facts: list[Fact] = []
        for number in range(shape.orders):
            self._order(f"O{number}", self._orders[number % len(self._orders)])
        for _ in range(shape.movements):
            self._movement()
        for _ in range(random.choice((0, 0, 0, 1))):
            topic = random.choice(("order-placed", "dispatch-confirmed", "stock-adjusted"))
            self.facts.append(
                Fact(random.uniform(0, shape.span_s), topic, b"x", random.randbytes(random.randint(0, 30)), None)
            )
        self.facts.sort(key=lambda fact: fact.publish_s)

    # ---- orders

    def _order(self, order_id: str, source: str) -> None:
        random = self._random
        at_s = random.uniform(0, self._shape.span_s)
        lines = []
        for index in range(random.randint(1, 3)):
            quantity = Decimal(random.choice(("1", "2", "3", "5", "0.5", "2.25")))
            price = Decimal(random.randint(1, 9999)) / 100
            gross = (quantity * price).quantize(_CENT, ROUND_HALF_UP)
            discount = random.choice((None, None, (gross / 10).quantize(_CENT)))
            net = gross - (discount or 0)
            tax = (net / 5).quantize(_CENT, ROUND_HALF_UP)
            lines.append(
                OrderLine(
                    line_id=f"{index}",
                    sku=random.choice(ITEMS),
                    quantity=quantity,
                    unit_price=price,
                    discount=discount,
                    tax_code="GB-20",
                    tax_amount=tax,
                    location=random.choice((None, None, "BACK")),
                )
            )
        shipping = random.choice((None, Shipping(amount=Decimal("4.95"), tax_amount=Decimal("0.99"), tax_code="GB-20")))
        net = sum((self._net(line) for line in lines), Decimal(0)) + (shipping.amount if shipping else 0)
        tax = sum((line.tax_amount or Decimal(0) for line in lines), Decimal(0)) + (
            (shipping.tax_amount or Decimal(0)) if shipping else 0
        )
        wrong = random.random() < 0.05
        placed = OrderPlaced(
            **self._common(source, order_id, at_s),
            order_id=order_id,
            currency="GBP",
            lines=tuple(lines),
            shipping=shipping,
            tax_total=tax,
            grand_total=net + tax + (1 if wrong else 0),
        )
        if random.random() < 0.05:
            placed = replace(placed, lines=(replace(lines[0], sku=MISSING_ITEM), *lines[1:]))
        if random.random() > 0.04:  # else the order is never published
            self._tell(placed, at_s)
        dispatched = self._dispatches(placed, at_s)
        self._cancellation(placed, dispatched, at_s)
        self._refunds(placed, dispatched, at_s)

    @staticmethod
    def _net(line: OrderLine) -> Decimal:
        return (line.quantity * line.unit_price).quantize(_CENT, ROUND_HALF_UP) - (line.discount or 0)

    def _dispatches(self, order: OrderPlaced, at_s: float) -> dict[str, Decimal]:
        random = self._random
        left = {line.line_id: line.quantity for line in order.lines}
        dispatched = dict.fromkeys(left, Decimal(0))
        for number in range(random.choice((0, 1, 1, 2))):
            lines = []
            for line in order.lines:
                quantity = random.choice((left[line.line_id], left[line.line_id] / 2, Decimal(0)))
                if random.random() < 0.04:
                    quantity = line.quantity * 2
                if quantity > 0:
                    left[line.line_id] = max(Decimal(0), left[line.line_id] - quantity)
                    dispatched[line.line_id] += quantity
                    line_id = line.line_id if random.random() < 0.8 else None
                    lines.append(DispatchLine(line_id=line_id, sku=line.sku, quantity=quantity))
            if lines:
                shipment, at_s = f"S{order.order_id}-{number}", at_s + random.uniform(0, 20)
                event = DispatchConfirmed(
                    **self._common(self._stock, shipment, at_s),
                    shipment_id=shipment,
                    order_id=order.order_id,
                    location=random.choice(("MAIN", "MAIN", "BACK")),
                    carrier=random.choice((None, "dpd")),
                    service="next-day",
                    lines=tuple(lines),
                )
                self._tell(event, at_s)
        return dispatched

    def _cancellation(self, order: OrderPlaced, dispatched: dict[str, Decimal], at_s: float) -> None:
        random = self._random
        if random.random() > 0.35:
            return
        lines: tuple[CancelledLine, ...] | None = None
        if random.random() < 0.6:
            line = random.choice(order.lines)
            left = line.quantity - dispatched[line.line_id]
            quantity = random.choice((left, left / 2, line.quantity))
            lines = (CancelledLine(line_id=line.line_id, quantity=quantity),) if quantity > 0 else None
        at_s += random.uniform(0, 30)
        event_id = self._id("c")
        self._tell(
            OrderCancelled(**self._common(order.source, event_id, at_s), order_id=order.order_id, lines=lines),
            at_s,
        )

    def _refunds(self, order: OrderPlaced, dispatched: dict[str, Decimal], at_s: float) -> None:
        random = self._random
        for number in range(random.choice((0, 0, 1, 2))):
            lines, total = [], Decimal(0)
            for line in order.lines:
                quantity = random.choice((dispatched[line.line_id] / 2, dispatched[line.line_id], Decimal(0)))
                if quantity > 0:
                    amount = (self._net(line) * quantity / line.quantity).quantize(_CENT)
                    tax = (amount / 5).quantize(_CENT)
                    total += amount + tax
                    lines.append(
                        RefundLine(
                            line_id=line.line_id,
                            sku=line.sku,
                            quantity=quantity,
                            amount=amount,
                            tax_amount=tax,
                            restock=random.random() < 0.6,
                        )
                    )
            if lines:
                refund, at_s = f"R{order.order_id}-{number}", at_s + random.uniform(0, 40)
                event = RefundIssued(
                    **self._common(order.source, refund, at_s),
                    refund_id=refund,
                    order_id=order.order_id,
                    currency="GBP",
                    lines=tuple(lines),
                    total=total,
                )
                self._tell(event, at_s)

    # ---- stock

    def _movement(self) -> None:
        random = self._random
        at_s = random.uniform(0, self._shape.span_s)
        sku = random.choice((*ITEMS, *ITEMS, LOT_ITEM))
        delta = Decimal(random.choice(("1", "2", "3", "10", "-1", "-2", "-7", "0.1", "0.2", "-0.3", "1.000001")))
        if random.random() < 0.02:
            delta = Decimal("90071992547.409931")
        fields: dict[str, Any] = {
            "sku": sku,
            "location": random.choice(("MAIN", "MAIN", "MAIN", "BACK", "ATTIC" if random.random() < 0.3 else "MAIN")),
            "delta": delta,
            "reason": random.choice(("receipt", "damaged", "found", "count", "other")),
        }
        if random.random() < 0.05:
            fields["reason"] = "return"
        if random.random() < 0.1:
            fields |= {"reason": "transfer", "location": "MAIN", "to_location": "BACK", "delta": -abs(delta)}
        if sku == LOT_ITEM:
            lot = BatchQuantity(number=random.choice(("X", "Y")), quantity=abs(fields["delta"]))
            fields["batches"] = (lot,)
        event_id = self._id("m")
        event = StockAdjusted(**self._common(self._stock, event_id, at_s), **fields)
        if random.random() < 0.03:
            event = replace(event, occurred_at=event.occurred_at - timedelta(days=60))
        elif random.random() < 0.1:
            event = replace(event, occurred_at=event.occurred_at - timedelta(days=random.choice((1, 2))))
        self._tell(event, at_s)

    # ---- publishing

    def _id(self, letter: str) -> str:
        self._numbers += 1
        return f"{letter}{self._numbers}"

    def _common(self, source: str, event_id: str, at_s: float) -> dict[str, Any]:
        at = _START + timedelta(seconds=at_s)
        return {
            "source": source,
            "company": self._company,
            "event_id": event_id,
            "occurred_at": at,
            "observed_at": at,
            "digest": bytes(16),
        }

    def _tell(self, event: Any, at_s: float) -> None:
        """Publish, perhaps late, perhaps again, perhaps again with other content."""
        random, shape = self._random, self._shape
        event = replace(event, digest=digest_of(event))
        publish_s = at_s + random.uniform(0, 0.5) + random.choice((0.0, random.uniform(0, shape.disorder_s)))
        self._publish(event, publish_s)
        while random.random() < shape.repeats:
            publish_s += random.choice((0.0, random.uniform(0, 60)))
            self._publish(event, publish_s)
        if random.random() < shape.reuses:
            other = replace(event, occurred_at=event.occurred_at + timedelta(seconds=1))
            if isinstance(other, StockAdjusted):
                other = replace(
                    other,
                    delta=other.delta * 2,
                    batches=tuple(replace(b, quantity=b.quantity * 2) for b in other.batches),
                )
            other = replace(other, digest=digest_of(other))
            self._publish(other, publish_s + random.uniform(0, 60))

    def _publish(self, event: FactEvent, publish_s: float) -> None:
        topic = fact_topic(TYPE_NAMES[type(event)])
        self.facts.append(Fact(publish_s, topic, key_of(event), self._codec.encode(event), event))
