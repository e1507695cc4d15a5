"""What people ask of the company's dead letters, decided where everything else about them is: in its poster.

A command lies in `erp-orders` among the postings. Its record is finished when the dead letter's state says what came of
it, so a process that dies leaves it to its successor. A command names the state that the person saw (`seen_at`); when
the dead letter has moved on since, by another person's command or by itself, the command does nothing: two people at
once, or one of them twice, are harmless (architecture section 7.2).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from connectors.base.errors import Refusal
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.error_codes import OutcomeClass
from schemas.codec import Codec, CodecError
from schemas.events import OrderEvent
from schemas.letters import RANKS
from schemas.records import DeadLetterState, LetterCommand
from streams.chain.keys import event_key
from streams.dead_letters.commands import Action, is_posters
from streams.dead_letters.index import OpenDeadLetter
from streams.ports import Ports
from streams.posting.admission import AdmittedKeys
from streams.posting.dead_letters import CompanyDeadLetters
from streams.posting.endings import Released
from streams.posting.erp import Erp
from streams.posting.in_flight import KINDS, origin_of_letter
from streams.posting.lifecycle import State, Trigger, follow
from streams.posting.retries import DeadLetterRetries

logger = structlog.get_logger(__name__)

#: How often a command looks whether its dead letter, which is in flight, has come down.
_POLL_S = 0.25


class LetterCommands:
    """Decides the commands of one company, each in a task of its own."""

    def __init__(
        self,
        company: str,
        dead_letters: CompanyDeadLetters,
        keys: AdmittedKeys,
        retries: DeadLetterRetries,
        erp: Erp,
        in_document: Callable[[str], Awaitable[bool]],
        ports: Ports,
    ) -> None:
        """`in_document`: whether a stock document that may still be posted holds the batch of this K."""
        self._company, self._dead_letters, self._keys = company, dead_letters, keys
        self._retries, self._erp, self._in_document, self._clock = retries, erp, in_document, ports.clock
        self._codec: Codec = ports.codec

    async def run(self, command: LetterCommand, finish: Callable[[], None]) -> None:
        """Do what a command asks; `finish` is called when its dead letter's state says what came of it.

        Raises:
            LogError: The state cannot be written; the command's offset must not move.
        """
        entry = await self._entry(command)
        if entry is None:
            finish()
            return
        if command.value is not None or command.action == Action.EDIT:
            entry = await self._edit(entry, command)
        if entry is None or command.action == Action.EDIT:
            finish()
        elif command.action == Action.DISCARD:
            await self._discard(entry, command)
            finish()
        else:
            await self._retries.replay(entry, command, finish)

    async def _entry(self, command: LetterCommand) -> OpenDeadLetter | None:
        """The dead letter as the person saw it; None where it has moved on."""
        index = self._dead_letters.index
        while (entry := index.get(command.letter)) is not None:
            if not entry.in_flight and entry.letter.k not in self._keys.in_flight:
                break
            await asyncio.sleep(_POLL_S)
        if entry is None or command.company != self._company or not is_posters(entry.letter):
            return None
        if entry.letter.at != command.seen_at:
            logger.debug("a command came too late", company=self._company, id=command.letter)
            return None
        entry.in_flight = True  # nobody else takes it up meanwhile
        return entry

    async def _edit(self, entry: OpenDeadLetter, command: LetterCommand) -> OpenDeadLetter | None:
        """Give a dead letter other bytes under its own K.

        One of a connector, which kept what it could not read, becomes the event that was made of it.
        """
        letter = entry.letter
        try:
            event: OrderEvent = self._codec.decode(command.value or b"", KINDS[letter.event_type])
        except (CodecError, KeyError) as fault:
            await self._leave(entry, command, f"the corrected payload is no {letter.event_type}: {fault}")
            return None
        k = event_key(event)
        if event.company != self._company or event.order_id != letter.order_id or letter.k not in (None, k):
            error = "the corrected payload has another identity; correct what it says, and send another event as one"
            await self._leave(entry, command, error)
            return None
        edited = replace(
            letter,
            k=k,
            digest=letter.digest if letter.k is not None else event.digest,
            event_id=letter.event_id or event.event_id,
            source=event.source,
            by=command.by,
            command=command.id,
            replays=0,
            at=self._clock.now(),
        )
        await self._dead_letters.rewrite(edited, command.value or b"")
        return self._dead_letters.index.get(letter.id)

    async def _discard(self, entry: OpenDeadLetter, command: LetterCommand) -> None:
        """Make in B1 sure that its event can never be posted, then close it."""
        letter = entry.letter
        row = follow(State(letter.state), Trigger.DISCARD)
        if letter.event_type == "stock_batch" and letter.k is not None and await self._in_document(letter.k):
            await self._leave(entry, command, "its document may still be approved in B1; reject the draft first")
            return
        if letter.k is not None:
            claim = Claim(letter.k, letter.event_type, letter.digest or b"", origin_of_letter(letter), "discarded")
            try:
                written = await self._erp.write([claim], [], lock_patience_s=float("inf"))
            except Refusal as refusal:
                await self._leave(entry, command, refusal.error)
                return
            stands = written.claim is not None and written.claim.state != "discarded"
            if written.outcome is OutcomeClass.EXISTS and stands and letter.event_type in RANKS:
                # B1 has it: it is taken over, also where that needs a part that is missing
                await self._retries.replay(entry, command, _nothing, only_look=letter.state != "parked")
                return
            if written.outcome not in (OutcomeClass.APPLIED, OutcomeClass.EXISTS):
                await self._leave(entry, command, written.error or "B1 does not take the claim")
                return
        now = self._clock.now()
        await self._dead_letters.close(
            replace(
                letter,
                state=row.to.value,
                by=command.by,
                command=command.id,
                why=command.why,
                blocked_by=None,
                waits_for=None,
                at=now,
            )
        )
        if letter.order_id is not None:
            self._retries.release(Released(letter.order_id, ended=False))

    async def _leave(self, entry: OpenDeadLetter, command: LetterCommand, error: str) -> None:
        """Say in the state why nothing was done."""
        letter: DeadLetterState = replace(
            entry.letter, by=command.by, command=command.id, error=error, at=self._clock.now()
        )
        await self._dead_letters.change(letter)


def _nothing() -> None:
    """Its state says when it has ended."""
