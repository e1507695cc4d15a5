"""Events and internal records as tests need them: everything has a value, what a test is about is passed in.

`source` is `shop` for orders, cancellations and refunds and `warehouse` for dispatches and stock, `company` is `acme`;
digests are right. Quantities and amounts may be texts.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from schemas.events import (
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    RefundIssued,
    RefundLine,
    StockAdjusted,
    digest_of,
)
from schemas.records import DeadLetterState, Posting, StockBatch

E = TypeVar("E", bound=FactEvent)
Number = str | int | Decimal
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def digested(event: E) -> E:
    """The event with the digest of its content."""
    return replace(event, digest=digest_of(event))


def order_line(
    line_id: str = "1", sku: str = "A", quantity: Number = 2, price: Number = 10, **fields: Any
) -> OrderLine:
    return OrderLine(line_id=line_id, sku=sku, quantity=Decimal(quantity), unit_price=Decimal(price), **fields)


def order(order_id: str = "1", *lines: OrderLine, **fields: Any) -> OrderPlaced:
    return _event(
        OrderPlaced,
        "shop",
        fields,
        event_id=order_id,
        order_id=order_id,
        currency="GBP",
        lines=lines or (order_line(),),
    )


def cancellation(order_id: str = "1", **fields: Any) -> OrderCancelled:
    return _event(OrderCancelled, "shop", fields, event_id=f"cancel-{order_id}", order_id=order_id)


def dispatch_line(sku: str = "A", quantity: Number = 2, **fields: Any) -> DispatchLine:
    return DispatchLine(sku=sku, quantity=Decimal(quantity), **fields)


def dispatch(shipment_id: str = "S1", order_id: str = "1", *lines: DispatchLine, **fields: Any) -> DispatchConfirmed:
    own = {"event_id": shipment_id, "shipment_id": shipment_id, "order_id": order_id, "location": "MAIN"}
    return _event(DispatchConfirmed, "warehouse", fields, **own, lines=lines or (dispatch_line(),))


def refund_line(sku: str = "A", quantity: Number = 1, amount: Number = 10, **fields: Any) -> RefundLine:
    return RefundLine(sku=sku, quantity=Decimal(quantity), amount=Decimal(amount), **{"restock": True, **fields})


def refund(refund_id: str = "R1", *lines: RefundLine, **fields: Any) -> RefundIssued:
    own = {"event_id": refund_id, "refund_id": refund_id, "order_id": "1", "currency": "GBP"}
    return _event(RefundIssued, "shop", fields, **own, lines=lines)


def adjustment(event_id: str = "a", delta: Number = 1, sku: str = "A", **fields: Any) -> StockAdjusted:
    own = {"event_id": event_id, "sku": sku, "location": "MAIN", "delta": Decimal(delta), "reason": "found"}
    return _event(StockAdjusted, "warehouse", fields, **own)


def batch(event_id: str = "e", net: Number = 1, sku: str = "A", **fields: Any) -> StockBatch:
    """A sealed batch of one movement; with several `event_ids`, name `offsets`, `deltas` and `digests` too."""
    own = {
        "company": "acme",
        "source": "warehouse",
        "sku": sku,
        "location": "MAIN",
        "reason": "found",
        "posting_date": date(2026, 11, 21),
        "net": Decimal(net),
        "event_ids": (event_id,),
        "offsets": (0,),
        "deltas": (Decimal(net),),
        "digests": bytes(16),
    }
    return StockBatch(**{**own, **fields})


def posting(kind: str = "order_placed", **fields: Any) -> Posting:
    own = {
        "k": f"{kind}-K",
        "kind": kind,
        "company": "acme",
        "source": "shop",
        "order_id": "1",
        "digest": bytes(16),
        "topic": kind.replace("_", "-"),
        "partition": 0,
        "offset": 0,
        "timestamp_ms": 0,
        "value": b"",
    }
    return Posting(**{**own, **fields})


def dead_letter(number: int = 1, **fields: Any) -> DeadLetterState:
    own = {
        "id": f"l{number}",
        "state": "dead",
        "reason": "erp_refused",
        "owner": "operations",
        "company": "acme",
        "k": f"k{number}",
        "digest": bytes(16),
        "event_type": "order_placed",
        "source": "shop",
        "order_id": "1",
        "topic": "order-placed",
        "partition": 0,
        "offset": number,
        "sequence": number,
        "letter_topic": "order-placed-dead-letter",
        "letter_partition": 0,
        "letter_offset": number,
        "first_failed_at": AT,
        "at": AT,
    }
    return DeadLetterState(**{**own, **fields})


def _event(kind: type[E], source: str, fields: Mapping[str, Any], **own: Any) -> E:
    every = {"source": source, "company": "acme", "occurred_at": AT, "observed_at": AT, "digest": b"", **own, **fields}
    return digested(kind(**every))
