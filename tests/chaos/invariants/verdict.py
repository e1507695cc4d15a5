"""What the checker says of a run."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """`invariant`: lost, double, end, units, money, claim, document, dead letter, offsets, sessions, stop.

    Status or chain.
    """

    invariant: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.where}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ends` are by flow, in source events; `published_again` are facts that a killed connector wrote twice."""

    discrepancies: tuple[Discrepancy, ...]
    ends: Mapping[str, Mapping[str, int]]
    events: int
    published_again: int
    samples: int

    @property
    def ok(self) -> bool:
        return not self.discrepancies

    def count(self, invariant: str) -> int:
        return sum(1 for one in self.discrepancies if one.invariant == invariant)
