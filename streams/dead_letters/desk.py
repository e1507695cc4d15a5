"""Asks what a person wants of dead letters: of their posters, and itself where a dead letter is no poster's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from connectors.base.clock import Clock
from connectors.base.log import Outgoing, Record
from connectors.base.notices import NoticeWriter
from schemas.codec import Codec
from schemas.events import FactEvent
from schemas.records import DeadLetterState, LetterCommand, StockBatch
from streams.config.load import Config
from streams.dead_letters.commands import Action, is_posters, submit
from streams.dead_letters.payload import PayloadError, PayloadReader
from streams.dead_letters.republish import Republisher
from streams.dead_letters.run import Answer, Asked
from streams.dead_letters.states import STATES
from streams.dead_letters.tail import StateTail
from streams.kafka.log import Log
from streams.query.reading import partitions_of, record_at


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
        """`tail` is read by `states`."""
        self._log, self._config, self._codec, self._clock = log, config, codec, clock
        self._tail, self._action, self._person = tail, action, person
        self._notices = NoticeWriter(log, codec, config.topic, config.partition_or_first)
        companies = {name: connector.company for name, connector in config.connectors.items()}
        self._payloads = PayloadReader(codec, companies)
        self._republisher = Republisher(log, codec, clock, config.topic, partitions_of(config, "erp-outcomes"))

    @property
    def command(self) -> str:
        return self._person.command

    async def states(self) -> Mapping[str, DeadLetterState]:
        return await self._tail.read()

    async def ask(self, letters: Sequence[DeadLetterState]) -> Sequence[Asked]:
        asked: dict[str, Asked] = {}
        commands: list[LetterCommand] = []
        for letter in letters:
            if not is_posters(letter):
                asked[letter.id] = await self._ask_ourselves(letter)
            elif letter.company not in self._config.companies:
                why = f"company {letter.company!r} is not in the configuration"
                asked[letter.id] = _answered(letter, Answer("failed", why))
            else:
                try:
                    commands.append(await self._command(letter))
                except PayloadError as error:
                    asked[letter.id] = _answered(letter, Answer("failed", str(error)))
        await submit(self._log, self._config, self._codec, commands)
        return [asked.get(letter.id, Asked(letter)) for letter in letters]

    async def _command(self, letter: DeadLetterState) -> LetterCommand:
        """A connector's dead letter that holds its order becomes the event that its line says.

        Raises:
            PayloadError: Its line says none.
        """
        value = None
        if letter.k is None and self._action is Action.REPLAY:
            _, event = await self._event_of(letter)
            value = self._codec.encode(event)
        return LetterCommand(
            id=self._person.command,
            action=self._action.value,
            letter=letter.id,
            company=letter.company,
            by=self._person.by,
            why=self._person.why,
            seen_at=letter.at,
            at=self._clock.now(),
            value=value,
        )

    async def _event_of(self, letter: DeadLetterState) -> tuple[Record, FactEvent]:
        place = letter.letter_topic, letter.letter_partition, letter.letter_offset
        record = await record_at(self._log, *place)
        event = self._payloads.event_of(letter, record, self._clock.now())
        if record is None or isinstance(event, StockBatch):
            raise PayloadError("it is a batch of another company; give that company its partition back, or discard it")
        if event.company not in self._config.companies:
            raise PayloadError(f"company {event.company!r} is not in the configuration; add it")
        return record, event

    async def _ask_ourselves(self, letter: DeadLetterState) -> Asked:
        if self._action is Action.REPLAY:
            return await self._republish(letter)
        if self._action is Action.DISCARD:
            await self._write(letter, state="discarded", why=self._person.why)
            return Asked(letter)
        return _answered(letter, Answer("failed", "it waits for nothing; streams dlq replay has it tried again"))

    async def _republish(self, letter: DeadLetterState) -> Asked:
        try:
            record, event = await self._event_of(letter)
        except PayloadError as error:
            return _answered(letter, Answer("failed", str(error)))
        await self._republisher.start()
        published = await self._republisher.publish(letter, record, event)
        await self._write(letter, state="replayed", republished=letter.republished + 1)
        return Asked(letter, partial(self._republisher.answer, published))

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


def _answered(letter: DeadLetterState, answer: Answer) -> Asked:
    async def ended() -> Answer:
        return answer

    return Asked(letter, ended)
