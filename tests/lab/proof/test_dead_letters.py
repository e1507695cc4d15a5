"""Dead letters as the proof reads them."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.proof.dead_letters import dead_letters_of, read_dead_letters


def state(**fields):
    """A record of `dead-letter-state`, written with the published schema."""
    path = Path(__file__).parents[3] / "schemas" / "avro" / "letter_state.v1.avsc"
    schema = fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8")))
    at = datetime(2026, 11, 20, tzinfo=UTC)
    record = {
        "id": "a",
        "state": "dead",
        "reason": "unknown_item",
        "owner": "merchandising",
        "company": "acme",
        "event_type": "stock_batch",
        "members": [],
        "topic": "erp-stock",
        "partition": 0,
        "offset": 0,
        "timestamp_ms": 0,
        "letter_topic": "erp-stock-dead-letter",
        "letter_partition": 0,
        "letter_offset": 0,
        "attempts": 1,
        "first_failed_at": at,
        "at": at,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record | fields)
    return b"\x00\x00\x00\x00\x0a" + out.getvalue()


HEADERS = {
    "__connect.errors.topic": b"x",
    "b1streams.id": b"a",
    "b1streams.state": b"parked",
    "b1streams.reason": b"unknown_item",
    "b1streams.event_type": b"stock_batch",
}


def test_the_last_state_of_a_letter_wins_and_names_its_members():
    states = [(b"a", state(state=name, members=["e1", "e2"])) for name in ("parked", "posted")]
    states.append((b"tenure/acme", None))
    (letter,) = dead_letters_of([("erp-stock-dead-letter", HEADERS, b"avro")], states)
    assert (letter.state, letter.event_ids) == ("posted", ("e1", "e2"))


def test_a_withdrawn_letter_is_none_until_it_is_written_again():
    written = [("erp-stock-dead-letter", HEADERS, b"avro")]
    assert dead_letters_of(written, [(b"a", state()), (b"a", None)]) == []
    (letter,) = dead_letters_of(written, [(b"a", None), (b"a", state(state="held"))])
    assert letter.state == "held"


def test_a_letter_written_twice_is_one_and_without_a_state_its_header_counts():
    (letter,) = dead_letters_of([("order-placed-dead-letter", HEADERS | {"b1streams.event_id": b"1001"}, b"v")] * 2, [])
    assert (letter.state, letter.event_ids) == ("parked", ("1001",))


@pytest.mark.kafka
async def test_letters_are_read_from_a_real_broker_and_other_prefixes_left_alone(kafka, topic_prefix):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    topics = [f"{topic_prefix}{name}" for name in ("order-placed-dead-letter", "dead-letter-state")]
    await admin.create_topics([NewTopic(name, 3, 1) for name in (*topics, f"x{topics[0]}")])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    headers = [*(HEADERS | {"b1streams.event_id": b"1001"}).items()]
    for topic in (topics[0], f"x{topics[0]}"):
        await producer.send_and_wait(topic, b"bytes", headers=headers)
    await producer.send_and_wait(topics[1], state(state="held"), key=b"a")
    await producer.stop()
    (letter,) = await read_dead_letters(kafka, topic_prefix)
    assert (letter.topic, letter.state, letter.event_ids, letter.value) == (
        "order-placed-dead-letter",
        "held",
        ("1001",),
        b"bytes",
    )


def test_an_open_state_whose_bytes_are_nowhere_is_named(case):
    case.letters += dead_letters_of([], [(b"a", state())])
    (one,) = case.prove().discrepancies
    assert (one.kind, one.where) == ("letter", "dead letter a in no topic")
