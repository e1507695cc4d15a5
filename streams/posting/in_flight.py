"""A posting in flight, and the values that its run ends with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from connectors.base.errors import Refusal
from schemas.events import EVENT_TYPES, OrderEvent
from schemas.records import DeadLetterState, Document, LetterCommand, Posting, StockBatch
from streams.dead_letters.publisher import Refused
from streams.posting.lifecycle import COUNTED_AS, State, Trigger, follow

#: What a posting of each kind carries.
KINDS: Mapping[str, Any] = {**EVENT_TYPES, "stock_batch": StockBatch}
Ending = Literal["posted", "no_op"]
#: Called once: how the occurrence ended, or None where its dead letter's state says it.
Finish = Callable[[Ending | None], None]

_OUTCOMES = {Trigger.CREATED: "created", Trigger.ADOPTED: "adopted"}


@dataclass(frozen=True, slots=True)
class Ended:
    """B1 has it, or there is nothing to do.

    Attributes:
        trigger: CREATED, ADOPTED, FOUND_OTHERS or NOTHING_TO_DO.
        documents: What it became.
        cancelled: Its document was cancelled in B1 since.
    """

    trigger: Trigger
    documents: tuple[Document, ...] = ()
    cancelled: bool = False

    @property
    def ending(self) -> Ending:
        return "posted" if COUNTED_AS[follow(State.IN_FLIGHT, self.trigger).to] == "posted" else "no_op"

    @property
    def outcome(self) -> str:
        """As the outcome log has it: created, adopted, adopted_cancelled or no_op."""
        outcome = _OUTCOMES.get(self.trigger, "no_op")
        return f"{outcome}_cancelled" if self.cancelled and self.trigger is Trigger.ADOPTED else outcome


@dataclass(frozen=True, slots=True)
class Held:
    """An earlier event of its order is open."""

    blocker: DeadLetterState


@dataclass(frozen=True, slots=True)
class NotFound:
    """B1 does not have the event of a dead letter, or not all of it."""


Result = Ended | Held | NotFound | Refusal


@dataclass(slots=True, eq=False)
class InFlightPosting:
    """A posting that is admitted and has not ended; K is admitted once (architecture section 15.2).

    Attributes:
        sequence: The posting's place in the company's queue (`admission.sequence_of`); a cancellation's, where its
            barrier let it pass.
        letter: Its dead letter, where it comes out of one.
        again: It lies where something was admitted before: routed twice, and then it counts nothing. Should B1 not have
            it after all, it is not the same one, and counts.
        followers: Finish what came again under its K; called when it has ended.
        only_look: B1 has a claim of it though it is dead or held: it is taken over if all of it is there, and never
            sent.
        command: Of the person who has its dead letter tried again.
    """

    posting: Posting
    event: OrderEvent | StockBatch
    finish: Finish
    sequence: int
    letter: DeadLetterState | None = None
    only_look: bool = False
    again: bool = False
    followers: list[Callable[[], None]] = field(default_factory=list)
    attempts: int = 0
    command: LetterCommand | None = None

    @property
    def k(self) -> str:
        return self.posting.k

    @property
    def state(self) -> State:
        return State(self.letter.state) if self.letter is not None and self.only_look else State.IN_FLIGHT

    @property
    def origin(self) -> str:
        """Which occurrence this is: goes into the claim, so that a redelivery is told from a source's repeat."""
        return origin_of(self.posting)

    @property
    def event_ids(self) -> tuple[str, ...]:
        return self.event.event_ids if isinstance(self.event, StockBatch) else (self.event.event_id,)


def refused(
    posting: Posting,
    event: OrderEvent | StockBatch,
    *,
    reason: str,
    state: State,
    error: str,
    company: str,
    sequence: int,
) -> Refused:
    """A posting as the event that it carries, for its dead letter; it names no order and no K."""
    batch = event if isinstance(event, StockBatch) else None
    return Refused(
        reason=reason,
        state=state.value,
        error=error,
        event_type=posting.kind,
        company=company,
        topic=posting.topic,
        partition=posting.partition,
        offset=posting.offset,
        index=posting.index,
        log=posting.log,
        timestamp_ms=posting.timestamp_ms,
        key=posting.key,
        value=posting.value,
        headers=posting.headers,
        source=posting.source,
        event_id=None if isinstance(event, StockBatch) else event.event_id,
        members=batch.event_ids if batch else (),
        sku=batch.sku if batch else None,
        sequence=sequence,
    )


def origin_of(posting: Posting) -> str:
    return _origin(posting.topic, posting.partition, posting.offset, posting.log)


def origin_of_letter(letter: DeadLetterState) -> str:
    """As `origin_of` of the posting that it was."""
    return _origin(letter.topic, letter.partition, letter.offset, letter.log)


def _origin(topic: str, partition: int, offset: int, log: int) -> str:
    return f"1 {topic}/{partition}.{log}/{offset}" if log else f"1 {topic}/{partition}/{offset}"
