"""What the records of a file would become: the event, what the configuration says to it, or why it is refused."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.source import Item, RefusedRecord, StockLevel
from connectors.ims.reader import ReadStep
from connectors.sap_b1.mapping import CompanyMap
from schemas.events import (
    TYPE_NAMES,
    DispatchConfirmed,
    FactEvent,
    OrderCancelled,
    OrderPlaced,
    RefundIssued,
    StockAdjusted,
    identity,
)

_INBOX = "inbox"


@dataclass(frozen=True, slots=True)
class Tried:
    """One record of a file.

    Attributes:
        number: Its line, or its number in a document; 0: the document as a whole.
        event_type: None: unknown.
        identity: Empty where it is not known.
        says: What it comes to, for people: nothing that says who somebody is.
        reason: Why it is refused; None: it is not.
        error: What is wrong, and what mends it.
        no_op: Why it will be recorded and change nothing; None: it will not.
    """

    number: int
    event_type: str | None
    identity: tuple[str, ...]
    says: str
    reason: str | None = None
    error: str | None = None
    no_op: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "line": self.number,
            "event_type": self.event_type,
            "identity": list(self.identity),
            "says": self.says,
            "reason": self.reason,
            "error": self.error,
            "no_op": self.no_op,
        }


@dataclass(slots=True)
class Totals:
    """How many there were.

    Attributes:
        events: By event type.
        refused: By reason.
        skipped: Empty lines, comments, the header.
    """

    events: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    skipped: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"events": dict(self.events), "refused": dict(self.refused), "skipped": self.skipped}


def judge(steps: Iterable[ReadStep], company: CompanyMap, totals: Totals) -> Iterator[Tried]:
    """Judge the steps through a file, one by one, and count them."""
    for step in steps:
        if step.item is None:
            totals.skipped += 1
            continue
        tried = _tried(step.number, step.item, company)
        if tried.reason is not None:
            totals.refused[tried.reason] += 1
        else:
            totals.events[tried.event_type or _INBOX] += 1
        yield tried


def _tried(number: int, item: Item, company: CompanyMap) -> Tried:
    if isinstance(item, RefusedRecord):
        known = tuple(each for each in (item.event_id, item.order_id, item.sku) if each is not None)
        return Tried(number, item.event_type, known, "", item.reason, item.error)
    who: tuple[str, ...]
    if isinstance(item, StockLevel):
        event_type, who = "stock_adjusted", (item.event_id, item.sku, item.location)
    else:
        event_type, who = TYPE_NAMES[type(item)], identity(item)
    no_op = _no_op(item.source, event_type, item.occurred_at, company)
    try:
        if no_op is None:
            _check(item, company)
    except Refusal as refusal:
        return Tried(number, event_type, who, _says(item), refusal.reason, refusal.error)
    return Tried(number, event_type, who, _says(item), no_op=no_op)


def _no_op(source: str, event_type: str, occurred_at: datetime, company: CompanyMap) -> str | None:
    if company.flow_off(event_type):
        return f"flows.{event_type} is off"
    return "before start_at" if company.before_start(source, occurred_at) else None


def _check(item: FactEvent | StockLevel, company: CompanyMap) -> None:
    """What the configuration alone can refuse; what B1 says is not asked.

    Raises:
        Refusal: It does.
    """
    match item:
        case OrderPlaced():
            for line in item.lines:
                company.line_warehouse(item.source, line.location)
                company.item_code(line.sku)
                company.tax_code(line.tax_code)
        case RefundIssued():
            for refunded in item.lines:
                company.item_code(refunded.sku)
                if refunded.location is not None:
                    company.line_warehouse(item.source, refunded.location)
        case DispatchConfirmed():
            company.dispatch_warehouse(item.source, item.location)
            company.shipping_type(item.carrier, item.service)
            for dispatched in item.lines:
                company.item_code(dispatched.sku)
        case StockAdjusted() | StockLevel():
            company.stock_warehouse(item.source, item.location)
            company.item_code(item.sku)
        case OrderCancelled():
            pass


def _says(item: FactEvent | StockLevel) -> str:
    match item:
        case OrderPlaced():
            total = "no total" if item.grand_total is None else f"{item.grand_total.normalize():f}"
            return f"{_lines(item.lines)}, {total} {item.currency}"
        case OrderCancelled():
            return f"order {item.order_id}, {_lines(item.lines) if item.lines is not None else 'all of it'}"
        case DispatchConfirmed():
            return f"order {item.order_id}, {_lines(item.lines)} from {item.location}"
        case RefundIssued():
            total = "no total" if item.total is None else f"{item.total.normalize():f}"
            return f"order {item.order_id or '?'}, {_lines(item.lines)}, {total} {item.currency}"
        case StockAdjusted():
            to = f" to {item.to_location}" if item.to_location is not None else ""
            return f"{item.delta.normalize():+f} ({item.reason}){to}"
        case StockLevel():
            return f"level {item.level.normalize():f} (sequence {item.sequence}): its change to the last one"


def _lines(lines: tuple[object, ...]) -> str:
    return f"{len(lines)} line{'' if len(lines) == 1 else 's'}"
