"""The catalogue of what we measure, one row a metric: name, type, unit, labels with their closed sets, meaning, owner.

Counted per batch, never per event. No item, order, customer, key or message is ever a label. Names are as Prometheus
wants them: base units, `_total` on counters. `streams.telemetry.metrics.Metrics` is made from these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, get_args

from connectors.base.sink import EffectType
from connectors.sap_b1.error_codes import OutcomeClass
from schemas.components import HOLD_REASONS
from schemas.components import KINDS as COMPONENT_KINDS
from schemas.events import EVENT_TYPES
from schemas.letters import REASONS
from schemas.readings import READING_TYPES
from schemas.topics import CONSUMED

PREFIX = "b1streams_"
KINDS = tuple(EVENT_TYPES)
DEAD_LETTER_KINDS = (*KINDS, "inbox")
PARKING = tuple(name for name, reason in REASONS.items() if reason.ends_as == "parked")
OWNERS = tuple(sorted({reason.owner for reason in REASONS.values()}))
OPERATIONS = ("login", "logout", "change_set", "read", "post", "ping")
CALL_CODES = ("ok", "http_3xx", "http_4xx", "http_5xx", "not_sent", "no_answer", "cancelled", "other")
CLASSES = tuple(outcome.value for outcome in OutcomeClass)
#: SAP's codes that get a series of their own; those of connectors/sap_b1/error_codes.py.
SAP_CODES = (
    *("301", "-304", "299", "407", "201", "-1", "-10", "-1000", "-1004", "-1029", "-2028", "-2035", "-2039", "-4002"),
    *("-4013", "-4014", "-5002", "-5006", "-6006", "-1116"),
    *("none", "other"),
)
OUTCOMES = ("created", "adopted", "adopted_cancelled", "no_op", "parked", "held", "dead")
CAUSES = ("length", "members", "bytes", "shutdown", "tail")
DIRECTIONS = ("in", "out", "transfer")
STAGES = ("worker", "connect")

LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)  # the freshness promise is 120 s
CALL_BUCKETS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60)
LOOP_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)  # the bar is 25 ms, p99
MEMBER_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
ATTEMPT_BUCKETS = (1, 2, 3, 5, 10, 20, 50)


class Configured(Enum):
    """Label sets that the configuration, or this process, closes."""

    COMPANIES = "companies"
    SOURCES = "sources"
    RECEIVERS = "connectors that receive"
    TARGETS = "targets of notices"
    PARTITIONS = "partitions"  # of the topic beside it
    COMPONENTS = "companies, connectors, targets of notices, kafka, and topic/partition"
    BUILD_VERSION = "version of this program"
    PYTHON_VERSION = "version of Python"
    CONFIG_VERSION = "version of the configuration"


LabelSet = tuple[str, ...] | Configured
Owner = Literal["platform", "operations", "integration"]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric.

    Attributes:
        attribute: Its name in `Metrics`.
        name: Its name for Prometheus, without `PREFIX`.
        type: `units`: a counter of exact decimals by direction.
        unit: What one of it is.
        owner: Who watches it, and acts.
        meaning: Its help text.
        labels: The closed set of each, in order; `other`, where a set has it, takes what it lacks.
        first: For some labels, the values whose series exist from the start; by default all of every label.
        buckets: Upper bounds of a histogram.
    """

    attribute: str
    name: str
    type: Literal["counter", "gauge", "histogram", "units"]
    unit: str
    owner: Owner
    meaning: str
    labels: Mapping[str, LabelSet] = field(default_factory=dict)
    first: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


_KIND, _COMPANY, _TOPIC = {"kind": KINDS}, {"company": Configured.COMPANIES}, {"topic": CONSUMED}
_TARGET = {"target": Configured.TARGETS}
_SOURCE = {"source": Configured.SOURCES}
_PARKED = {**_KIND, "reason": PARKING}
_BY_OWNER = {"kind": DEAD_LETTER_KINDS, "owner": OWNERS}
_ERP_ERROR = {"operation": OPERATIONS, "class": CLASSES, "sap_code": SAP_CODES}
_DIRECTION = {"direction": DIRECTIONS}
_READ: dict[str, LabelSet] = {
    **_SOURCE,
    "kind": (*KINDS, *READING_TYPES, "any"),
    "result": ("published", "no_op", "refused"),
}
_TOLD: dict[str, LabelSet] = {
    "connector": Configured.RECEIVERS,
    "type": get_args(EffectType),
    "result": ("sent", "refused"),
}

# fmt: off
CATALOGUE: tuple[MetricRow, ...] = (
    # Sources
    MetricRow("source_events", "source_events_total", "counter", "events", "integration",
              "What connectors read, by what became of it", _READ, first={"kind": (*KINDS, "any")}),
    MetricRow("source_looks", "source_looks_total", "counter", "looks", "integration",
              "Looks at a source", {**_SOURCE, "result": ("read", "idle", "failed")}),
    MetricRow("source_last_look", "source_last_look_timestamp_seconds", "gauge", "Unix seconds", "integration",
              "Unix time of the last look that succeeded", _SOURCE),
    MetricRow("channel_effects", "channel_effects_total", "counter", "effects", "integration",
              "What channels were told of B1, by what became of it", _TOLD),

    # Consuming
    MetricRow("events_consumed", "events_consumed_total", "counter", "events", "platform",
              "Events taken from the facts' topics", _KIND),
    MetricRow("events_deduplicated", "events_deduplicated_total", "counter", "events", "platform",
              "Repeats recognised in the window", _KIND),
    MetricRow("events_quarantined", "events_quarantined_total", "counter", "events", "integration",
              "Events refused before the company's queue", {**_KIND, "reason": tuple(REASONS)}),
    MetricRow("decode_errors", "decode_errors_total", "counter", "records", "integration",
              "Records that cannot be read", {**_TOPIC, "reason": ("unreadable", "unknown_schema")}),
    MetricRow("consumer_lag", "consumer_lag_records", "gauge", "records", "platform",
              "Records behind the committed offset's end, where this process owns the partition",
              {**_TOPIC, "partition": Configured.PARTITIONS}),
    MetricRow("oldest_unposted_age", "oldest_unposted_event_age_seconds", "gauge", "seconds", "platform",
              "Age of the oldest event not yet in B1, parked and dead aside", _KIND),
    MetricRow("partitions_assigned", "partitions_assigned", "gauge", "partitions", "platform",
              "Partitions this process owns", _TOPIC),
    MetricRow("topic_partitions", "topic_partitions", "gauge", "partitions", "platform",
              "Partitions the topic has", _TOPIC),
    MetricRow("rebalances", "rebalances_total", "counter", "assignments", "platform",
              "Assignments of partitions"),
    MetricRow("offset_commits", "offset_commits_total", "counter", "commits", "platform",
              "Commits of watermarks", {"result": ("ok", "refused")}),
    MetricRow("intake_paused", "intake_paused", "gauge", "0 or 1", "platform",
              "1 while a company's intake waits for B1", _COMPANY),

    # Windows
    MetricRow("window_open_events", "window_open_events", "gauge", "events", "platform",
              "Events in windows that are not yet sealed"),
    MetricRow("window_oldest_open", "window_oldest_open_seconds", "gauge", "seconds", "platform",
              "Age of the oldest open window"),
    MetricRow("window_length", "window_length_seconds", "gauge", "seconds", "platform",
              "Configured length, the shortest of the companies'"),
    MetricRow("epochs_sealed", "window_epochs_sealed_total", "counter", "epochs", "platform",
              "Windows sealed and accepted", {"reason": CAUSES}),
    MetricRow("seals_rejected", "window_seals_rejected_total", "counter", "epochs", "platform",
              "Seals that another writer beat"),
    MetricRow("window_members", "window_members", "histogram", "events", "platform",
              "Events of one sealed window", buckets=MEMBER_BUCKETS),
    MetricRow("batches", "batches_total", "counter", "batches", "platform",
              "Stock batches settled", {"result": ("posted", "net_zero", "no_op", "parked", "dead")}),
    MetricRow("units_sealed", "stock_units_sealed_total", "units", "inventory units", "operations",
              "Units of sealed batches, each netted in its window", _DIRECTION),
    MetricRow("units_posted", "stock_units_posted_total", "units", "inventory units", "operations",
              "Units of batches whose document stands in B1, the same way", _DIRECTION),

    # B1
    MetricRow("erp_requests", "erp_requests_total", "counter", "calls", "platform",
              "Calls of the Service Layer", {"operation": OPERATIONS, "code": CALL_CODES}),
    MetricRow("erp_request_duration", "erp_request_duration_seconds", "histogram", "seconds", "platform",
              "Time of a call", {"operation": OPERATIONS}, buckets=CALL_BUCKETS_S),
    MetricRow("erp_errors", "erp_errors_total", "counter", "calls", "platform",
              "Refusals and losses by what they mean and what SAP calls them", _ERP_ERROR,
              first={"operation": ("change_set",), "sap_code": ("none",)}),
    MetricRow("erp_inflight_requests", "erp_inflight_requests", "gauge", "calls", "platform",
              "Writes under way"),
    MetricRow("erp_sessions_active", "erp_sessions_active", "gauge", "sessions", "platform",
              "Sessions logged in", _COMPANY),
    MetricRow("erp_sessions_limit", "erp_sessions_limit", "gauge", "sessions", "platform",
              "Sessions we may hold", _COMPANY),
    MetricRow("idempotency_tier", "erp_idempotency_tier", "gauge", "tier", "platform",
              "How doubles are kept out: 1 claim, 2 guard, 3 look-up; 0 not proved yet", _COMPANY),

    # Lanes
    MetricRow("lanes_active", "item_lanes_active", "gauge", "lanes", "platform",
              "Lanes with work", _COMPANY),
    MetricRow("lanes_blocked", "item_lanes_blocked", "gauge", "lanes", "platform",
              "Lanes in which somebody waits", _COMPANY),
    MetricRow("lane_blocked_oldest", "item_lane_blocked_oldest_seconds", "gauge", "seconds", "platform",
              "Longest wait for a lock", _COMPANY),
    MetricRow("lane_wait", "item_lane_wait_seconds", "histogram", "seconds", "platform",
              "Wait of a posting for its lanes", buckets=LATENCY_BUCKETS_S),

    # Outcomes
    MetricRow("postings", "postings_total", "counter", "postings", "operations",
              "Postings settled", {**_KIND, "outcome": OUTCOMES}),
    MetricRow("posting_latency", "posting_latency_seconds", "histogram", "seconds", "platform",
              "From the fact's append to its outcome", _KIND, buckets=LATENCY_BUCKETS_S),
    MetricRow("posting_attempts", "posting_attempts", "histogram", "tries", "platform",
              "Tries of one posting", _KIND, buckets=ATTEMPT_BUCKETS),
    MetricRow("ambiguous_postings", "ambiguous_postings", "gauge", "postings", "platform",
              "Writes whose end is not known", _KIND),
    MetricRow("ambiguous_oldest", "ambiguous_posting_oldest_seconds", "gauge", "seconds", "platform",
              "Age of the oldest of them", _KIND),
    MetricRow("ambiguous_resolutions", "ambiguous_resolutions_total", "counter", "postings", "platform",
              "How they ended", {"resolution": ("applied", "exists", "rejected", "not_sent")}),
    MetricRow("retries", "retries_total", "counter", "tries", "platform",
              "Postings tried again", {**_KIND, "class": CLASSES}),
    MetricRow("parked_events", "parked_events", "gauge", "events", "operations",
              "Events that wait", _PARKED),
    MetricRow("parked_oldest", "parked_oldest_seconds", "gauge", "seconds", "operations",
              "Longest wait among them", _PARKED),

    # Dead letters
    MetricRow("dead_letters", "dead_letters_total", "counter", "dead letters", "operations",
              "Dead letters written", {"kind": DEAD_LETTER_KINDS, "reason": tuple(REASONS)}),
    MetricRow("dead_letters_open", "dead_letters_open", "gauge", "dead letters", "operations",
              "Dead letters that a person must resolve", _BY_OWNER),
    MetricRow("dead_letter_oldest", "dead_letter_oldest_seconds", "gauge", "seconds", "operations",
              "Age of the oldest of them", _BY_OWNER),
    MetricRow("dlq_write_failures", "dlq_write_failures_total", "counter", "dead letters", "platform",
              "Dead letters the broker did not take"),

    # Notices
    MetricRow("notices_delivered", "notices_delivered_total", "counter", "notices", "platform",
              "Notices that a target has taken", _TARGET),
    MetricRow("notices_undelivered", "notices_undelivered", "gauge", "notices", "platform",
              "Notices read and not yet delivered: grouped, or the target is down", _TARGET),
    MetricRow("notices_given_up", "notices_given_up_total", "counter", "notices", "platform",
              "Notices that a target has refused, or could not be told in time", _TARGET),

    # The process
    MetricRow("event_loop_lag", "event_loop_lag_seconds", "histogram", "seconds", "platform",
              "How late the loop wakes a timer", buckets=LOOP_BUCKETS_S),
    MetricRow("last_progress", "last_progress_timestamp_seconds", "gauge", "Unix seconds", "platform",
              "Unix time when a stage last moved", {"stage": STAGES}, first={"stage": ()}),
    MetricRow("component_held", "component_held", "gauge", "0 or 1", "platform",
              "1 while a company, connector or partition is away or held for this reason",
              {"kind": COMPONENT_KINDS, "name": Configured.COMPONENTS, "reason": tuple(HOLD_REASONS)},
              first={"kind": ()}),
    MetricRow("build_info", "build_info", "gauge", "always 1", "platform",
              "This program", {"version": Configured.BUILD_VERSION, "python": Configured.PYTHON_VERSION}),
    MetricRow("config_info", "config_info", "gauge", "always 1", "platform",
              "The configuration in force", {"version": Configured.CONFIG_VERSION}),
)
# fmt: on
