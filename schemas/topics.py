"""The one table of topics: who writes what where, and how long it is kept (architecture section 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DAY_MS = 86_400_000
#: How long the companies' queues are kept.
QUEUE_DAYS = 35
_HOUR_MS = 3_600_000
#: What carries another record whole: its 1 MiB, its key and headers, and ours.
_WRAPPED = 2_097_152
FACTS = ("order-placed", "order-cancelled", "dispatch-confirmed", "refund-issued", "stock-adjusted")
ORDER_FACTS = FACTS[:4]
#: What the companies' B1s are owed.
QUEUES = ("erp-orders", "erp-stock")
#: What the workers' group reads, upstream to downstream: `streams status` reads in this order (architecture section
#: 15.13).
CONSUMED = (*FACTS, "stock-sealed", *QUEUES)
#: What B1 says is so: what each is about, and the days after which one that is not said again is forgotten. What still
#: is so is said again within the hour (`connectors/sap_b1/reading`).
READINGS: Mapping[str, tuple[str, int]] = {
    "item-changed": ("item", 14),
    "stock-level": ("item / warehouse", 14),
    "order-status-changed": ("DocEntry", 100),
    "delivery-posted": ("DocEntry", 100),
}


_FLOWS = {"stock_batch": "stock_adjusted", "stock_document": "stock_adjusted", "invoice": "dispatch_confirmed"}


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    value: str  # the schema of its values, see schemas/avro
    key: str
    partitions: Literal["facts", "companies", "one"]
    retention_days: int | Literal["horizon"] | None = None  # None: no time limit; horizon: it, or the queues', and 7
    compact: bool = False
    segment_ms: int | None = None  # compacted this soon; None: as the broker does, and never within a day
    max_message_bytes: int = 1_048_576
    #: Records bear the time at which the broker took them: a cancellation waits for what was published before it, and
    #: two publishers' clocks cannot say that (architecture section 15.3).
    broker_time: bool = False

    def config(self, horizon_days: int) -> dict[str, str]:
        """The broker's settings of this topic, for a dedupe horizon of so many days."""
        # Postings of a queue may come again for as long as it is kept, and are known by what was sealed of them
        days = max(horizon_days, QUEUE_DAYS) + 7 if self.retention_days == "horizon" else self.retention_days
        return {
            "cleanup.policy": "delete" if not self.compact else "compact" if days is None else "compact,delete",
            "retention.ms": "-1" if days is None else str(days * DAY_MS),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime" if self.broker_time else "CreateTime",
            # A state that a paused poster has overwritten is written again by its owner within seconds, if it is still
            # there.
            **({"min.compaction.lag.ms": str(self.segment_ms or DAY_MS)} if self.compact else {}),
            **({"segment.ms": str(self.segment_ms)} if self.segment_ms else {}),
        }


def dead_letter_topic(topic: str) -> str:
    return f"{topic}-dead-letter"


def fact_topic(event_type: str) -> str:
    return event_type.replace("_", "-")


def event_type(topic: str) -> str:
    return topic.replace("-", "_")


def flow_of(kind: str) -> str:
    """The flow, an event type, whose events a posting or document of this kind carries."""
    return _FLOWS.get(kind, kind)


TOPICS: tuple[Topic, ...] = (
    *(Topic(name, event_type(name), "source order id", "facts", 14, broker_time=True) for name in ORDER_FACTS),
    Topic("stock-adjusted", "stock_adjusted", "source sku", "facts", 14),
    Topic("stock-sealed", "sealed_epoch", "input partition", "facts", "horizon", max_message_bytes=4_194_304),
    *(Topic(name, "posting", "company", "companies", QUEUE_DAYS, max_message_bytes=_WRAPPED) for name in QUEUES),
    Topic("erp-documents", "stock_document", "company", "companies", "horizon"),
    Topic("dead-letter-state", "letter_state", "id of the dead letter", "companies", compact=True),
    Topic("erp-outcomes", "outcome", "K", "facts", 400),
    Topic("notices", "notice", "company", "companies", 90),
    Topic("connector-cursors", "cursor", "connector [/ sku / location]", "facts", compact=True),
    Topic("audit", "audit_record", "company", "one", 400),
    Topic("chain-anchors", "anchor", "topic / partition", "one", compact=True),
    Topic("known-logs", "known_log", "topic / partition", "one", compact=True),
    *(
        Topic(name, event_type(name), f"company / {subject}", "companies", days, compact=True)
        for name, (subject, days) in READINGS.items()
    ),
    Topic("delivery-state", "delivery_state", "connector / subject", "facts", compact=True),
    Topic("component-state", "component_state", "kind / name", "one", compact=True, segment_ms=_HOUR_MS),
    *(
        Topic(dead_letter_topic(name), event_type(name), "as the original", "facts", max_message_bytes=_WRAPPED)
        for name in FACTS
    ),
    Topic("erp-stock-dead-letter", "stock_batch", "company", "companies", max_message_bytes=_WRAPPED),
    Topic("inbox-dead-letter", "bytes", "connector", "one", max_message_bytes=_WRAPPED),
)
BY_NAME = {topic.name: topic for topic in TOPICS}
