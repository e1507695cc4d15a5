"""Metrics with closed label sets, and exact sums of decimals."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.telemetry.catalogue import DIRECTIONS

_M = TypeVar("_M", Counter, Gauge, Histogram)


class Family(Generic[_M]):
    """A metric with labels: `family(kind, outcome).inc()`. Its children are made at the start, at 0, and held.

    Args:
        metric: The labelled metric.
        values: The closed set of each label, in the labels' order; `other`, where a set has it, takes what it lacks.
        start: The combinations that exist from the start; by default all.
    """

    def __init__(
        self, metric: _M, values: Sequence[Iterable[str]], start: Iterable[tuple[str, ...]] | None = None
    ) -> None:
        self._metric: _M = metric
        self._values = tuple(frozenset(each) for each in values)
        combinations = product(*values) if start is None else start
        self._children: dict[tuple[str | int, ...], _M] = {each: metric.labels(*each) for each in combinations}

    def __call__(self, *values: str | int) -> _M:
        """The child of these label values.

        Raises:
            ValueError: One of them is not in its label's closed set.
        """
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*self._closed(values))
        return child

    labels = __call__

    def _closed(self, values: tuple[str | int, ...]) -> Iterator[str]:
        for value, known in zip(map(str, values), self._values, strict=True):
            if value not in known and "other" not in known:
                raise ValueError(f"{self._metric} has no label value {value!r}; the catalogue names all it can have")
            yield value if value in known else "other"


class Units(Collector):
    """Inventory units by direction, added up as `Decimal` and turned into a float only when they are scraped."""

    def __init__(self, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._sums = dict.fromkeys(DIRECTIONS, Decimal(0))

    def add(self, direction: str, quantity: Decimal) -> None:
        """Count movements of one direction (`in`, `out`, `transfer`); `quantity` is their absolute sum, >= 0.

        Raises:
            ValueError: Another direction, or a negative quantity.
        """
        if direction not in self._sums or quantity < 0:
            raise ValueError(
                f"{self._name}: {direction!r} must be one of {', '.join(DIRECTIONS)}, the quantity 0 or more"
            )
        self._sums[direction] += quantity

    def total(self, direction: str) -> Decimal:
        return self._sums[direction]

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=["direction"])
        for direction, units in self._sums.items():
            family.add_metric([direction], float(units))
        yield family
