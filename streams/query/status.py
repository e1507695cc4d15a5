"""How far every flow is, in source events: what `streams status` says (contract section 5).

Received is where the facts' topics end, and the lines that connectors refused. Ends are what the stages committed with
their watermarks, and the states of dead letters. What is missing between the two is in flight. Only those states are
scanned.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from connectors.base.clock import SystemClock
from connectors.base.dead_letters import INBOX
from connectors.registry import KINDS
from schemas.codec import Codec
from schemas.events import EVENT_TYPES
from schemas.records import DeadLetterState, LetterCommand, Posting
from schemas.topics import CONSUMED, FACTS, QUEUES, event_type, flow_of
from streams.chain.known_logs import KnownLogs
from streams.config.load import Config
from streams.dead_letters.closed import REFUSED_BEFORE, REPUBLISHED, is_counted, was_never_a_fact
from streams.dead_letters.commands import QUEUED
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Committed, Log
from streams.query import components, effects
from streams.query.dead_letters import STATES_TOPIC, standing
from streams.query.positions import positions
from streams.query.reading import partitions_of
from streams.telemetry.held import HeldComponent

ENDS = ("posted", "no_op", "parked", "dead")
#: What a dead letter's state counts as; a replayed one's place has been taken by the record that was published again.
_LETTER_ENDS = {
    "dead": "dead",
    "parked": "parked",
    "held": "parked",
    "posted": "posted",
    "no_op": "no_op",
    "discarded": "no_op",
}
_HEAD_RECORDS = 500  # postings at the head of a queue that are searched for the oldest of each flow

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """One flow, in source events, repeats included, since the beginning.

    Attributes:
        in_flight: What has not ended; below 0 where more has ended than was ever published: figures that contradict
            each other are shown as they are.
        oldest_unposted_s: Age of the oldest event in flight, by when it was published; 0 where none is.
    """

    posted: int
    no_op: int
    parked: int
    dead: int
    in_flight: int
    oldest_unposted_s: float

    @property
    def received(self) -> int:
        return self.posted + self.no_op + self.parked + self.dead + self.in_flight

    def as_json(self) -> dict[str, int | float]:
        return {"received": self.received, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Status:
    """How far everything is.

    Attributes:
        idle: Nothing is under way, and no file waits.
        flows: By event type, all five, `inbox` where lines were refused whose type nobody could tell, and what channels
            were told of B1.
        unmapped: Files that connectors will not read, by connector; they wait for somebody to map or take them away.
        held: Companies, connectors and partitions that do not work, and who acts.
    """

    idle: bool
    flows: Mapping[str, FlowStatus]
    unmapped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    held: Sequence[HeldComponent] = ()

    @property
    def contradictions(self) -> Mapping[str, int]:
        """By flow, how many events more have ended than were published."""
        return {name: -flow.in_flight for name, flow in self.flows.items() if flow.in_flight < 0}

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "idle": self.idle,
            "flows": {name: flow.as_json() for name, flow in self.flows.items()},
        }
        if self.held:
            found["held"] = [component.as_json() for component in self.held]
        return found | (
            {"unmapped_files": {name: [*each] for name, each in self.unmapped.items()}} if self.unmapped else {}
        )


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """Where everything stands, read upstream to downstream; two that are equal show that nothing moved between them.

    Attributes:
        unread: Files that connectors have not read.
        ends: Next offset of every partition of the stages, and of the dead letters' states.
        committed: What the group has finished, and its counts.
    """

    unread: int
    ends: Mapping[Place, int]
    committed: Mapping[Place, Committed]

    def unfinished(self) -> list[Place]:
        """Partitions of the stages that are not worked off."""
        return [
            place
            for place, end in self.ends.items()
            if place[0] in CONSUMED and end > 0 and (place not in self.committed or self.committed[place].offset < end)
        ]


def count(
    ends: Mapping[Place, int],
    committed: Iterable[Committed],
    states: Iterable[DeadLetterState],
    oldest_s: Mapping[str, float],
    levels: Mapping[str, int] = MappingProxyType({}),
    before: Mapping[Place, int] = MappingProxyType({}),
) -> dict[str, FlowStatus]:
    """The flows. Pure.

    Args:
        ends: Next offset of every partition of the facts, by our name of the topic.
        committed: Of every partition of every stage; what each counts, it has ended itself.
        states: Every dead letter as it stands.
        oldest_s: Age of the oldest event in flight, by flow.
        levels: Levels that ended as no-ops in their connector (baselines, stale and unchanged ones), by flow.
        before: Records of logs in place of which another was accepted, by partition.
    """
    received: Counter[str] = Counter()
    ended: Counter[tuple[str, str]] = Counter()
    for (topic, partition), end in ends.items():
        if topic in FACTS:
            received[event_type(topic)] += end + before.get((topic, partition), 0)
    commits: Counter[tuple[str, str]] = Counter()
    for commit in committed:
        commits.update(decode_counts(commit.metadata))
    for (flow, how), events in commits.items():
        if flow not in EVENT_TYPES and flow != INBOX:  # places, terms, a company's name
            continue
        # Refused events are counted by their dead letters, which go on changing, until these are closed long enough.
        if how in ("posted", "no_op"):
            ended[flow, how] += events
        elif how in (REFUSED_BEFORE, REPUBLISHED):
            received[flow] += events if how == REFUSED_BEFORE else -events
    for letter in states:
        if is_counted(letter, commits):
            continue
        named, events = flow_of(letter.event_type), len(letter.members) or 1
        if was_never_a_fact(letter):
            received[named] += events
        state = _LETTER_ENDS.get(letter.state)
        if state is not None:
            ended[named, state] += events
        # Of all records of an event that was published again one counts: as its dead letter, or by itself
        received[named] -= events * letter.republished
    for name, events in levels.items():
        received[name] += events
        ended[name, "no_op"] += events
    flows = {}
    for name in (*EVENT_TYPES, *sorted(received.keys() - EVENT_TYPES.keys())):
        posted, no_op, parked, dead = (ended[name, end] for end in ENDS)
        in_flight = received[name] - posted - no_op - parked - dead
        flows[name] = FlowStatus(posted, no_op, parked, dead, in_flight, oldest_s.get(name, 0.0) if in_flight else 0.0)
    return flows


async def snapshot(log: Log, config: Config) -> StatusSnapshot:
    """Read where everything stands, upstream to downstream.

    Raises:
        LogError: The broker cannot be reached.
    """
    unread = await asyncio.to_thread(_count_unread, config)
    ends: dict[Place, int] = {}
    for name in (*CONSUMED, STATES_TOPIC):
        places = [(name, partition) for partition in partitions_of(config, name)]
        bounds = await asyncio.gather(*(log.bounds(config.topic(name), partition) for _, partition in places))
        ends.update(zip(places, (end for _, end in bounds), strict=True))
    committed = await log.committed(config.group)
    named = {(config.name_of(topic), partition): at for (topic, partition), at in committed.items()}
    return StatusSnapshot(unread, ends, {place: at for place, at in named.items() if place[0] in CONSUMED})


def _count_unread(config: Config) -> int:
    return sum(KINDS[each.kind].unread(each) for each in config.connectors.values() if each.enabled)


async def read(log: Log, config: Config, codec: Codec, now_ms: int) -> Status:
    """Where every flow stands.

    `now_ms` is Unix time.

    Raises:
        LogError: The broker cannot be reached, or the topics are not there.
        CodecError: A state was written by something newer than we are.
    """
    first = await snapshot(log, config)
    letters = (await standing(log, config, codec)).values()
    oldest_ms = await _oldest(log, config, codec, first)
    levels: Counter[str] = Counter()
    told = await effects.status(log, config, codec)
    unmapped: dict[str, Sequence[str]] = {}
    for name, position in (await positions(config, log, codec)).items():
        levels.update(position.no_op)
        settings = config.connectors[name]
        if settings.enabled and (
            files := await asyncio.to_thread(KINDS[settings.kind].unmapped, settings, position.cursor)
        ):
            unmapped[name] = files
    second = await snapshot(log, config)
    oldest_s = {flow: round(max(0, now_ms - stamp_ms) / 1000, 1) for flow, stamp_ms in oldest_ms.items()}
    logs = KnownLogs(log, codec, config, SystemClock())
    await logs.look()
    before = {(name, number): logs.records_before(config.topic(name), number) for name, number in second.ends}
    flows = count(second.ends, second.committed.values(), letters, oldest_s, levels, before)
    if first != second:
        # Read one after the other while work went on, what ended may be newer than what was published
        flows = {name: replace(flow, in_flight=max(0, flow.in_flight)) for name, flow in flows.items()}
    flows |= {
        name: FlowStatus(ended["posted"], ended["no_op"], ended["parked"], ended["dead"], ended["in_flight"], 0.0)
        for name, ended in sorted(told.counts.items())
    }
    idle = (
        first == second
        and not told.busy
        and not second.unread
        and not unmapped
        and not second.unfinished()
        and not any(flow.in_flight for flow in flows.values())
    )
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return Status(idle, flows, unmapped, await components.held(log, config, codec, now))


async def _oldest(log: Log, config: Config, codec: Codec, at: StatusSnapshot) -> dict[str, int]:
    """When the oldest unfinished event of each flow was published (Unix ms)."""
    oldest: dict[str, int] = {}
    for name, partition in at.unfinished():
        start = at.committed[name, partition].offset if (name, partition) in at.committed else 0
        ahead = _HEAD_RECORDS if name in QUEUES else 1
        async with aclosing(log.read(config.topic(name), partition, start, start + ahead)) as batches:
            async for records in batches:
                for record in records:
                    flow, stamp_ms = event_type(name), record.timestamp_ms
                    if name in QUEUES:
                        posting: Posting | LetterCommand = codec.decode(record.value or b"", QUEUED)
                        if isinstance(posting, LetterCommand):
                            continue  # a person's: no event
                        flow, stamp_ms = posting.kind, posting.timestamp_ms
                    if name == "stock-sealed" or flow == "stock_batch":
                        flow = "stock_adjusted"
                    oldest[flow] = min(oldest.get(flow, stamp_ms), stamp_ms)
    return oldest
