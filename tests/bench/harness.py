"""Candidates in turn, the same sums from each, ratios to the reference of the same run.

A bar that may be missed once.

Machines are noisy: only ratios from one interleaved run mean anything. A round runs every candidate once, in an order
that moves on by one each round; what counts is the median of the rounds. A ratio that misses its bar gets two more
tries; missing twice fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Literal

TRIES = 3
#: What `--quick` lets a ratio be worse by: small runs on a busy machine of a CI.
QUICK_SLACK = 2.0


class SumsDifferError(Exception):
    """A candidate has not done the work: its time means nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one candidate: CPU of all its processes and threads, and time from the first event to the last."""

    events: int
    cpu_s: float
    wall_s: float
    sums: str  # what it has computed, as text that is equal only where that is

    @property
    def cpu_us(self) -> float:
        """Per event."""
        return self.cpu_s / self.events * 1e6

    @property
    def wall_us(self) -> float:
        """Per event."""
        return self.wall_s / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what was measured, round by round."""

    name: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach. `ratio`: to something of the same run.

    Else an absolute figure, which `--quick` does not judge.
    """

    sense: Literal["at most", "at least", "is"]
    limit: float
    ratio: bool = True

    def of(self, *, quick: bool) -> "Bar":
        """The bar as a run judges it."""
        if not quick or not self.ratio or self.sense == "is":
            return self
        return replace(self, limit=self.limit * QUICK_SLACK if self.sense == "at most" else self.limit / QUICK_SLACK)

    def holds(self, value: float, *, quick: bool = False) -> bool:
        if quick and not self.ratio:
            return True
        limit = self.of(quick=quick).limit
        match self.sense:
            case "at most":
                return value <= limit
            case "at least":
                return value >= limit
            case "is":
                return value == limit

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:.3g}"


@dataclass(frozen=True, slots=True)
class Check:
    """A figure with its bar. `note` says what it was measured against, and what that did not do."""

    name: str
    value: float
    unit: str
    bar: Bar
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try of a benchmark came to."""

    figures: tuple[Figure, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(slots=True)
class Verdict:
    """A benchmark with all its tries; the last one's figures are shown."""

    name: str
    tries: list[Outcome] = field(default_factory=list)
    quick: bool = False

    def missed(self) -> list[str]:
        """The checks that missed their bar in two tries."""
        return [name for name, count in self._misses().items() if count > 1]

    def undecided(self) -> bool:
        """Some check has missed once and may still be in time."""
        return len(self.tries) < TRIES and 1 in self._misses().values() and not self.missed()

    def _misses(self) -> dict[str, int]:
        misses: dict[str, int] = {}
        for outcome in self.tries:
            for check in outcome.checks:
                misses[check.name] = misses.get(check.name, 0) + (not check.bar.holds(check.value, quick=self.quick))
        return misses

    def state(self, check: Check) -> str:
        """`ok`, `missed` (twice), `once` (and not tried again, or made good), `-` where it is not judged."""
        if self.quick and not check.bar.ratio:
            return "-"
        return ("ok", "once")[min(self._misses()[check.name], 1)] if check.name not in self.missed() else "missed"

    def as_json(self) -> dict[str, Any]:
        last = self.tries[-1]
        return {
            "name": self.name,
            "tries": len(self.tries),
            "figures": [{**asdict(figure), "median": figure.median} for figure in last.figures],
            "checks": [self._as_json(check) for check in last.checks],
        }

    def _as_json(self, check: Check) -> dict[str, Any]:
        return {
            "name": check.name,
            "value": check.value,
            "unit": check.unit,
            "bar": str(check.bar.of(quick=self.quick)),
            "state": self.state(check),
            "note": check.note,
            "tries": [one.value for outcome in self.tries for one in outcome.checks if one.name == check.name],
        }


def judge(name: str, run: Callable[[], Outcome], *, quick: bool, again: bool = True) -> Verdict:
    """Run a benchmark until its checks are decided.

    Args:
        name: Of the benchmark.
        run: One try.
        quick: Ratios may be worse by `QUICK_SLACK`, absolute figures are not judged.
        again: Whether a missed bar gets more tries.
    """
    verdict = Verdict(name, quick=quick)
    verdict.tries.append(run())
    while again and verdict.undecided():
        verdict.tries.append(run())
    return verdict


def interleave(
    candidates: Mapping[str, Callable[[int], Round]], rounds: int, expected: Mapping[str, str]
) -> dict[str, list[Round]]:
    """Run every candidate once a round.

    Args:
        candidates: By name; called with the number of the round.
        rounds: How many.
        expected: The sums that each must come to.

    Raises:
        SumsDifferError: A candidate came to other sums.
    """
    names = list(candidates)
    done: dict[str, list[Round]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            result = candidates[name](number)
            if result.sums != expected[name]:
                raise SumsDifferError(
                    f"{name}, round {number}: came to {result.sums[:200]}, expected {expected[name][:200]}"
                )
            done[name].append(result)
    return done


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Ours to theirs: of the medians."""
    return median(ours) / median(theirs)


def figures(name: str, rounds: Sequence[Round], note: str = "") -> tuple[Figure, Figure]:
    """The two rows of a candidate."""
    return (
        Figure(f"{name}: CPU", "µs/event", tuple(one.cpu_us for one in rounds), note),
        Figure(f"{name}: wall", "µs/event", tuple(one.wall_us for one in rounds)),
    )
