"""What channels were told and could not be told, for `streams status`, `dlq` and whoever asks."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from connectors.base.clock import SystemClock
from connectors.base.cursors import CURSORS, Cursors, out_name, partition_of
from connectors.base.settings import ConnectorSettings
from schemas.codec import Codec
from schemas.letters import REASONS, letter_id
from schemas.readings import EffectState
from schemas.records import DeadLetterState
from schemas.topics import READINGS
from streams.config.load import Config
from streams.delivery.deliverer import OutPosition
from streams.delivery.states import STATES, EffectStates
from streams.kafka.log import Log
from streams.query.dead_letters import standing
from streams.query.reading import partitions_of, scan

#: What a state counts as in `streams status`; of a report of shadow mode nothing was received.
_ENDS = {"parked": "parked", "dead": "dead", "sending": "in_flight"}
_TYPES = {"item": "item_changed", "price": "price_changed", "level": "stock_level", "delivery": "delivery_posted"}


def receivers(config: Config) -> dict[str, ConnectorSettings]:
    """The connectors that are told something, or would be."""
    return {
        name: each
        for name, each in config.connectors.items()
        if each.enabled and each.out is not None and each.out.is_on
    }


def effect_id(state: EffectState) -> str:
    """The id of an effect's dead letter; another content is another one."""
    return letter_id(state.connector, "/".join(state.subject), state.k)


async def of_orders(log: Log, config: Config, codec: Codec, order_ids: Collection[str]) -> list[EffectState]:
    """What channels were told, or are to be told, of orders; the oldest first.

    Raises:
        LogError, CodecError: As `letters`.
    """
    found: list[EffectState] = []
    for name in receivers(config):
        partition = partition_of(name, config.kafka.partitions)
        states = EffectStates(name, log, codec, topic=config.topic(STATES), partition=partition)
        await states.load()
        found += [state for state in states.by_subject.values() if state.order_id in order_ids]
    return sorted(found, key=lambda state: (state.at, state.connector))


async def letters(log: Log, config: Config, codec: Codec) -> dict[str, DeadLetterState]:
    """What channels refused and what waits for B1 to complete it, as dead letters, by id.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state was written by something newer than we are.
    """
    topic, found = config.topic(STATES), {}
    for partition in partitions_of(config, STATES):
        last: dict[bytes, tuple[int, EffectState]] = {}
        for record in await scan(log, topic, partition):
            if record.key is None or record.value is None:
                last.pop(record.key or b"", None)
                continue
            state = codec.decode(record.value, EffectState)
            if record.key not in last or state.term >= last[record.key][1].term:
                last[record.key] = record.offset, state
        for offset, state in last.values():
            if state.state in ("parked", "dead"):
                letter = _letter(state, topic, partition, offset)
                found[letter.id] = letter
    return found


async def all_letters(log: Log, config: Config, codec: Codec) -> dict[str, DeadLetterState]:
    """Every dead letter, of events and of what channels are told, by id.

    Raises:
        LogError, CodecError: As `letters`.
    """
    return await standing(log, config, codec) | await letters(log, config, codec)


def _letter(state: EffectState, topic: str, partition: int, offset: int) -> DeadLetterState:
    reason = state.reason or "channel_refused"
    return DeadLetterState(
        id=effect_id(state),
        state=state.state,
        reason=reason,
        owner=REASONS[reason].owner,
        company=state.company,
        k=state.k,
        event_type=state.type,
        event_id=state.order_id or state.sku,
        source=state.connector,
        order_id=state.order_id,
        sku=state.sku,
        topic=topic,
        partition=partition,
        offset=offset,
        letter_topic=topic,
        letter_partition=partition,
        letter_offset=offset,
        attempts=state.attempts,
        waits_for=f"order:{state.subject[1]}" if state.state == "parked" else None,
        error=f"{state.connector}: {state.error}" if state.error else None,
        first_failed_at=state.since,
        at=state.at,
    )


@dataclass(frozen=True, slots=True)
class OutStatus:
    """How far the telling is.

    Attributes:
        counts: By effect type and end (`posted`, `no_op`, `parked`, `dead`, `in_flight`).
        busy: Something that B1 said, or that is due, has not been seen through, or nobody has begun.
    """

    counts: Mapping[str, Counter[str]] = field(default_factory=dict)
    busy: bool = False


async def status(log: Log, config: Config, codec: Codec) -> OutStatus:
    """How many effects there were and how they ended, over all receivers; levels that wait for their interval aside.

    Raises:
        LogError: The broker cannot be reached.
        CodecError, FatalError: A state or a cursor cannot be read.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    busy = False
    for name, settings in receivers(config).items():
        partition, topic = partition_of(name, config.kafka.partitions), config.topic
        cursors = Cursors(out_name(name), log, codec, SystemClock(), topic=topic(CURSORS), partition=partition)
        await cursors.look()
        if cursors.position.cursor is None:
            busy = True
            continue
        position = OutPosition.from_text(cursors.position.cursor)
        states = EffectStates(name, log, codec, topic=topic(STATES), partition=partition)
        await states.load()
        for state in states.by_subject.values():
            for effect_type, end, count in _ended(state):
                counts[effect_type][end] += count
            if state.state in _ENDS:
                counts[state.type][_ENDS[state.state]] += 1
                busy = busy or state.state == "sending"
        company = config.company_partition(settings.company)
        ends = await asyncio.gather(*(log.bounds(topic(each), company) for each in READINGS))
        read = [position.read.get(f"{each}/{company}", 0) for each in READINGS]
        busy = busy or any(end > offset for (_, end), offset in zip(ends, read, strict=True))
    return OutStatus(counts, busy)


def _ended(state: EffectState) -> list[tuple[str, str, int]]:
    """What has ended of a subject: type, end, how often. An order is released and withdrawn in turns."""
    effect_type = _TYPES.get(state.subject[0])
    if effect_type is None:
        taken = [("order_released", (state.taken + 1) // 2), ("order_withdrawn", state.taken // 2)]
    else:
        taken = [(effect_type, state.taken)]
    ended = [(name, "posted", count) for name, count in taken] + [(taken[0][0], "no_op", state.no_ops)]
    return [each for each in ended if each[2]]
