"""What every target shares: a place where events and dead letters end, what may come out, how long it may take.

What was found.
"""

import gc
import json
import time
import traceback
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Protocol

import structlog

from connectors.base.dead_letters import DeadLetters
from connectors.base.delivery import deliver
from connectors.base.levels import Level, resolve
from connectors.base.log import Outgoing, Sent
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.source import Item, RefusedRecord, StockLevel
from schemas.codec import embedded_codec
from schemas.events import (
    TYPE_NAMES,
    DispatchConfirmed,
    FactEvent,
    OrderCancelled,
    OrderPlaced,
    RefundIssued,
    StockAdjusted,
    digest_of,
)
from schemas.letters import REASONS
from schemas.readings import B1Reading
from schemas.records import Cursor
from tests.fuzz.mutation import CANARY

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
#: What an input may take before it is compared with `reference_s`.
LIMIT_S = 0.05
#: A dead letter has 1 MiB with its headers.
MAX_LETTER_BYTES = 1_000_000
_AHEAD = NOW + timedelta(days=1)


class Violation(Exception):  # noqa: N818 -- it is what was found
    """An input made us do what we never do."""


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Sink:
    """A broker that keeps nothing and counts."""

    def __init__(self) -> None:
        self.events = self.letters = 0

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        for each in records:
            for name, value in each.headers:
                if not isinstance(name, str) or not isinstance(value, bytes):
                    raise Violation("a header that Kafka does not take")
            if len(each.value) + sum(len(value) for _, value in each.headers) > MAX_LETTER_BYTES:
                raise Violation("a record that is longer than its topic takes")
        return [Sent(0, 0)] * len(records)

    def read(self, *_where: Any) -> Any:
        raise NotImplementedError

    async def bounds(self, *_where: Any) -> tuple[int, int]:
        return 0, 0


@dataclass(frozen=True)
class _Sender:
    name: str = "wms"
    company: str = "acme"


CODEC = embedded_codec()
CLOCK = FixedClock()


class Outlet:
    """Where items go: through the real publisher and the real letters, into nothing. Says what is wrong with them."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.publisher = Publisher(self.sink, CODEC, CLOCK, str)
        self.letters = DeadLetters(self.sink, CODEC, CLOCK, str, lambda _company: 0)

        self._items: list[Item | B1Reading] = []

    async def take(self, items: Iterable[Item | B1Reading]) -> None:
        """Keep items until what made them has been timed."""
        self._items += items

    def forget(self) -> None:
        self._items = []

    async def settle(self) -> None:
        """Check and publish what was taken.

        Raises:
            Violation: One of them is none that may leave a connector.
        """
        found, self._items = tuple(self._items), []
        facts: list[FactEvent] = []
        readings: list[B1Reading] = []
        for item in found:
            match item:
                case RefusedRecord():
                    check_refused(item)
                    self.sink.letters += 1
                case StockLevel():
                    facts += _of_level(item)
                case B1Reading():
                    readings.append(item)
                case _:
                    facts.append(item)
        for event in facts:
            check_event(event)
            self.sink.events += 1
        refused = [each for each in found if isinstance(each, RefusedRecord)]
        await deliver([*facts, *readings, *refused], _Sender(), self.publisher, self.letters, NoMetrics())


def _of_level(item: StockLevel) -> list[FactEvent]:
    """The delta to the farthest level there can have been, and what is written down of it."""
    opposite = item.level.copy_negate() if item.level else Decimal(1)
    resolved = resolve([item], {(item.sku, item.location): Level(item.sequence - 1, opposite)})
    for (sku, location), level in resolved.changes.items():
        CODEC.encode(
            Cursor(
                connector="wms",
                number=1,
                prev_digest=b"",
                at=NOW,
                sku=sku,
                location=location,
                sequence=str(level.sequence),
                level=level.level,
            )
        )
    return [each for each in resolved.items if not isinstance(each, RefusedRecord)]


def check_refused(record: RefusedRecord) -> None:
    """A dead letter says why in our words and names nobody."""
    check_message(record.error)
    if record.reason not in REASONS or not record.error or len(record.error) > 2000:
        raise Violation(f"a letter without a clear reason: {record.reason} {record.error[:200]}")


def check_message(text: str) -> None:
    if CANARY in text.lower():
        raise Violation(f"personal data in a message: {text[:300]!r}")
    if "\n" in text or "Traceback" in text:
        raise Violation(f"a message of more than one line: {text[:300]!r}")


def check_event(event: FactEvent) -> None:
    """What the contract says of every event (section 1)."""
    identities: list[str | None] = [event.event_id]
    quantities: list[Decimal] = []
    match event:
        case OrderPlaced():
            identities += [event.order_id, *(x for line in event.lines for x in (line.line_id, line.sku))]
            quantities = [line.quantity for line in event.lines]
            amounts = [x for line in event.lines for x in (line.unit_price, line.discount or Decimal(0))]
            if not event.lines or len({line.line_id for line in event.lines}) < len(event.lines) or min(amounts) < 0:
                raise Violation("an order without lines, with two of one id, or with a price below 0")
        case OrderCancelled():
            identities += [event.order_id, *(line.line_id for line in event.lines or ())]
            quantities = [line.quantity for line in event.lines or ()]
        case DispatchConfirmed():
            identities += [event.shipment_id, event.order_id, event.location, *(line.sku for line in event.lines)]
            quantities = [line.quantity for line in event.lines]
            if not event.lines:
                raise Violation("a dispatch of nothing")
        case RefundIssued():
            identities += [event.refund_id, *(line.sku for line in event.lines)]
            quantities = [line.quantity for line in event.lines]
            if not event.lines and event.shipping is None and event.adjustment is None:
                raise Violation("a refund of nothing")
        case StockAdjusted():
            identities += [event.sku, event.location]
            if not event.delta:
                raise Violation("a movement of nothing")
    for identity in identities:
        if not identity or len(identity) > 100 or any(unicodedata.category(each) == "Cc" for each in identity):
            raise Violation(f"{TYPE_NAMES[type(event)]}: an identity that is none: {identity!r:.120}")
    if any(quantity <= 0 for quantity in quantities):
        raise Violation(f"{TYPE_NAMES[type(event)]}: a quantity that is not above 0")
    if event.occurred_at.utcoffset() != timedelta(0) or event.occurred_at > _AHEAD:
        raise Violation(f"{TYPE_NAMES[type(event)]}: a time that is not UTC, or ahead: {event.occurred_at}")
    if event.digest != digest_of(event):
        raise Violation("a digest that is not its content's")
    CODEC.encode(event)


# ---- logs


def listen() -> None:
    """No line of our log may name anybody either."""

    def check(_logger: object, _name: str, entry: MutableMapping[str, Any]) -> Any:
        check_message(repr(entry))
        raise structlog.DropEvent

    structlog.configure(processors=[check], cache_logger_on_first_use=False)


# ---- one input after another


class Target(Protocol):
    """What is fed with inputs."""

    @property
    def name(self) -> str: ...

    def draw(self, random: Random) -> Any:
        """The next input; costs nothing of what is measured."""

    async def feed(self, given: Any) -> None:
        """Take an input.

        Raises:
            Exception: It made us do what we never do.
        """


@dataclass
class Finding:
    target: str
    what: str
    count: int = 0
    example: str = ""
    shown: str = ""


@dataclass
class Report:
    inputs: int = 0
    by_target: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    repeated: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    seconds: float = 0.0


async def run(
    targets: Sequence[tuple[Target, float]],
    outlet: Outlet,
    inputs: int,
    seed: int,
    tell: Callable[[Report], None] | None = None,
) -> Report:
    """Feed inputs, each drawn from `seed` and its number alone, to targets in proportion to their weights."""
    listen()
    report, started = Report(), time.monotonic()
    names = [target for target, _ in targets]
    weights = [weight for _, weight in targets]
    gc.collect()
    gc.freeze()
    try:
        for number in range(inputs):
            random = Random(f"{seed}/{number}")
            (target,) = random.choices(names, weights)
            given = target.draw(random)
            fault = await _feed(target, outlet, given, report)
            report.inputs += 1
            report.by_target[target.name] = report.by_target.get(target.name, 0) + 1
            if fault is not None:
                finding = report.findings.setdefault(f"{target.name}: {fault}", Finding(target.name, fault))
                finding.count += 1
                if not finding.example:
                    finding.example, finding.shown = f"{seed}/{number}", repr(given)[:1500]
            if tell is not None and (number + 1) % 50_000 == 0:
                report.seconds = time.monotonic() - started
                tell(report)
    finally:
        gc.unfreeze()
        structlog.reset_defaults()
    report.seconds = time.monotonic() - started
    return report


async def replay(targets: Sequence[tuple[Target, float]], outlet: Outlet, example: str) -> None:
    """Feed one input again.

    Raises:
        Exception: What it made us do.
    """
    random = Random(example)
    (target,) = random.choices([target for target, _ in targets], [weight for _, weight in targets])
    await target.feed(target.draw(random))
    await outlet.settle()


async def _feed(target: Target, outlet: Outlet, given: Any, report: Report) -> str | None:
    # No input takes more of the processor than of the clock, and the clock is cheaper to ask.
    spent, fault = await timed(target.feed, given, time.perf_counter)
    _, unfit = await timed(lambda _given: outlet.settle(), given, time.perf_counter)
    fault = fault or unfit
    if spent > LIMIT_S and fault is None:
        # A busy machine, or a collection of garbage: only what is always slow counts.
        report.repeated += 1
        for _ in range(5):
            spent = min(spent, (await timed(target.feed, given, time.thread_time))[0])
            outlet.forget()
        if spent > max(LIMIT_S, 2 * reference_s()):
            fault = f"takes {LIMIT_S * 1000:.0f} ms or more, and twice as long as a MiB of plain JSON"
    report.slowest[target.name] = max(report.slowest.get(target.name, 0.0), spent)
    return fault


def reference_s() -> float:
    """What Python's own JSON reader takes for a MiB of small numbers, here and now: 30 ms and more."""
    body, spent = b"[" + b"1," * 524_286 + b"1]", []
    for _ in range(3):
        began = time.thread_time()
        json.loads(body)
        spent.append(time.thread_time() - began)
    return min(spent)


async def timed(
    feed: Callable[[Any], Awaitable[None]], given: Any, clock: Callable[[], float]
) -> tuple[float, str | None]:
    """Seconds by a clock, and what went wrong."""
    began = clock()
    try:
        await feed(given)
    except Violation as error:
        return clock() - began, f"violation: {_kind(str(error))}"
    except (Exception, RecursionError) as error:  # noqa: BLE001 -- whatever it is, it is a finding
        return clock() - began, f"{type(error).__name__} at {_place(error)}"
    return clock() - began, None


def _kind(text: str) -> str:
    return text.partition(":")[0] if text.startswith("personal") else text[:70]


def _place(error: BaseException) -> str:
    """The innermost lines of ours."""
    ours = [
        f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "/tests/fuzz/" not in frame.filename
        and "site-packages" not in frame.filename
        and "/lib/python" not in frame.filename
    ]
    return " < ".join(reversed(ours[-2:])) or traceback.extract_tb(error.__traceback__)[-1].name
