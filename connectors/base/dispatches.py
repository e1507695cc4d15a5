"""Dispatches that a count of stock contains: what they took is their delivery's to book, not the count's. Pure.

A warehouse counts 100, sends 4 and counts 96. B1 takes 4 off with the delivery; a change of -4 beside it would take
them off twice. So the units of each dispatch are taken off the change of the first count that can contain it, once,
whichever of the two is read first:

    count 100 at 10:00          the baseline
    dispatch of 4 at 10:30      open
    count 95 at 11:00           95 - (100 - 4): -1
    dispatch of 2 at 10:45      late: the count of 11:00 had it already, and the next change makes up for it
    count 95 at 12:00           95 - (95 - 2): +2
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b

from connectors.base.cursor_text import from_text, to_text

#: A dispatch is known again for at least so long, by its own time. One that nobody has reported by then is not taken
#: off.
KNOWN_MS = 35 * 86_400_000
#: Of a sku and location; with 20 bytes each the record stays far below Kafka's 1 MiB.
MAX_KNOWN = 2_000
_PACK_ABOVE_CHARS = 200
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CountedDispatch:
    """What one dispatch takes from a sku and location.

    Attributes:
        mark: Of the shipment, to know it again; "": of several.
        at_ms: When it happened; Unix time.
        quantity: Units that no count has been compared with yet; 0: they are taken off.
    """

    mark: str
    at_ms: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Dispatches:
    """The dispatches of a sku and location that are remembered.

    Attributes:
        since_ms: Unknown ones before it are not taken off: they were in the baseline, or are forgotten.
        known: The others.
    """

    since_ms: int = 0
    known: tuple[CountedDispatch, ...] = ()

    def begin(self, at_ms: int) -> "Dispatches":
        """A first count: what was read before it and had happened is in it, and no part of any change."""
        known = tuple(replace(each, quantity=_ZERO) if each.at_ms <= at_ms else each for each in self.known)
        return Dispatches(max(self.since_ms, at_ms), known)

    def add(self, shipment_id: str, at_ms: int, quantity: Decimal) -> "Dispatches":
        """With a dispatch; the same object where it is known, or before all that counts."""
        mark = _mark(shipment_id)
        if at_ms < self.since_ms or any(each.mark == mark for each in self.known):
            return self
        return replace(self, known=(*self.known, CountedDispatch(mark, at_ms, quantity)))._pruned()

    def take_off(self, at_ms: int) -> tuple[Decimal, "Dispatches"]:
        """The units that a count of that moment contains and none before it has been compared with."""
        units = sum((each.quantity for each in self.known if each.at_ms <= at_ms), _ZERO)
        if not units:
            return _ZERO, self
        return units, replace(
            self, known=tuple(replace(each, quantity=_ZERO) if each.at_ms <= at_ms else each for each in self.known)
        )

    def to_text(self) -> str:
        rows = [[each.mark, each.at_ms, str(each.quantity)] for each in self.known]
        return to_text([self.since_ms, rows], pack_above=_PACK_ABOVE_CHARS)

    @classmethod
    def from_text(cls, text: str) -> "Dispatches":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        return from_text(
            text,
            lambda found: cls(
                int(found[0]), tuple(CountedDispatch(str(row[0]), int(row[1]), Decimal(row[2])) for row in found[1])
            ),
            "level",
        )

    def _pruned(self) -> "Dispatches":
        newest_ms = self.known[-1].at_ms
        is_old = any(each.at_ms < newest_ms - KNOWN_MS and not each.quantity for each in self.known)
        if not is_old and len(self.known) <= MAX_KNOWN:
            return self
        known = sorted(self.known, key=lambda each: each.at_ms)
        # A tenth at once, so that it is not done for each dispatch.
        surplus = len(known) - MAX_KNOWN * 9 // 10 if len(known) > MAX_KNOWN else 0
        dropped = [
            each
            for position, each in enumerate(known)
            if position < surplus or (each.at_ms < newest_ms - KNOWN_MS and not each.quantity)
        ]
        kept = [each for each in known if each not in dropped]
        open_units = sum((each.quantity for each in dropped), _ZERO)
        reached_ms = max(each.at_ms for each in dropped)
        merged = [CountedDispatch("", reached_ms, open_units)] if open_units else []
        return Dispatches(max(self.since_ms, reached_ms + 1), (*merged, *kept))


NO_DISPATCHES = Dispatches()


def _mark(shipment_id: str) -> str:
    return blake2b(shipment_id.encode(), digest_size=8).hexdigest()
