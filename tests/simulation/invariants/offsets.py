"""I7: no committed offset lies beyond an event without an end."""

from collections.abc import Mapping

from schemas.events import (
    DispatchConfirmed,
    OrderCancelled,
    OrderPlaced,
    RefundIssued,
)
from schemas.letters import letter_id
from schemas.records import NO_OPS, Posting, StockBatch
from schemas.topics import ORDER_FACTS
from streams.chain.keys import invoice_key
from streams.kafka.log import Committed
from tests.simulation.broker import Place
from tests.simulation.invariants.view import View


def _unfinished(view: View, topic: str, partition: int, offset: int) -> str | None:
    if topic in ORDER_FACTS:
        done = (topic, partition, offset, 0) in view.queued or letter_id(topic, partition, offset) in view.letters
        return None if done else "neither queued nor a letter"
    if topic == "stock-adjusted":
        sealed = view.sealed.get(partition)
        end = sealed.accepted[-1][1].end if sealed is not None and sealed.accepted else 0
        done = offset < end or letter_id(topic, partition, offset) in view.letters
        return None if done else f"sealed up to {end}"
    if topic == "stock-sealed":
        return _unrouted(view, partition, offset)
    posting = view.codec.decode(view.broker.partitions[topic, partition].records[offset].value or b"", Posting)
    return _unposted(view, posting)


def _unrouted(view: View, partition: int, offset: int) -> str | None:
    epoch = view.accepted[partition].get(offset)
    if epoch is None:
        return None
    for index in range(len(epoch.batches)):
        if ("stock-sealed", partition, offset, index) not in view.queued:
            return f"batch {index} is not queued"
    for skip in epoch.skipped:
        if skip.why not in NO_OPS and letter_id("stock-adjusted", partition, skip.offset) not in view.letters:
            return f"{skip.why} of offset {skip.offset} has no letter"
    return None


def _unposted(view: View, posting: Posting) -> str | None:
    if posting.k in view.letter_ks:
        return None
    if posting.kind == "stock_batch":
        batch = view.codec.decode(posting.value, StockBatch)
        posted = any(view.is_posted(document.k) for document in view.batch_documents[posting.k])
        return None if posted or not batch.net else f"{posting.k} is in no document that B1 has"
    event = view.codec.decode(posting.value, (OrderPlaced, OrderCancelled, DispatchConfirmed, RefundIssued))
    if posting.k in view.claims:
        if (
            isinstance(event, DispatchConfirmed)
            and invoice_key(event.company, event.source, event.shipment_id) not in view.claims
        ):
            return f"{posting.k} has no invoice"
        return None
    return None if view.may_be_nothing(event) else f"{posting.k} has no claim"


def check_commit(view: View, offsets: Mapping[Place, Committed]) -> None:
    view.look()
    for (topic, partition), at in offsets.items():
        before = view.broker.committed.get((topic, partition))
        start = 0 if before is None else before.offset
        if at.offset < start:
            view.report(f"I7: the commit of {topic}/{partition} goes back from {start} to {at.offset}")
        for offset in range(start, at.offset):
            why = _unfinished(view, topic, partition, offset)
            if why is not None:
                view.report(
                    f"I7: {topic}/{partition} is committed up to {at.offset}, and {offset} is not finished: {why}"
                )
                break
