"""How postings end: counted, or in a dead letter, once, with everybody who follows.

Returns the order whose waiting events may go on.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from connectors.base.errors import Refusal
from schemas.letters import REASONS
from schemas.records import Attempt, DeadLetterState, Document, Outcome, StockBatch
from schemas.topics import flow_of
from streams.dead_letters.commands import Action
from streams.ports import Ports
from streams.posting.admission import AdmittedKeys
from streams.posting.dead_letters import CompanyDeadLetters
from streams.posting.in_flight import Ended, Ending, Held, InFlightPosting, NotFound, Result, origin_of_letter, refused
from streams.posting.lifecycle import State, Trigger, follow
from streams.posting.outcomes import OutcomeLog
from streams.posting.reuse import FirstEvents

#: How many of its last attempts a dead letter names.
_TRIES_KEPT = 10


class Released(NamedTuple):
    """The order of what has ended or changed its state; `ended`: it was posted or a no-op."""

    order_id: str
    ended: bool


class Endings:
    """Ends what is in flight: writes, counts, records the outcome, and lets it go."""

    def __init__(
        self,
        company: str,
        keys: AdmittedKeys,
        dead_letters: CompanyDeadLetters,
        outcomes: OutcomeLog,
        ports: Ports,
    ) -> None:
        self._company, self._keys, self._dead_letters, self._outcomes = company, keys, dead_letters, outcomes
        self._first_events = FirstEvents(ports.log, ports.codec)
        self._clock, self._metrics, self._crash_point = ports.clock, ports.metrics, ports.crash_point

    async def end(self, work: InFlightPosting, result: Result) -> Released | None:
        """End a posting as its run says.

        Returns:
            The order whose waiting events may go on; None where it is of no order.

        Raises:
            LogError: Its dead letter cannot be written; it has not ended, and its offset must not move.
        """
        match result:
            case Ended():
                follow(work.state, result.trigger)
                await self._finish(work, result)
            case Held(blocker):
                error = f"waits for dead letter {blocker.id}, an earlier event of its order"
                to = follow(work.state, Trigger.BLOCKED).to
                await self._write(work, to, blocker.reason, error, None, blocker.id)
            case NotFound():
                follow(work.state, Trigger.NOT_FOUND)
                if work.letter is not None and (entry := self._dead_letters.index.get(work.letter.id)) is not None:
                    entry.in_flight = False
                    if work.command is not None:
                        error = "B1 has its claim and not all of its documents; have it tried again"
                        await self._dead_letters.change(
                            replace(entry.letter, error=error, at=self._clock.now(), **_of_command(work))
                        )
                self._leave(work, None)
            case Refusal():
                to = follow(work.state, self._trigger_of(work, result)).to
                await self._write(work, to, result.reason, result.error, result.waits_for, None)
        order_id = work.posting.order_id
        return None if order_id is None else Released(order_id, isinstance(result, Ended))

    async def refuse_reused(self, work: InFlightPosting) -> Released | None:
        """End a posting whose identity came before with other content; the first goes on as it is."""
        first = self._dead_letters.index.of_key(work.k)
        origin = self._keys.origin(work.k) or ("" if first is None else origin_of_letter(first))
        difference = await self._first_events.difference(work, origin)
        error = (
            f"the same identity came before with other content: {difference}. The first stands; send an edited order "
            "as order_cancelled lines, and additions under a new order id"
        )
        await self._write(work, follow(State.NEW, Trigger.ID_REUSE).to, "id_reuse", error, None, None)
        return None if work.posting.order_id is None else Released(work.posting.order_id, ended=False)

    def follow(self, work: InFlightPosting, ending: Ending | None) -> None:
        """End what came again after its first has ended or become a dead letter.

        `ending` is None for the same record, which counts nothing.
        """
        if ending is not None:
            self._record(work, ending, ())
        work.finish(ending)

    def _trigger_of(self, work: InFlightPosting, refusal: Refusal) -> Trigger:
        if REASONS[refusal.reason].ends_as == "dead":
            return Trigger.REFUSED
        if refusal.reason == "order_not_found" and work.posting.order_id is None:
            return Trigger.REFUSED
        expired = work.letter is not None and self._dead_letters.has_expired(work.letter.id)
        return Trigger.EXPIRED if expired else Trigger.MUST_WAIT

    async def _finish(self, work: InFlightPosting, ended: Ended) -> None:
        if work.letter is not None:
            now = self._clock.now()
            await self._dead_letters.close(
                replace(
                    work.letter,
                    state=ended.ending,
                    at=now,
                    blocked_by=None,
                    attempts=work.attempts,
                    **_of_command(work),
                )
            )
        await self._crash_point("c7")
        self._record(work, ended.outcome, ended.documents)
        is_counted = work.letter is None and (not work.again or ended.trigger is Trigger.CREATED)
        self._leave(work, ended.ending if is_counted else None, ended=True)

    async def _write(
        self, work: InFlightPosting, to: State, reason: str, error: str, waits_for: str | None, blocked_by: str | None
    ) -> None:
        posting, letter = work.posting, work.letter
        if letter is not None:
            await self._dead_letters.change(
                replace(
                    letter,
                    state=to.value,
                    reason=reason,
                    owner=REASONS[reason].owner,
                    error=error,
                    waits_for=waits_for,
                    blocked_by=blocked_by,
                    attempts=work.attempts + letter.attempts,
                    sequence=work.sequence,
                    at=self._clock.now(),
                    replays=_replays(work, letter, reason, error),
                    tries=(*letter.tries, Attempt(at=self._clock.now(), reason=reason, error=error))[-_TRIES_KEPT:],
                    **_of_command(work),
                )
            )
        else:
            new = refused(
                posting, work.event, reason=reason, state=to, error=error, company=self._company, sequence=work.sequence
            )
            await self._dead_letters.add(
                replace(
                    new,
                    order_id=posting.order_id,
                    k=posting.k,
                    digest=posting.digest,
                    attempts=work.attempts,
                    waits_for=waits_for,
                    blocked_by=blocked_by,
                )
            )
        await self._crash_point("c9")
        self._record(work, to.value, (), reason)
        self._leave(work, None)

    def _leave(self, work: InFlightPosting, ending: Ending | None, *, ended: bool = False) -> None:
        self._keys.leave(work, remember=ended)
        work.finish(ending)
        for follower in work.followers:
            follower()

    def _record(
        self, work: InFlightPosting, outcome: str, documents: tuple[Document, ...], reason: str | None = None
    ) -> None:
        posting, event, now, metrics = work.posting, work.event, self._clock.now(), self._metrics
        queued_at, flow = datetime.fromtimestamp(posting.timestamp_ms / 1000, UTC), flow_of(posting.kind)
        metrics.postings(flow, outcome).inc()
        metrics.posting_attempts(flow).observe(max(1, work.attempts))
        metrics.posting_latency(flow).observe(max(0.0, (now - queued_at).total_seconds()))  # another machine's clock
        self._outcomes.add(
            Outcome(
                k=posting.k,
                kind=posting.kind,
                company=self._company,
                source=posting.source,
                event_ids=work.event_ids,
                order_id=posting.order_id,
                sku=event.sku if isinstance(event, StockBatch) else None,
                outcome=outcome,
                reason=reason,
                documents=documents,
                attempts=work.attempts,
                topic=posting.topic,
                partition=posting.partition,
                offset=posting.offset,
                queued_at=queued_at,
                at=now,
            )
        )


def _of_command(work: InFlightPosting) -> dict[str, Any]:
    """What the state says of the person who had it tried again."""
    return {} if work.command is None else {"by": work.command.by, "command": work.command.id}


def _replays(work: InFlightPosting, letter: DeadLetterState, reason: str, error: str) -> int:
    """How many replays in a row have ended as they began."""
    if work.command is None or work.command.action != Action.REPLAY or reason != letter.reason:
        return 0 if reason != letter.reason else letter.replays
    return letter.replays + (error == letter.error)
