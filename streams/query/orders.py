"""One order's whole story: what we received, what became of it, and who acts where something is wrong."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, cast

from schemas.codec import Codec, CodecError
from schemas.components import HOLD_REASONS
from schemas.events import (
    TYPE_NAMES,
    DispatchConfirmed,
    OrderCancelled,
    OrderEvent,
    OrderPlaced,
    RefundIssued,
    identity,
)
from schemas.letters import REASONS
from schemas.records import DeadLetterState, Outcome
from schemas.topics import ORDER_FACTS, event_type
from streams.config.load import Config
from streams.kafka.log import Log
from streams.query.dead_letters import standing
from streams.query.reading import partitions_of, scan
from streams.telemetry.held import HeldComponent

OUTCOMES = "erp-outcomes"
_ORDER_EVENTS = (OrderPlaced, OrderCancelled, DispatchConfirmed, RefundIssued)
#: What an outcome means to somebody who asks about an event (contract section 2).
ENDS = {"created": "posted", "adopted": "posted", "adopted_cancelled": "posted"}

Place = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEvent:
    """One event of a story, and where it stands.

    Attributes:
        state: posted | no_op | parked | held | dead | replayed | discarded | in_flight.
        why: Reason, words, who acts and how; None where nothing is wrong.
    """

    type: str
    event_id: str | None
    source: str | None
    state: str
    occurred_at: datetime | None
    received_at: datetime | None
    topic: str
    partition: int
    offset: int
    documents: tuple[Mapping[str, Any], ...] = ()
    attempts: int = 0
    why: Mapping[str, Any] | None = None
    at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        shown = {own.name: getattr(self, own.name) for own in fields(self)}
        times = {name: value.isoformat() for name, value in shown.items() if isinstance(value, datetime)}
        return {**shown, **times, "documents": list(self.documents)}


@dataclass(slots=True)
class OrderStory:
    """One order: everything we received about it and what became of it, oldest first.

    Attributes:
        order_id: The source's; None for a refund that names no order.
    """

    company: str
    order_id: str | None
    order_number: str | None = None
    events: list[StoryEvent] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "company": self.company,
            "order_id": self.order_id,
            "order_number": self.order_number,
            "events": [event.as_json() for event in self.events],
        }


async def stories(
    log: Log, config: Config, codec: Codec, ident: str, held: Sequence[HeldComponent] = ()
) -> list[OrderStory]:
    """The orders that `ident` may mean: an order id or number, a shipment, refund or event id, or a B1 DocNum.

    What is in flight in a company that is `held` says so.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A record of ours was written by something newer than we are.
    """
    letters = (await standing(log, config, codec)).values()
    seen = await _find(log, config, codec, frozenset({ident}), _number_of(ident), letters)
    named = frozenset(order_id for _, order_id in seen.orders() if order_id) - {ident}
    if named:
        seen = seen.joined(await _find(log, config, codec, named, None, letters))
    found = seen.stories(config)
    by_name = {(each.kind, each.name): each for each in held}
    for story in found:
        company = by_name.get(("company", story.company))
        if company is not None:
            story.events = [_waiting(event, company) for event in story.events]
    return found


def _waiting(event: StoryEvent, company: HeldComponent) -> StoryEvent:
    """What is under way in a company that does not work waits for it, and for who acts."""
    if event.state != "in_flight":
        return event
    row = HOLD_REASONS.get(company.reason)
    words = row.words if row is not None else company.reason
    why = {
        "reason": company.reason,
        "error": f"{company.name}: {words} since {company.since.isoformat(timespec='seconds')}",
        "owner": company.owner,
        "remedy": row.remedy if row is not None else None,
        "waits_for": f"company:{company.name}",
        "blocked_by": None,
        "letter": None,
    }
    return replace(event, why=why)


def _number_of(ident: str) -> int | None:
    return int(ident) if ident.isascii() and ident.isdigit() and len(ident) < 11 else None


def _varint(number: int) -> bytes:
    """A number as Avro writes it (zigzag, base 128): what to look for before decoding."""
    rest, out = number << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class _Found:
    events: Mapping[Place, tuple[OrderEvent, int]]  # with the record's timestamp
    outcomes: Mapping[Place, Outcome]
    letters: Mapping[str, DeadLetterState]

    def orders(self) -> set[tuple[str, str | None]]:
        return {
            *((event.company, event.order_id) for event, _ in self.events.values()),
            *((outcome.company, outcome.order_id) for outcome in self.outcomes.values()),
            *((letter.company, letter.order_id) for letter in self.letters.values()),
        }

    def joined(self, other: "_Found") -> "_Found":
        return _Found(
            {**self.events, **other.events}, {**self.outcomes, **other.outcomes}, {**self.letters, **other.letters}
        )

    def stories(self, config: Config) -> list[OrderStory]:
        by_place = {
            (config.name_of(x.topic), x.partition, x.offset): x for x in self.letters.values() if x.partition >= 0
        }
        lines = [letter for letter in self.letters.values() if letter.partition < 0]
        found: dict[tuple[str, str | None], OrderStory] = {}
        for place in {*self.events, *self.outcomes, *by_place}:
            fact, outcome, letter = self.events.get(place), self.outcomes.get(place), by_place.get(place)
            entry, company, order_id = _entry(place, fact, outcome, letter)
            story = found.setdefault((company, order_id), OrderStory(company, order_id))
            story.events.append(entry)
            if fact is not None and isinstance(fact[0], OrderPlaced):
                story.order_number = fact[0].order_number or fact[0].order_id
        for letter in lines:
            place = (config.name_of(letter.topic), letter.partition, letter.offset)
            story = found.setdefault((letter.company, letter.order_id), OrderStory(letter.company, letter.order_id))
            story.events.append(_entry(place, None, None, letter)[0])
        for story in found.values():
            story.events.sort(
                key=lambda event: (event.received_at or datetime.min.replace(tzinfo=UTC), event.topic, event.offset)
            )
        return sorted(found.values(), key=lambda story: (story.company, story.order_id or ""))


def _entry(
    place: Place, fact: tuple[OrderEvent, int] | None, outcome: Outcome | None, letter: DeadLetterState | None
) -> tuple[StoryEvent, str, str | None]:
    event = fact[0] if fact is not None else None
    stamp_ms = fact[1] if fact is not None else letter.timestamp_ms if letter is not None else 0
    kind, event_id, source, company, order_id = _who(place, event, outcome, letter)
    state, why = "in_flight", None
    if outcome is not None:
        state = ENDS.get(outcome.outcome, outcome.outcome)
    if letter is not None and (
        outcome is None or letter.at >= outcome.at or letter.state in ("dead", "parked", "held")
    ):
        state = letter.state
    reason = letter.reason if letter is not None else outcome.reason if outcome is not None else None
    if reason is not None and state in ("dead", "parked", "held"):
        row = REASONS.get(reason)
        why = {
            "reason": reason,
            "error": letter.error if letter is not None else None,
            "owner": letter.owner if letter is not None else row.owner if row else None,
            "remedy": row.remedy if row else None,
            "waits_for": letter.waits_for if letter is not None else None,
            "blocked_by": letter.blocked_by if letter is not None else None,
            "letter": letter.id if letter is not None else None,
        }
    received = outcome.queued_at if outcome is not None else letter.first_failed_at if letter is not None else None
    entry = StoryEvent(
        type=kind,
        event_id=event_id,
        source=source,
        state=state,
        occurred_at=event.occurred_at if event is not None else None,
        received_at=datetime.fromtimestamp(stamp_ms / 1000, UTC) if stamp_ms else received,
        topic=place[0],
        partition=place[1],
        offset=place[2],
        documents=tuple(
            {"object": document.object, "doc_num": document.doc_num, "doc_entry": document.doc_entry}
            for document in (outcome.documents if outcome is not None else ())
        ),
        attempts=max(outcome.attempts if outcome is not None else 0, letter.attempts if letter is not None else 0),
        why=why,
        at=max((each.at for each in (outcome, letter) if each is not None), default=None),
    )
    return entry, company, order_id


def _who(
    place: Place, event: OrderEvent | None, outcome: Outcome | None, letter: DeadLetterState | None
) -> tuple[str, str | None, str | None, str, str | None]:
    """Type, event id, source, company and order id, from whatever still says them."""
    if event is not None:
        return TYPE_NAMES[type(event)], identity(event)[0], event.source, event.company, event.order_id
    if outcome is not None:
        return outcome.kind, next(iter(outcome.event_ids), None), outcome.source, outcome.company, outcome.order_id
    if letter is not None:
        return letter.event_type, letter.event_id, letter.source, letter.company, letter.order_id
    return event_type(place[0]), None, None, "", None


async def _find(
    log: Log,
    config: Config,
    codec: Codec,
    names: frozenset[str],
    number: int | None,
    letters: Iterable[DeadLetterState],
) -> _Found:
    # Texts and numbers stand in Avro as they are, so most records need no decoding to be passed over.
    needles = [name.encode() for name in names]
    marks = [*needles, *([_varint(number)] if number is not None else [])]
    events: dict[Place, tuple[OrderEvent, int]] = {}
    outcomes: dict[Place, Outcome] = {}

    async def read_facts(name: str, partition: int) -> None:
        for record in await scan(log, config.topic(name), partition, lambda value: any(n in value for n in needles)):
            try:
                event = cast(OrderEvent, codec.decode(record.value or b"", _ORDER_EVENTS))
            except CodecError:
                continue  # its dead letter says what it is
            if names & _names_in(event):
                events[name, partition, record.offset] = (event, record.timestamp_ms)

    async def read_outcomes(partition: int) -> None:
        for record in await scan(log, config.topic(OUTCOMES), partition, lambda value: any(m in value for m in marks)):
            outcome = codec.decode(record.value or b"", Outcome)
            numbers = {document.doc_num for document in outcome.documents}
            if names & {outcome.order_id, *outcome.event_ids} or number in numbers:
                place = (config.name_of(outcome.topic), outcome.partition, outcome.offset)
                earlier = outcomes.get(place)
                if earlier is None or earlier.at <= outcome.at:
                    outcomes[place] = outcome

    await asyncio.gather(
        *(read_facts(name, partition) for name in ORDER_FACTS for partition in partitions_of(config, name)),
        *(read_outcomes(partition) for partition in partitions_of(config, OUTCOMES)),
    )
    order_outcomes = {place: outcome for place, outcome in outcomes.items() if place[0] in ORDER_FACTS}
    about = {x.id: x for x in letters if x.event_type != "stock_adjusted" and names & {x.order_id, x.event_id}}
    return _Found(events, order_outcomes, about)


def _names_in(event: OrderEvent) -> set[str | None]:
    number = event.order_number if isinstance(event, OrderPlaced) else None
    return {event.order_id, event.event_id, number, *identity(event)}
