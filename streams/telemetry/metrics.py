"""Every metric of one process, made from the catalogue.

A `Metrics` owns its registry, so that tests and several workers in one process never share one.
"""

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product

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

from connectors.base.clock import Clock, SystemClock
from connectors.base.cursors import out_name
from schemas.topics import CONSUMED
from streams.config.load import Config
from streams.telemetry.catalogue import CATALOGUE, PREFIX, Configured, LabelSet, MetricRow
from streams.telemetry.component_states import ComponentStates
from streams.telemetry.families import Family, Units
from streams.telemetry.vitals import Vitals


class SourceMeter:
    """What connectors count; `connectors.base.metrics.ConnectorMetrics`."""

    def __init__(
        self, events: Family[Counter], looks: Family[Counter], looked_at: Family[Gauge], effects: Family[Counter]
    ) -> None:
        self._events, self._looks, self._looked_at, self._effects = events, looks, looked_at, effects

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

    def delivered(self, connector: str, effect_type: str, outcome: str, count: int) -> None:
        self._effects(connector, effect_type, outcome).inc(count)


class Metrics:
    """One attribute for each row of the catalogue, by its name; a metric with labels is a `Family` of children.

    Args:
        config: Closes the sets of companies, sources, topics and partitions.
        clock: By default the machine's.

    Attributes:
        registry: What `/metrics` shows.
        vitals: What `/healthz` and `/readyz` show.
        components: Which companies, connectors and partitions of this process work.
        sources: The connectors' side of it.
    """

    source_events: Family[Counter]
    source_looks: Family[Counter]
    source_last_look: Family[Gauge]
    channel_effects: Family[Counter]
    events_consumed: Family[Counter]
    events_deduplicated: Family[Counter]
    events_quarantined: Family[Counter]
    decode_errors: Family[Counter]
    consumer_lag: Family[Gauge]
    oldest_unposted_age: Family[Gauge]
    partitions_assigned: Family[Gauge]
    topic_partitions: Family[Gauge]
    rebalances: Counter
    offset_commits: Family[Counter]
    intake_paused: Family[Gauge]
    window_open_events: Gauge
    window_oldest_open: Gauge
    window_length: Gauge
    epochs_sealed: Family[Counter]
    seals_rejected: Counter
    window_members: Histogram
    batches: Family[Counter]
    units_sealed: Units
    units_posted: Units
    erp_requests: Family[Counter]
    erp_request_duration: Family[Histogram]
    erp_errors: Family[Counter]
    erp_inflight_requests: Gauge
    erp_sessions_active: Family[Gauge]
    erp_sessions_limit: Family[Gauge]
    idempotency_tier: Family[Gauge]
    lanes_active: Family[Gauge]
    lanes_blocked: Family[Gauge]
    lane_blocked_oldest: Family[Gauge]
    lane_wait: Histogram
    postings: Family[Counter]
    posting_latency: Family[Histogram]
    posting_attempts: Family[Histogram]
    ambiguous_postings: Family[Gauge]
    ambiguous_oldest: Family[Gauge]
    ambiguous_resolutions: Family[Counter]
    retries: Family[Counter]
    parked_events: Family[Gauge]
    parked_oldest: Family[Gauge]
    dead_letters: Family[Counter]
    dead_letters_open: Family[Gauge]
    dead_letter_oldest: Family[Gauge]
    dlq_write_failures: Counter
    notices_delivered: Family[Counter]
    notices_undelivered: Family[Gauge]
    notices_given_up: Family[Counter]
    event_loop_lag: Histogram
    last_progress: Family[Gauge]
    component_held: Family[Gauge]
    build_info: Family[Gauge]
    config_info: Family[Gauge]

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there; a series more for every counter, which nothing reads
        self.registry = CollectorRegistry()
        sizes = {topic: config.partition_count(topic) for topic in CONSUMED}
        sets = {
            Configured.COMPANIES: tuple(config.companies),
            Configured.SOURCES: tuple(config.connectors),
            Configured.RECEIVERS: tuple(name for name, each in config.connectors.items() if each.out is not None),
            Configured.TARGETS: tuple(config.notices.targets),
            Configured.PARTITIONS: tuple(map(str, range(max(sizes.values())))),
            Configured.COMPONENTS: (
                *config.companies,
                *config.connectors,
                *(out_name(name) for name, each in config.connectors.items() if each.out is not None),
                *config.notices.targets,
                "kafka",
                *(f"{topic}/{number}" for topic, size in sizes.items() for number in range(size)),
            ),
            Configured.BUILD_VERSION: (_own_version(),),
            Configured.PYTHON_VERSION: (platform.python_version(),),
            Configured.CONFIG_VERSION: (config.version,),
        }
        for row in CATALOGUE:
            setattr(self, row.attribute, self._made(row, sets, sizes))

        self.sources = SourceMeter(self.source_events, self.source_looks, self.source_last_look, self.channel_effects)
        self.vitals = Vitals(self.last_progress)
        self.components = ComponentStates(self.component_held, clock or SystemClock())
        for topic, size in sizes.items():
            self.topic_partitions(topic).set(size)
        self.window_length.set(min((each.window.length_s for each in config.companies.values()), default=0))
        for name, company in config.companies.items():
            self.erp_sessions_limit(name).set(company.session_limit)
        self.build_info(_own_version(), platform.python_version()).set(1)
        self.config_info(config.version).set(1)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def erp_call(self, operation: str, code: str, seconds: float) -> None:
        """One call of the Service Layer; `connectors.sap_b1.sessions.OnCall`."""
        self.erp_requests(operation, code).inc()
        self.erp_request_duration(operation).observe(seconds)

    def expose(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _made(
        self, row: MetricRow, sets: Mapping[Configured, tuple[str, ...]], sizes: Mapping[str, int]
    ) -> Units | Counter | Gauge | Histogram | Family[Counter] | Family[Gauge] | Family[Histogram]:
        name, labels = PREFIX + row.name, list(row.labels)
        if row.type == "units":
            units = Units(name, row.meaning)
            self.registry.register(units)
            return units
        values = [_closed(each, sets) for each in row.labels.values()]
        start = _start(row, values, sizes)
        match row.type:
            case "counter":
                counter = Counter(name, row.meaning, labels, registry=self.registry)
                return Family(counter, values, start) if labels else counter
            case "gauge":
                gauge = Gauge(name, row.meaning, labels, registry=self.registry)
                return Family(gauge, values, start) if labels else gauge
            case "histogram":
                histogram = Histogram(name, row.meaning, labels, buckets=row.buckets, registry=self.registry)
                return Family(histogram, values, start) if labels else histogram


def _closed(labels: LabelSet, sets: Mapping[Configured, tuple[str, ...]]) -> tuple[str, ...]:
    return sets[labels] if isinstance(labels, Configured) else labels


def _start(row: MetricRow, values: Sequence[tuple[str, ...]], sizes: Mapping[str, int]) -> Iterable[tuple[str, ...]]:
    """The combinations whose series exist from the start."""
    if Configured.PARTITIONS in row.labels.values():
        return [(topic, str(number)) for topic, size in sizes.items() for number in range(size)]
    return product(*(row.first.get(label, known) for label, known in zip(row.labels, values, strict=True)))


def _own_version() -> str:
    try:
        return version("b1-streams")
    except PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
