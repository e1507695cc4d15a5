"""A dead letter: its id, its headers, and the closed list of reasons with owner, rank and what fixes it (contract section 6)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.letter_bounds import short
from schemas.records import DeadLetterState, Header


@dataclass(frozen=True, slots=True)
class Reason:
    name: str
    ends_as: Literal["dead", "parked"]
    owner: str
    impact: str
    remedy: str
    holds: bool = True  # whether later events of the same order wait for it


_ROWS = (
    Reason("unreadable", "dead", "integration", "one event is missing in B1", "the source; edited replay", holds=False),
    Reason("invalid_event", "dead", "integration", "one event is missing in B1", "the source; edited replay"),
    Reason("unknown_schema", "dead", "integration", "events of a newer producer wait", "the source; edited replay", holds=False),
    Reason("poison", "dead", "integration", "one event is missing in B1", "the source; edited replay"),
    Reason("id_reuse", "dead", "integration", "a source used an id twice with different content", "a decision", holds=False),
    Reason("key_conflict", "dead", "integration", "a claim of another kind has this key", "a decision", holds=False),
    Reason("too_old", "dead", "operations", "a stock movement older than the horizon is not counted", "a decision", holds=False),
    Reason("unmapped_location", "dead", "operations", "goods of an unknown place", "companies.*.warehouses or connectors.*.locations"),
    Reason("unmapped_item", "dead", "merchandising", "an order or movement of an unknown sku", "companies.*.items"),
    Reason("unmapped_tax_code", "dead", "finance", "an order cannot be taxed", "companies.*.tax.codes"),
    Reason("unmapped_carrier", "dead", "operations", "a dispatch is not in B1, its invoice waits", "companies.*.shipping_types"),
    Reason("location_not_owned", "dead", "operations", "a count from a system that does not own it", "companies.*.warehouses.*.owner"),
    Reason("customer_incomplete", "dead", "customer service", "an order is not in B1", "edited replay, or master data"),
    Reason("address_incomplete", "dead", "customer service", "an order is not in B1", "edited replay, or master data"),
    Reason("total_mismatch", "dead", "finance", "an order or refund is not in B1", "a decision; edited replay"),
    Reason("over_delivered", "dead", "operations", "more was dispatched than ordered", "a decision; edited replay"),
    Reason("over_cancelled", "dead", "customer service", "more was cancelled than is open", "a decision; edited replay"),
    Reason("over_credited", "dead", "finance", "more was refunded than invoiced", "a decision; edited replay"),
    Reason("batch_or_serial_missing", "dead", "operations", "a traced item moved without its numbers", "a decision; edited replay"),
    Reason("not_permitted", "dead", "platform", "B1 refuses our user", "B1's settings"),
    Reason("erp_refused", "dead", "operations", "B1 refuses a document", "B1's settings"),
    Reason("erp_cannot", "dead", "platform", "B1 breaks on this document while others pass", "B1's log, its notification procedures; then replay"),
    Reason("foreign", "dead", "platform", "a record of another company, or none of ours", "the configuration; a decision"),
    Reason("order_not_found", "parked", "operations", "a later event waits for its order", "the outcome of the order"),
    Reason("invoice_not_found", "parked", "finance", "a refund waits for its invoice", "the outcome of the invoice"),
    Reason("unknown_item", "parked", "merchandising", "orders or movements of an item wait", "the item, valid in B1"),
    Reason("inactive_item", "parked", "merchandising", "orders or movements of an item wait", "the item, valid in B1"),
    Reason("item_frozen", "parked", "operations", "orders or movements of an item wait for its stock count", "the end of the count in B1"),
    Reason("period_closed", "parked", "finance", "documents of a closed period wait", "the period"),
    Reason("rate_missing", "parked", "finance", "documents in a foreign currency wait", "the exchange rate in B1"),
    Reason("negative_stock", "parked", "operations", "an issue exceeds the stock in B1", "the stock"),
    Reason("approval_required", "parked", "finance", "B1 made a draft that somebody must approve", "the approval"),
    Reason("item_locked", "parked", "operations", "somebody holds the item open in B1", "the item"),
    Reason("channel_refused", "dead", "integration", "a channel has not what B1 says", "the channel's settings; master data", holds=False),
    Reason("format_refused", "dead", "merchandising", "a channel has not what B1 says", "the field in B1 that the error names", holds=False),
    Reason("order_incomplete", "parked", "customer service", "a released order is not with the warehouse", "the fields in B1 that the error names", holds=False),
)  # fmt: skip
REASONS: Mapping[str, Reason] = {row.name: row for row in _ROWS}

RANKS: Mapping[str, int] = {"order_placed": 0, "order_cancelled": 1, "dispatch_confirmed": 1, "refund_issued": 2}


def holds(reason: str) -> bool:
    """Whether later events of the same order wait; a reason that only a newer version knows holds."""
    row = REASONS.get(reason)
    return row is None or row.holds


#: On a record that was published again in place of a refused one: the id of its dead letter, which it keeps.
REPLAY_HEADER = "b1streams.replay_of"
#: Beside it: how often that has happened.
REPUBLISHED_HEADER = "b1streams.republished"

OPEN_STATES = frozenset({"dead", "parked", "held"})


def letter_id(topic: str, partition: int | str, offset: int | str) -> str:
    """16 characters from the refused record's coordinates, so that a dead letter written twice is one.

    A line of a file has (connector, digest of the file, line number) instead of topic, partition and offset.
    """
    return hashlib.sha256(f"{topic}/{partition}/{offset}".encode()).hexdigest()[:16]


def headers_of(letter: DeadLetterState, original: tuple[Header, ...] = ()) -> list[tuple[str, bytes]]:
    """The dead letter's headers: the record's own, Kafka Connect's and the broker's (KIP-1191) error headers, and ours.

    What never was a record has no headers of KIP-1191: there they name one. No personal data, no secrets.
    """
    of_kafka = letter.partition >= 0
    ours = {
        "__dlq.errors.topic": letter.topic if of_kafka else None,
        "__dlq.errors.partition": str(letter.partition) if of_kafka else None,
        "__dlq.errors.offset": str(letter.offset) if of_kafka else None,
        "__dlq.errors.message": letter.error if of_kafka else None,
        "__connect.errors.topic": letter.topic,
        "__connect.errors.partition": str(letter.partition),
        "__connect.errors.offset": str(letter.offset),
        "__connect.errors.exception.message": letter.error,
        "b1streams.id": letter.id,
        "b1streams.reason": letter.reason,
        "b1streams.state": letter.state,
        "b1streams.owner": letter.owner,
        "b1streams.event_type": letter.event_type,
        "b1streams.event_id": letter.event_id,
        "b1streams.order_id": letter.order_id,
        "b1streams.sku": letter.sku,
        "b1streams.attempts": str(letter.attempts),
        "b1streams.waits_for": letter.waits_for,
        "b1streams.blocked_by": letter.blocked_by,
        "b1streams.first_failed_at": letter.first_failed_at.isoformat(),
    }
    kept = [(header.name, header.value) for header in original if header.name not in ours]
    return kept + [(name, text.encode()) for name, value in ours.items() if (text := short(value)) is not None]
