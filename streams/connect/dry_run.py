"""What the records of a file would become: the event, what the configuration says to it, or why it is refused."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.source import RefusedRecord, StockLevel
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
    digest_of,
    identity,
)

_INBOX = "inbox"
_MONTH = r"(?:jan|feb|mar|mrz|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)\.?"
#: What a spreadsheet makes of a text that looks like something else to it.
_SPREADSHEET_FORMS = tuple(
    (re.compile(form, re.IGNORECASE | re.DOTALL), kind)
    for form, kind in (
        (r"[+-]?[0-9]([.,][0-9]+)?e[+-]?[0-9]+", "a number in scientific notation, whose digits are lost"),
        (r"[0-9]{15}0+", "a number of more than 15 digits, whose last ones are lost"),
        (r"[0-9]+[.,]0+", "a whole number with decimals"),
        (r"[0-9]{1,3}([.,][0-9]{3})+", "a number with separators between its thousands"),
        (r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}( [0-9:]+)?", "a date"),
        (rf"[0-9]{{1,4}}[- /.]{_MONTH}([- /.]?[0-9]{{2,4}})?|{_MONTH}[- /.]?[0-9]{{2,4}}", "a date"),
        (r"#(N/A|NV|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|BEZUG!|WERT!)|##+", "an error of a spreadsheet"),
        (r"[='].*", "a formula, or a text with a spreadsheet's mark"),
        (r"true|false|wahr|falsch", "a truth value"),
    )
)


@dataclass(frozen=True, slots=True)
class DryRunRecord:
    """One record of a file.

    Attributes:
        line: Its line, or its number in a document; 0: the file as a whole.
        event_type: None: unknown.
        identity: Empty where it is not known.
        says: What it comes to, for people: nothing that says who somebody is.
        reason: Why it is refused; None: it is not.
        error: What is wrong, and how to fix it.
        no_op: Why it will be recorded and change nothing; None: it will not.
        warnings: What looks as if it had not been meant so, though nothing forbids it.
    """

    line: int
    event_type: str | None
    identity: tuple[str, ...]
    says: str
    reason: str | None = None
    error: str | None = None
    no_op: str | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class DryRunTotals:
    """How many there were.

    Attributes:
        events: By event type.
        refused: By reason.
        skipped: Empty lines, comments, the header.
        warned: Records with at least one warning.
    """

    events: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    warned: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"events": dict(self.events), "refused": dict(self.refused), "skipped": self.skipped}


class DryRun:
    """One file, judged record by record: by itself, by the configuration, and by the records before it.

    Lifecycle: `records` once; `totals` grow with each.
    """

    def __init__(self, company: CompanyMap) -> None:
        self.totals = DryRunTotals()
        self._company = company
        self._items_without_zeros = {code.lstrip("0"): code for code in company.settings.items if code.startswith("0")}
        self._seen: dict[tuple[str, ...], tuple[int, bytes]] = {}  # where an identity was first, and its digest
        self._levels: dict[tuple[str, str], tuple[int, StockLevel]] = {}

    def records(self, steps: Iterable[ReadStep]) -> Iterator[DryRunRecord]:
        """What becomes of each step through the file."""
        for step in steps:
            if step.item is None:
                self.totals.skipped += 1
                continue
            if isinstance(step.item, RefusedRecord):
                found = _refused(step.number, step.item)
            else:
                found = self._judge(step.number, step.item)
            if found.reason is not None:
                self.totals.refused[found.reason] += 1
            else:
                self.totals.events[found.event_type or _INBOX] += 1
            self.totals.warned += bool(found.warnings)
            yield found

    def _judge(self, line: int, item: FactEvent | StockLevel) -> DryRunRecord:
        is_level = isinstance(item, StockLevel)
        event_type = "stock_adjusted" if isinstance(item, StockLevel) else TYPE_NAMES[type(item)]
        who = (item.event_id, item.sku, item.location) if isinstance(item, StockLevel) else identity(item)
        warnings = tuple(dict.fromkeys(text for name, value in _identities(item) for text in self._odd(name, value)))
        reason = error = no_op = None
        says = _says(item)
        try:
            if isinstance(item, StockLevel):
                says, no_op = self._compare(line, item, says)
            else:
                no_op = self._repeats(line, event_type, who, item)
            no_op = self._switched_off(item, event_type) or no_op
            if no_op is None or is_level:
                _check(item, self._company)
        except Refusal as refusal:
            reason, error, no_op = refusal.reason, refusal.error, None
        return DryRunRecord(line, event_type, who, says, reason, error, no_op, warnings)

    def _repeats(self, line: int, event_type: str, who: tuple[str, ...], event: FactEvent) -> str | None:
        """Why an event of an identity that the file had before is a repeat; None: it is the first.

        Raises:
            Refusal: It says something else under that identity.
        """
        digest = digest_of(event)
        first, known = self._seen.setdefault((event_type, *who), (line, digest))
        if first == line:
            return None
        if known == digest:
            return f"repeats line {first}"
        lines = "; if several rows are one event, set group_by" if getattr(event, "lines", None) else ""
        raise Refusal(
            "id_reuse", f"line {first} has the same identity with other content; give each event its own{lines}"
        )

    def _compare(self, line: int, level: StockLevel, says: str) -> tuple[str, str | None]:
        """What a level comes to beside the one before it in the file, and why it changes nothing."""
        before = self._levels.get((level.sku, level.location))
        if before is None:
            self._levels[level.sku, level.location] = line, level
            return says, None
        at, last = before
        if level.sequence <= last.sequence:
            return says, f"stale: its sequence is not above that of line {at}"
        self._levels[level.sku, level.location] = line, level
        change = level.level - last.level
        says = f"level {level.level.normalize():f} (sequence {level.sequence}): {change.normalize():+f} to line {at}"
        return says, None if change else f"the same level as line {at}"

    def _switched_off(self, item: FactEvent | StockLevel, event_type: str) -> str | None:
        if self._company.flow_off(event_type):
            return f"flows.{event_type} is off"
        return "before start_at" if self._company.before_start(item.source, item.occurred_at) else None

    def _odd(self, name: str, text: str) -> Iterator[str]:
        """What is odd about an identity; it is named, not quoted."""
        kind = next((kind for pattern, kind in _SPREADSHEET_FORMS if pattern.fullmatch(text)), None)
        if kind is not None:
            yield f"{name} looks like {kind}; see whether a spreadsheet has changed it"
        if name == "sku" and text not in self._company.settings.items and text in self._items_without_zeros:
            code = self._items_without_zeros[text]
            yield f"sku is {code} of companies.{self._company.company}.items without its leading zeros"


def _refused(line: int, record: RefusedRecord) -> DryRunRecord:
    known = tuple(each for each in (record.event_id, record.order_id, record.sku) if each is not None)
    return DryRunRecord(line, record.event_type, known, "", record.reason, record.error)


def _identities(item: FactEvent | StockLevel) -> Iterator[tuple[str, str]]:
    for name in ("event_id", "order_id", "shipment_id", "refund_id", "sku", "location"):
        if isinstance(value := getattr(item, name, None), str):
            yield name, value
    for line in getattr(item, "lines", None) or ():
        for name in ("line_id", "sku"):
            if isinstance(value := getattr(line, name, None), str):
                yield name, value


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
                company.tax_code(line.tax_code, line.tax_rate)
            if item.shipping is not None and (item.shipping.amount or item.shipping.tax_amount):
                company.tax_code(item.shipping.tax_code)
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
