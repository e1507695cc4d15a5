"""What the source remembers between two looks; its cursor is this, as text. Pure.

It knows every event that was emitted, pushed or polled, for as long as looks overlap; which numbers of each service's
messages came; and, since the last nightly stock, what all of them have moved.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.base.cursor_text import from_text, to_text
from connectors.base.errors import CursorUnusableError
from connectors.base.source import RefusedRecord
from connectors.seko.places import NightlyStock, moves_of
from connectors.seko.records import SekoMessage
from schemas.events import TYPE_NAMES, FactEvent, identity

#: A cursor record is one Kafka message of at most 1 MiB.
MAX_TEXT_CHARS = 900_000
MAX_TOLD = 20_000
#: A number so far from what was expected is no gap: the hub has begun to count anew.
MAX_JUMP = 10_000
#: Days of movements that are kept where no nightly stock comes.
MAX_DAYS = 8
PLAIN_CHARS = 4_000

Counts = dict[str, dict[str, str]]  # place -> sku -> units


@dataclass(frozen=True, slots=True)
class StockDifference:
    """A count that the movements that came do not explain."""

    sku: str
    place: str
    expected: Decimal
    counted: Decimal


@dataclass(slots=True)
class NightCount:
    """The stock of a facility at the end of a day; `got` of `total` parts of it."""

    day: str
    levels: Counts = field(default_factory=dict)
    got: list[int] = field(default_factory=list)
    total: int = 1


@dataclass(slots=True)
class SekoState:
    """The cursor of this source; times are whole seconds of Unix time.

    Attributes:
        until: By service, up to when it was polled.
        told: Marks of what was emitted, and when.
        expected: By service, the number that its next message should have.
        gaps: By service, the numbers below it that have not come, and since when they are missed.
        numbered: Services whose polled rows have their numbers.
        torn: When the last of the movements that were given up was first missed; 0: none was.
        nights: By facility, the last nightly stock that was compared.
        waiting: Nightly stocks to be compared, by facility, day and group.
        moved: By day, units that were moved since; places are compared with `nights`.
    """

    until: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, dict[str, int]] = field(default_factory=dict)
    numbered: list[str] = field(default_factory=list)
    torn: int = 0
    nights: dict[str, NightCount] = field(default_factory=dict)
    waiting: dict[str, NightCount] = field(default_factory=dict)
    moved: dict[str, Counts] = field(default_factory=dict)

    def to_text(self) -> str:
        """As text that fits a cursor record; what is too much of the control goes first."""
        text = self._packed()
        if len(text) > MAX_TEXT_CHARS:
            self.nights, self.waiting, self.moved = {}, {}, {}
            text = self._packed()
        return text

    def _packed(self) -> str:
        nights = {
            name: {key: [each.day, each.levels, each.got, each.total] for key, each in getattr(self, name).items()}
            for name in ("nights", "waiting")
        }
        return to_text({each.name: getattr(self, each.name) for each in fields(self)} | nights, pack_above=PLAIN_CHARS)

    @classmethod
    def from_text(cls, text: str) -> "SekoState":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """

        def read(found: dict[str, Any]) -> "SekoState":
            nights = {
                name: {key: NightCount(*each) for key, each in found[name].items()} for name in ("nights", "waiting")
            }
            return cls(**{**found, **nights})

        return from_text(text, read, "seko")

    # ---- what was emitted

    def note(self, items: Iterable[FactEvent | RefusedRecord], at_s: int, day_of: Callable[[datetime], str]) -> bool:
        """Note what a message became; whether any of it is new.

        Args:
            items: What was made of the message.
            at_s: Now.
            day_of: The facility's day of a moment, ISO 8601.
        """
        is_new = False
        for item in items:
            mark = _mark(item)
            if mark in self.told:
                continue
            is_new = True
            self.told[mark] = at_s
            if not isinstance(item, RefusedRecord):
                for sku, place, units in moves_of(item):
                    skus = self.moved.setdefault(day_of(item.occurred_at), {}).setdefault(place, {})
                    skus[sku] = _units_text(Decimal(skus.get(sku, "0")) + units)
        return is_new

    def knows(self, item: FactEvent | RefusedRecord) -> bool:
        return _mark(item) in self.told

    def note_content(self, message: SekoMessage, at_s: int) -> None:
        """Note what a message says, to know a polled one again that has no identity."""
        self.told[_mark_of("content", message.content)] = at_s

    def knows_content(self, message: SekoMessage) -> bool:
        return _mark_of("content", message.content) in self.told

    def forget(self, before_s: int) -> None:
        """Let go of what was emitted so long ago that no look reaches it; and movements that no night will come for."""
        if any(at_s < before_s for at_s in self.told.values()) or len(self.told) > MAX_TOLD:
            kept = [(mark, at_s) for mark, at_s in self.told.items() if at_s >= before_s]
            self.told = dict(sorted(kept, key=lambda each: each[1])[-MAX_TOLD:])
        if len(self.moved) > MAX_DAYS:
            for day in sorted(self.moved)[:-MAX_DAYS]:
                del self.moved[day]
            first = min(self.moved)
            self.nights = {dc: night for dc, night in self.nights.items() if night.day >= first}

    # ---- numbers

    def number(self, service: str, number: int, at_s: int) -> bool:
        """Note a message's number; whether it shows that others are missing.

        Numbers may come in any order and again. One that is far off begins a new count.
        """
        expected = self.expected.get(service)
        if expected is None or abs(number - expected) > MAX_JUMP:
            self.expected[service] = number + 1
            self.gaps.pop(service, None)
            return False
        missing = self.gaps.setdefault(service, {})
        missing.pop(str(number), None)
        opened = number > expected
        for each in range(expected, number):
            missing[str(each)] = at_s
        self.expected[service] = max(expected, number + 1)
        if not missing:
            del self.gaps[service]
        return opened

    def miss(self, service: str, number: int, at_s: int) -> None:
        """Note the number of a message that came without what only a poll can say: until then it is missed."""
        expected = self.expected.get(service)
        if expected is not None and expected - MAX_JUMP <= number < expected:
            return  # it has come, or is missed already
        self.number(service, number, at_s)
        self.gaps.setdefault(service, {})[str(number)] = at_s

    def overdue(self, service: str, before_s: int) -> dict[int, int]:
        """Numbers that have been missed since before a moment, and since when; they are missed no longer."""
        missing = self.gaps.get(service, {})
        late = {int(number): since_s for number, since_s in missing.items() if since_s <= before_s}
        for number in late:
            del missing[str(number)]
        if late and not missing:
            del self.gaps[service]
        return late

    # ---- nights

    def keep_night(self, stock: NightlyStock, group: str, part: int, total: int) -> None:
        """A part of a nightly stock, which may come again, and in any order."""
        last = self.nights.get(stock.dc)
        if last is not None and stock.day <= last.day:
            return
        night = self.waiting.setdefault(json.dumps([stock.dc, stock.day, group]), NightCount(stock.day, total=total))
        night.got = sorted({*night.got, part})
        for (sku, place), units in stock.levels.items():
            night.levels.setdefault(place, {})[sku] = _units_text(units)

    def compare(self, key: str, *, is_whole: bool) -> list[StockDifference] | None:
        """Compare a night that waits with the one before and what was moved since, and go on from what was counted.

        Args:
            key: In `waiting`.
            is_whole: Whether all movements since are known.

        Returns:
            The differences; None where there was nothing to compare it with.
        """
        night = self.waiting.pop(key)
        dc = json.loads(key)[0]
        last, self.nights[dc] = self.nights.get(dc), NightCount(night.day, night.levels)
        days = [day for day in self.moved if day <= night.day]
        moved: dict[tuple[str, str], Decimal] = {}
        for day in days:
            for place, skus in self.moved[day].items():
                if place.partition("/")[0] == dc:
                    for sku, units in skus.items():
                        if last is not None and day > last.day:
                            moved[sku, place] = moved.get((sku, place), Decimal(0)) + Decimal(units)
            self.moved[day] = {place: skus for place, skus in self.moved[day].items() if place.partition("/")[0] != dc}
            if not self.moved[day]:
                del self.moved[day]
        if last is None or not is_whole:
            return None
        before, after = _levels(last), _levels(night)
        found: list[StockDifference] = []
        for sku, place in sorted(before.keys() | after.keys() | moved.keys()):
            counted = after.get((sku, place), Decimal(0))
            expected = before.get((sku, place), Decimal(0)) + moved.get((sku, place), Decimal(0))
            # SEKO shows nothing below nought.
            if expected != counted and not (expected < 0 and not counted):
                found.append(StockDifference(sku, place, expected, counted))
        return found


def _levels(night: NightCount) -> dict[tuple[str, str], Decimal]:
    try:
        return {(sku, place): Decimal(units) for place, skus in night.levels.items() for sku, units in skus.items()}
    except InvalidOperation as error:
        raise CursorUnusableError("the cursor has a stock that is no number; give the connector a new name") from error


def _units_text(units: Decimal) -> str:
    return format(units.normalize(), "f") if units else "0"


def _mark(item: FactEvent | RefusedRecord) -> str:
    if isinstance(item, RefusedRecord):
        return _mark_of("letter", item.digest)
    return _mark_of(TYPE_NAMES[type(item)], *identity(item))


def _mark_of(*parts: object) -> str:
    """16 characters by which something is known again, however it came."""
    return base64.b85encode(hashlib.sha256(repr(parts).encode()).digest()[:12]).decode()
