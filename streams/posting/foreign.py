"""What lies in a queue and is not the company's: kept for a person, never posted (architecture section 15.15). Pure.

A partition that has been given to another company still holds what the first one owes its own B1, and anybody with the
right to write may put anything there.
"""

from collections.abc import Collection

from connectors.base.dead_letters import INBOX
from connectors.base.errors import ConnectorError, Refusal
from schemas.events import OrderEvent
from schemas.records import Header, Posting, StockBatch
from streams.dead_letters.publisher import Refused
from streams.ports import Counts, RawRecord, RecordBatch
from streams.posting.admission import sequence_of
from streams.posting.in_flight import InFlightPosting, refused
from streams.posting.lifecycle import State, Trigger, follow

_QUEUE_OF = "company"
_DEAD = follow(State.NEW, Trigger.NOT_OURS).to


class ForeignQueueError(ConnectorError):
    """The queue was last worked off for another company: nothing of it is taken until a person has decided."""

    hold_reason = "foreign_partition"


def queue_of(company: str) -> Counts:
    """What a commit of `erp-orders` says beside its counts: whose queue it is."""
    return {(_QUEUE_OF, company): 1}


def owners_of(counts: Counts) -> frozenset[str]:
    """Whose queue a partition has been, by what its commits say."""
    return frozenset(owner for key, owner in counts if key == _QUEUE_OF)


def check_queue(company: str, partition: int, counts: Counts, retired: Collection[str] = ()) -> None:
    """Compare the company that a partition is configured for with the one that its commit names.

    Args:
        company: As configured.
        partition: Of the company.
        counts: What the commits of the queues say; one that names nobody is taken over.
        retired: Companies that have been ended on purpose: what is theirs is refused one by one.

    Raises:
        ForeignQueueError: They differ.
    """
    for owner in sorted(owners_of(counts) - {company, *retired}):
        raise ForeignQueueError(
            f"partition {partition} of the company topics holds what company {owner!r} still owes its B1, and the "
            f"configuration gives it to {company!r}: nothing of it is posted. Give {owner!r} its partition back "
            f"(companies.{owner}.partition = {partition}) and {company!r} another one, or end {owner!r} with: "
            f"streams company retire {owner}"
        )


def is_of(company: str, posting: Posting, event: OrderEvent | StockBatch) -> bool:
    """Whether this company's B1 is owed the posting, by what names it and by the event inside."""
    return posting.company == event.company == company


def check(company: str, work: InFlightPosting) -> None:
    """The last look before anything is sent: a dead letter may carry another company's event, too.

    Raises:
        Refusal: `foreign`.
    """
    if not is_of(company, work.posting, work.event):
        raise Refusal("foreign", _error(company, work.event.company, work.posting))


def posting_of_another(company: str, posting: Posting, event: OrderEvent | StockBatch, sequence: int) -> Refused:
    """Another company's posting, as the event that it carries, so that a replay takes it to its own queue.

    `company` is whose queue it lay in; empty: nobody's. `sequence` is its place there (`admission.sequence_of`).

    It names no order and no K: it holds nothing of this company, and is not looked for in this company's B1.
    """
    named = posting.company if posting.company != company else event.company
    error = _error(company, named, posting)
    return refused(posting, event, reason="foreign", state=_DEAD, error=error, company=company, sequence=sequence)


def record_of_nobody(company: str, batch: RecordBatch, record: RawRecord, log: int, error: Exception) -> Refused:
    """A record that none of our routers wrote, in the queue's log of this number."""
    return Refused(
        reason="foreign",
        state=_DEAD.value,
        error=f"not a posting of ours: {type(error).__name__}; find who else writes to {batch.topic}",
        event_type=INBOX,
        company=company,
        topic=batch.topic,
        partition=batch.partition,
        offset=record.offset,
        log=log,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(Header(name=name, value=value or b"") for name, value in record.headers),
        sequence=sequence_of(log, record.offset),
    )


def _error(company: str, named: str, posting: Posting) -> str:
    what = posting.kind if posting.order_id is None else f"{posting.kind} of order {posting.order_id!r}"
    if not company:
        return f"{what} is company {named!r}'s, which is not configured; put it back and replay it, or discard it"
    return (
        f"{what} is company {named!r}'s and lay in the queue of {company!r}; it was not posted. "
        "Give that company its partition back and replay it, or discard it"
    )
