"""An order's units, followed through fulfilments and refunds in the order in which these happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.shopify.translate.parts import OrderPart


@dataclass(slots=True)
class LineUnits:
    """Units of one line, by part: not sent yet, and sent; and the first part that ordered it."""

    open: list[int]
    sent: list[int]
    home: int = 0


class UnitLedger:
    """Units of an order's lines, by part (`parts`). Shares are returned as (index of the part, units)."""

    def __init__(self, parts: Sequence[OrderPart]) -> None:
        self._count = len(parts)
        self._units: dict[str, LineUnits] = {}
        for line in {line for part in parts for line in part.quantities}:
            ordered = [part.quantities.get(line, 0) for part in parts]
            home = next(index for index, part in enumerate(parts) if line in part.quantities)
            self._units[line] = LineUnits(ordered, [0] * self._count, home)
        self.was_sent = False

    def send(self, line: str, quantity: int) -> list[tuple[int, int]]:
        """Units leave: of the first part that has some. What nobody ordered is the first part's, and B1 refuses it."""
        units = self._of(line)
        self.was_sent = True
        taken = _take(units.open, quantity, range(self._count))
        for part, number in taken:
            units.sent[part] += number
        return _with_rest(taken, quantity, units.home)

    def cancel(self, line: str, quantity: int, *, beyond: bool) -> list[tuple[int, int]]:
        """Units that will not leave: of the last part first; `beyond`: also those that are not there."""
        units = self._of(line)
        taken = _take(units.open, quantity, range(self._count - 1, -1, -1))
        return _with_rest(taken, quantity, units.home) if beyond else taken

    def bring_back(self, line: str, quantity: int) -> list[tuple[int, int]]:
        """Units that were sent come back, or are paid back."""
        units = self._of(line)
        return _with_rest(_take(units.sent, quantity, range(self._count)), quantity, units.home)

    def _of(self, line: str) -> LineUnits:
        return self._units.setdefault(line, LineUnits([0] * self._count, [0] * self._count))


def _take(available: list[int], quantity: int, order: Iterable[int]) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    for part in order:
        number = min(available[part], quantity)
        if number > 0:
            available[part] -= number
            quantity -= number
            taken.append((part, number))
    return taken


def _with_rest(taken: list[tuple[int, int]], quantity: int, home: int) -> list[tuple[int, int]]:
    rest = quantity - sum(number for _, number in taken)
    if rest <= 0:
        return taken
    by_part = dict(taken)
    by_part[home] = by_part.get(home, 0) + rest
    return sorted(by_part.items())
