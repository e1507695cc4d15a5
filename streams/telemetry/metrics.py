"""The catalogue of what we measure: name, type and meaning of every metric, each label with its closed set of values.

Counted per batch, never per event. No item, order, customer, key or message is ever a label. A `Metrics` owns its
registry, so that tests and several workers in one process never share one. Names are as Prometheus wants them: base
units, `_total` on counters.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors.sap_b1.error_codes import OutcomeClass
from schemas.events import EVENT_TYPES
from schemas.letters import REASONS
from schemas.topics import BY_NAME, FACTS
from streams.config.load import Config

PREFIX = "b1streams_"
KINDS = tuple(EVENT_TYPES)
LETTER_KINDS = (*KINDS, "inbox")
PARKING = tuple(name for name, reason in REASONS.items() if reason.ends_as == "parked")
OWNERS = tuple(sorted({reason.owner for reason in REASONS.values()}))
OPERATIONS = ("login", "logout", "change_set", "read", "post", "ping")
CALL_CODES = ("ok", "http_3xx", "http_4xx", "http_5xx", "not_sent", "no_answer", "cancelled", "other")
CLASSES = tuple(outcome.value for outcome in OutcomeClass)
#: SAP's codes that get a series of their own; those of connectors/sap_b1/error_codes.py.
SAP_CODES = (
    *("301", "-304", "299", "407", "201", "-1", "-10", "-1000", "-1004", "-1029", "-2028", "-2035", "-2039", "-4002"),
    *("-4013", "-4014", "-5002", "-5006", "-6006", "10001153"),
    *("none", "other"),
)
OUTCOMES = ("created", "adopted", "adopted_cancelled", "no_op", "parked", "held", "dead")
CAUSES = ("length", "members", "bytes", "shutdown", "tail")
DIRECTIONS = ("in", "out", "transfer")
#: Topics that the workers' group reads, and so can lag behind.
CONSUMED = (*FACTS, "stock-sealed", "erp-orders", "erp-stock")

_LATENCY_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)  # the freshness promise is 120 s
_CALL_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60)
_LOOP_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)  # the bar is 25 ms, p99
_MEMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
_ATTEMPTS = (1, 2, 3, 5, 10, 20, 50)

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


class SourceMeter:
    """What connectors count; `connectors.base.metrics.ConnectorMetrics`."""

    def __init__(self, events: Family[Counter], looks: Family[Counter], looked_at: Family[Gauge]) -> None:
        self._events, self._looks, self._looked_at = events, looks, looked_at

    def published(self, connector: str, event_type: str, count: int) -> None:
        self._events(connector, event_type, "published").inc(count)

    def no_op(self, connector: str, event_type: str, count: int) -> None:
        self._events(connector, event_type, "no_op").inc(count)

    def refused(self, connector: str, reason: str, count: int) -> None:
        self._events(connector, "any", "refused").inc(count)

    def looked(self, connector: str, idle: bool) -> None:
        self._looks(connector, "idle" if idle else "read").inc()
        self._looked_at(connector).set_to_current_time()

    def failed(self, connector: str, error: str) -> None:
        self._looks(connector, "failed").inc()


class Vitals:
    """Whether this process lives and may take work: what `/healthz` and `/readyz` answer.

    A stage that calls `beat` promises to do so again within the time it names, until it calls `end`. A part that is
    `expected` keeps the process from being ready until it calls `ready`.
    """

    def __init__(self, progress: Gauge, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._monotonic = progress, monotonic
        self._due: dict[str, float] = {}
        self._waits: dict[str, str] = {"start": "has not begun"}

    def beat(self, stage: str, within_s: float = 60) -> None:
        """The stage has moved, or has looked and found nothing to do."""
        self._due[stage] = self._monotonic() + within_s
        self._progress.labels(stage).set_to_current_time()

    def end(self, stage: str) -> None:
        self._due.pop(stage, None)

    def expect(self, part: str, why: str = "is starting") -> None:
        """Not ready because of this part, also when it was ready before."""
        self._waits.pop("start", None)
        self._waits[part] = why

    def ready(self, part: str) -> None:
        self._waits.pop(part, None)

    def stalled(self) -> list[str]:
        """Stages that have not moved for longer than they promised."""
        now = self._monotonic()
        return sorted(stage for stage, due in self._due.items() if due < now)

    def waiting(self) -> dict[str, str]:
        """What keeps us from taking work, by part; empty: nothing."""
        return dict(self._waits)


class Metrics:
    """Every metric of one process; see the help texts below for their meaning.

    Args:
        config: Closes the sets of companies, sources, topics and partitions.

    Attributes:
        registry: What `/metrics` shows.
        vitals: What `/healthz` and `/readyz` show.
        sources: The connectors' side of it.
    """

    def __init__(self, config: Config) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there; a series more for every counter, which nothing reads
        self.registry = CollectorRegistry()
        companies, sources = tuple(config.companies), tuple(config.connectors)
        parts = {"facts": config.kafka.partitions, "companies": config.kafka.company_partitions, "one": 1}
        sizes = {topic: parts[BY_NAME[topic].partitions] for topic in CONSUMED}
        places = [(topic, str(number)) for topic, size in sizes.items() for number in range(size)]
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        # Sources
        self.sources = SourceMeter(
            counter(
                "source_events_total",
                "What connectors read, by what became of it",
                source=sources,
                kind=(*KINDS, "any"),
                result=("published", "no_op", "refused"),
            ),
            counter("source_looks_total", "Looks at a source", source=sources, result=("read", "idle", "failed")),
            gauge("source_last_look_timestamp_seconds", "Unix time of the last look that succeeded", source=sources),
        )

        # Consuming
        self.events_consumed = counter("events_consumed_total", "Events taken from the facts' topics", kind=KINDS)
        self.events_deduplicated = counter("events_deduplicated_total", "Repeats recognised in the window", kind=KINDS)
        self.events_quarantined = counter(
            "events_quarantined_total", "Events refused before the company's queue", kind=KINDS, reason=REASONS
        )
        self.decode_errors = counter(
            "decode_errors_total",
            "Records that cannot be read",
            topic=CONSUMED,
            reason=("unreadable", "unknown_schema"),
        )
        self.consumer_lag = Family(
            Gauge(
                f"{PREFIX}consumer_lag_records",
                "Records behind the committed offset's end, where this process owns the partition",
                ["topic", "partition"],
                registry=self.registry,
            ),
            [CONSUMED, {number for _, number in places}],
            places,
        )
        self.oldest_unposted_age = gauge(
            "oldest_unposted_event_age_seconds",
            "Age of the oldest event not yet in B1, parked and dead aside",
            kind=KINDS,
        )
        self.partitions_assigned = gauge("partitions_assigned", "Partitions this process owns", topic=CONSUMED)
        self.topic_partitions = gauge("topic_partitions", "Partitions the topic has", topic=CONSUMED)
        for topic, size in sizes.items():
            self.topic_partitions(topic).set(size)
        self.rebalances = Counter(f"{PREFIX}rebalances_total", "Assignments of partitions", registry=self.registry)
        self.offset_commits = counter("offset_commits_total", "Commits of watermarks", result=("ok", "refused"))
        self.intake_paused = gauge("intake_paused", "1 while a company's intake waits for B1", company=companies)

        # Windows
        self.window_open_events = self._plain_gauge("window_open_events", "Events in windows that are not yet sealed")
        self.window_oldest_open = self._plain_gauge("window_oldest_open_seconds", "Age of the oldest open window")
        self.window_length = self._plain_gauge(
            "window_length_seconds", "Configured length, the shortest of the companies'"
        )
        self.window_length.set(min((each.window.length_s for each in config.companies.values()), default=0))
        self.epochs_sealed = counter("window_epochs_sealed_total", "Windows sealed and accepted", reason=CAUSES)
        self.seals_rejected = Counter(
            f"{PREFIX}window_seals_rejected_total", "Seals that another writer beat", registry=self.registry
        )
        self.window_members = Histogram(
            f"{PREFIX}window_members", "Events of one sealed window", buckets=_MEMBERS, registry=self.registry
        )
        self.batches = counter(
            "batches_total", "Stock batches settled", result=("posted", "net_zero", "no_op", "parked", "dead")
        )
        self.units_sealed = self._units(
            "stock_units_sealed_total", "Units of sealed batches, each netted in its window"
        )
        self.units_posted = self._units(
            "stock_units_posted_total", "Units of batches whose document stands in B1, the same way"
        )

        # B1
        self.erp_requests = counter(
            "erp_requests_total", "Calls of the Service Layer", operation=OPERATIONS, code=CALL_CODES
        )
        self.erp_request_duration = histogram(
            "erp_request_duration_seconds", "Time of a call", _CALL_S, operation=OPERATIONS
        )
        self.erp_errors = Family(
            Counter(
                f"{PREFIX}erp_errors_total",
                "Refusals and losses by what they mean and what SAP calls them",
                ["operation", "class", "sap_code"],
                registry=self.registry,
            ),
            [OPERATIONS, CLASSES, SAP_CODES],
            product(("change_set",), CLASSES, ("none",)),
        )
        self.erp_inflight_requests = self._plain_gauge("erp_inflight_requests", "Writes under way")
        self.erp_sessions_active = gauge("erp_sessions_active", "Sessions logged in", company=companies)
        self.erp_sessions_limit = gauge("erp_sessions_limit", "Sessions we may hold", company=companies)
        self.idempotency_tier = gauge(
            "erp_idempotency_tier",
            "How doubles are kept out: 1 claim, 2 guard, 3 look-up; 0 not proved yet",
            company=companies,
        )
        for name, company in config.companies.items():
            self.erp_sessions_limit(name).set(company.session_limit)

        # Lanes
        self.lanes_active = gauge("item_lanes_active", "Lanes with work", company=companies)
        self.lanes_blocked = gauge("item_lanes_blocked", "Lanes in which somebody waits", company=companies)
        self.lane_blocked_oldest = gauge(
            "item_lane_blocked_oldest_seconds", "Longest wait for a lock", company=companies
        )
        self.lane_wait = Histogram(
            f"{PREFIX}item_lane_wait_seconds",
            "Wait of a posting for its lanes",
            buckets=_LATENCY_S,
            registry=self.registry,
        )

        # Outcomes
        self.postings = counter("postings_total", "Postings settled", kind=KINDS, outcome=OUTCOMES)
        self.posting_latency = histogram(
            "posting_latency_seconds", "From the fact's append to its outcome", _LATENCY_S, kind=KINDS
        )
        self.posting_attempts = histogram("posting_attempts", "Tries of one posting", _ATTEMPTS, kind=KINDS)
        self.ambiguous_postings = gauge("ambiguous_postings", "Writes whose end is not known", kind=KINDS)
        self.ambiguous_oldest = gauge("ambiguous_posting_oldest_seconds", "Age of the oldest of them", kind=KINDS)
        self.ambiguous_resolutions = counter(
            "ambiguous_resolutions_total", "How they ended", resolution=("applied", "exists", "rejected", "not_sent")
        )
        self.retries = counter("retries_total", "Postings tried again", kind=KINDS, **{"class": CLASSES})
        self.parked_events = gauge("parked_events", "Events that wait", kind=KINDS, reason=PARKING)
        self.parked_oldest = gauge("parked_oldest_seconds", "Longest wait among them", kind=KINDS, reason=PARKING)

        # Dead letters
        self.dead_letters = counter("dead_letters_total", "Dead letters written", kind=LETTER_KINDS, reason=REASONS)
        self.dead_letters_open = gauge(
            "dead_letters_open", "Dead letters that a person must mend", kind=LETTER_KINDS, owner=OWNERS
        )
        self.dead_letter_oldest = gauge(
            "dead_letter_oldest_seconds", "Age of the oldest of them", kind=LETTER_KINDS, owner=OWNERS
        )
        self.dlq_write_failures = Counter(
            f"{PREFIX}dlq_write_failures_total", "Dead letters the broker did not take", registry=self.registry
        )

        # The process
        self.event_loop_lag = Histogram(
            f"{PREFIX}event_loop_lag_seconds",
            "How late the loop wakes a timer",
            buckets=_LOOP_S,
            registry=self.registry,
        )
        self.vitals = Vitals(
            Gauge(
                f"{PREFIX}last_progress_timestamp_seconds",
                "Unix time when a stage last moved",
                ["stage"],
                registry=self.registry,
            )
        )
        self._info("build_info", "This program", version=_own_version(), python=platform.python_version())
        self._info("config_info", "The configuration in force", version=config.version)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def erp_call(self, operation: str, code: str, seconds: float) -> None:
        """One call of the Service Layer; `connectors.sap_b1.session.OnCall`."""
        self.erp_requests(operation, code).inc()
        self.erp_request_duration(operation).observe(seconds)

    def expose(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, **labels: Iterable[str]) -> Family[Counter]:
        return Family(Counter(PREFIX + name, meaning, list(labels), registry=self.registry), list(labels.values()))

    def _gauge(self, name: str, meaning: str, **labels: Iterable[str]) -> Family[Gauge]:
        return Family(Gauge(PREFIX + name, meaning, list(labels), registry=self.registry), list(labels.values()))

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], **labels: Iterable[str]
    ) -> Family[Histogram]:
        metric = Histogram(PREFIX + name, meaning, list(labels), buckets=buckets, registry=self.registry)
        return Family(metric, list(labels.values()))

    def _plain_gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(PREFIX + name, meaning, registry=self.registry)

    def _units(self, name: str, meaning: str) -> Units:
        units = Units(PREFIX + name, meaning)
        self.registry.register(units)
        return units

    def _info(self, name: str, meaning: str, **labels: str) -> None:
        Gauge(PREFIX + name, meaning, list(labels), registry=self.registry).labels(*labels.values()).set(1)


def _own_version() -> str:
    try:
        return version("b1-streams")
    except PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
