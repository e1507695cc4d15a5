"""Dead letters as the topics have them: the bytes, and the last state of each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from lab.proof.events import FLOWS

_STATE_SCHEMA = Path(__file__).parents[2] / "schemas" / "avro" / "letter_state.v1.avsc"
_DEAD_LETTER_TOPICS = (
    *(f"{flow.replace('_', '-')}-dead-letter" for flow in FLOWS[:-1]),
    "erp-stock-dead-letter",
    "inbox-dead-letter",
)
_STATE_TOPIC = "dead-letter-state"
OPEN_STATES = {"dead": "dead", "parked": "parked", "held": "parked"}
#: What a state counts as, where that is not for B1's books to say: `posted` and `replayed` are looked for there.
COUNTED_AS = {**OPEN_STATES, "no_op": "no_op", "discarded": "no_op"}


@dataclass(frozen=True, slots=True)
class DeadLetterSeen:
    """A dead, parked or held event as the dead-letter topics have it; `state` is the last one."""

    id: str
    topic: str
    state: str
    reason: str
    event_type: str
    value: bytes
    event_ids: tuple[str, ...] = ()  # several for a stock batch
    sku: str | None = None


async def read_dead_letters(bootstrap_servers: str, prefix: str = "", **security: Any) -> list[DeadLetterSeen]:
    """Every letter of the cluster: the bytes in the dead-letter topics, and each one's last state.

    Args:
        bootstrap_servers: Kafka's.
        prefix: The configuration's `topic_prefix`.
        security: Further arguments of the consumer, for a cluster that wants them.
    """
    wanted = [prefix + name for name in (*_DEAD_LETTER_TOPICS, _STATE_TOPIC)]
    connection = {"bootstrap_servers": bootstrap_servers, **security}
    admin: Any = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        described = await admin.describe_topics([name for name in wanted if name in there])
    finally:
        await admin.close()
    partitions = {
        topic["topic"]: [TopicPartition(topic["topic"], one["partition"]) for one in topic["partitions"]]
        for topic in described
    }
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        group_id=None, auto_offset_reset="earliest", **connection
    )
    try:
        await consumer.start()
        letters = [
            (name, {key: value for key, value in record.headers if value is not None}, bytes(record.value or b""))
            for name in _DEAD_LETTER_TOPICS
            for record in await _records(consumer, partitions.get(prefix + name, []))
        ]
        records = await _records(consumer, partitions.get(prefix + _STATE_TOPIC, []))
    finally:
        await consumer.stop()
    return dead_letters_of(letters, [(record.key, record.value) for record in records])


def dead_letters_of(
    letters: Iterable[tuple[str, Mapping[str, bytes], bytes]], states: Iterable[tuple[bytes | None, bytes | None]]
) -> list[DeadLetterSeen]:
    """Dead letters from their topics' records and from `dead-letter-state`'s, each in order of offsets."""
    schema = fastavro.parse_schema(json.loads(_STATE_SCHEMA.read_text(encoding="utf-8")))
    last: dict[str, dict[str, Any]] = {}
    withdrawn: set[str] = set()
    for key, value in states:
        identity = (key or b"").decode()
        if value is None:  # the dead letter should not have been written, say, by a poster that was paused and replaced
            last.pop(identity, None)
            withdrawn.add(identity)
        else:
            last[identity] = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)  # type: ignore[assignment]
            withdrawn.discard(identity)
    found: dict[str, DeadLetterSeen] = {}
    for topic, headers, value in letters:
        text = {name: content.decode() for name, content in headers.items() if name.startswith("b1streams.")}
        identity = text["b1streams.id"]
        if identity in withdrawn:
            continue
        state = last.get(identity, {})
        ids = tuple(state.get("members") or ()) or (
            (text["b1streams.event_id"],) if "b1streams.event_id" in text else ()
        )
        # Written twice it is one dead letter still.
        found[identity] = DeadLetterSeen(
            id=identity,
            topic=topic,
            state=state.get("state", text["b1streams.state"]),
            reason=state.get("reason", text["b1streams.reason"]),
            event_type=text.get("b1streams.event_type", ""),
            value=value,
            event_ids=ids,
            sku=text.get("b1streams.sku"),
        )
    bare = [state for identity, state in last.items() if identity not in found and state["state"] in OPEN_STATES]
    return [
        *found.values(),
        # A state without a dead letter: its bytes are gone. Nothing of the input equals it, so the proof names it.
        *(DeadLetterSeen(state["id"], "", state["state"], state["reason"], "no bytes", b"") for state in bare),
    ]


async def _records(consumer: Any, partitions: Sequence[TopicPartition]) -> list[Any]:
    """Every record of some partitions, by partition and offset, up to where they end now."""
    if not partitions:
        return []
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    records: list[Any] = []
    for partition in partitions:
        while await consumer.position(partition) < ends[partition]:
            batches = await consumer.getmany(partition, timeout_ms=1_000)
            records.extend(record for batch in batches.values() for record in batch if record.offset < ends[partition])
    return records


def flow_of(letter: DeadLetterSeen) -> str:
    return "stock_adjusted" if letter.topic == "erp-stock-dead-letter" else letter.event_type
