"""Asks what a person wants of dead letters: of their posters, and itself where a dead letter is no poster's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from connectors.base.clock import Clock
from connectors.base.log import Outgoing
from connectors.base.notices import NoticeWriter
from schemas.codec import Codec
from schemas.records import DeadLetterState, LetterCommand
from streams.config.load import Config
from streams.dead_letters.commands import Action, is_posters, submit
from streams.dead_letters.run import Answer, Asked
from streams.dead_letters.states import STATES
from streams.dead_letters.tail import StateTail
from streams.kafka.log import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks, by which command, and why."""

    command: str
    by: str
    why: str | None = None


class CommandDesk:
    """One person's desk; a `streams.dead_letters.run.Desk`."""

    def __init__(
        self, log: Log, config: Config, codec: Codec, clock: Clock, tail: StateTail, action: Action, person: Person
    ) -> None:
        self._log, self._config, self._codec, self._clock = log, config, codec, clock
        self._tail, self._action, self._person = tail, action, person
        self._notices = NoticeWriter(log, codec, config.topic, self._partition_of)

    async def states(self) -> Mapping[str, DeadLetterState]:
        return await self._tail.read()

    async def ask(self, letters: Sequence[DeadLetterState]) -> Sequence[Asked]:
        asked = {letter.id: await self._ask_ourselves(letter) for letter in letters if not self._is_asked(letter)}
        theirs = [letter for letter in letters if letter.id not in asked]
        await submit(self._log, self._config, self._codec, [self._command(letter) for letter in theirs])
        return [asked.get(letter.id, Asked(letter)) for letter in letters]

    def _is_asked(self, letter: DeadLetterState) -> bool:
        return is_posters(letter) and letter.company in self._config.companies

    def _command(self, letter: DeadLetterState) -> LetterCommand:
        return LetterCommand(
            id=self._person.command,
            action=self._action.value,
            letter=letter.id,
            company=letter.company,
            by=self._person.by,
            why=self._person.why,
            seen_at=letter.at,
            at=self._clock.now(),
        )

    async def _ask_ourselves(self, letter: DeadLetterState) -> Asked:
        if is_posters(letter):
            return _answered(letter, "failed", f"company {letter.company!r} is not in the configuration")
        if self._action is Action.DISCARD:
            await self._write(letter, state="discarded", why=self._person.why)
            return Asked(letter)
        return _answered(letter, "failed", "it waits for nothing: streams dlq replay")

    async def _write(self, letter: DeadLetterState, **fields: object) -> None:
        """Write how a dead letter stands that is no poster's, on the partition where it lies."""
        written = replace(letter, by=self._person.by, command=self._person.command, at=self._clock.now(), **fields)  # type: ignore[arg-type]
        state = Outgoing(
            topic=self._config.topic(STATES),
            partition=self._tail.placed[letter.id].partition,
            key=letter.id.encode(),
            value=self._codec.encode(written),
        )
        await self._log.send_many([state, *self._notices.of_letters([written])])

    def _partition_of(self, company: str) -> int:
        return self._config.company_partition(company) if company in self._config.companies else 0


def _answered(letter: DeadLetterState, result: str, why: str) -> Asked:
    async def ended() -> Answer:
        return Answer(result, why)  # type: ignore[arg-type]

    return Asked(letter, ended)
