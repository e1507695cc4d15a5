import asyncio
import contextlib
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from schemas.codec import embedded_codec
from schemas.components import HOLD_REASONS
from schemas.letters import REASONS
from schemas.records import ComponentState
from streams.query import components
from streams.telemetry.catalogue import OWNERS
from streams.telemetry.component_states import (
    DETAIL_BYTES,
    REPEAT_S,
    STALE_S,
    TOPIC,
    ComponentStates,
    ComponentStateWriter,
    read,
    retire,
)
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import NOW, Clock, run

CONFIG, CODEC = config(), embedded_codec()
TOPIC_NAME = CONFIG.topic(TOPIC)
COMPANY, CONNECTOR = next(iter(CONFIG.companies)), next(iter(CONFIG.connectors))


def memory() -> tuple[Metrics, ComponentStates]:
    metrics = Metrics(CONFIG, Clock())
    return metrics, metrics.components


def gauges(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    return {
        (sample.labels["kind"], sample.labels["name"], sample.labels["reason"]): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
        if sample.name == "b1streams_component_held"
    }


def test_the_closed_list_has_owners_that_the_dead_letters_know() -> None:
    assert {row.owner for row in HOLD_REASONS.values()} <= set(OWNERS)
    assert not HOLD_REASONS.keys() & REASONS.keys()
    assert all(row.words and row.remedy for row in HOLD_REASONS.values())


def test_a_state_is_known_at_once_with_since_owner_and_who_waits() -> None:
    async def scene() -> None:
        metrics, states = memory()
        states.count_by("company", COMPANY, lambda: 4)
        states.report("company", COMPANY, "password_refused", "B1 says no")
        await asyncio.sleep(60)
        states.report("company", COMPANY, "password_refused", "B1 says no, again")
        (held,) = states.not_working()
        assert (held.state, held.owner, held.waiting, held.detail) == ("held", "platform", 4, "B1 says no, again")
        assert held.since == NOW, "the same again does not begin anew"
        assert gauges(metrics) == {("company", COMPANY, "password_refused"): 1}
        states.report("company", COMPANY, "unreachable")
        (away,) = states.not_working()
        assert (away.state, away.since) == ("away", NOW + timedelta(seconds=60))
        states.report("company", COMPANY)
        assert states.not_working() == []
        assert set(gauges(metrics).values()) == {0}

    run(scene())


def test_the_log_has_one_line_a_change_and_one_a_minute_while_it_lasts() -> None:
    async def scene() -> None:
        _, states = memory()
        with capture_logs() as lines:
            for _ in range(3000):  # ten minutes of five a second
                states.report("connector", CONNECTOR, "token_refused", "401")
                states.remind()
                await asyncio.sleep(0.2)
            states.report("connector", CONNECTOR)
        assert len(lines) == 1 + 9 + 1, [line["event"] for line in lines]
        assert lines[1]["tries"] == 300
        assert {line["log_level"] for line in lines[:-1]} == {"error"}
        assert lines[-1]["event"] == f"connector {CONNECTOR} works again"

    run(scene())


def test_listeners_hear_of_changes_only() -> None:
    async def scene() -> None:
        _, states = memory()
        heard: list[tuple[str | None, str | None]] = []
        states.listeners.append(lambda before, after: heard.append((before and before.reason, after.reason)))
        for reason in ("unreachable", "unreachable", "password_refused", None, None):
            states.report("company", COMPANY, reason)
        assert heard == [(None, "unreachable"), ("unreachable", "password_refused"), ("password_refused", None)]

    run(scene())


def test_a_detail_is_one_line_of_bounded_bytes() -> None:
    async def scene() -> None:
        _, states = memory()
        states.report("company", COMPANY, "failed", "\u20ac\n" * 4000)
        (held,) = states.not_working()
        assert held.detail is not None
        assert len(held.detail.encode()) <= DETAIL_BYTES
        assert "\n" not in held.detail

    run(scene())


async def published(log: MemoryLog) -> dict[str, ComponentState]:
    return {state.name: state for state in await read(log, TOPIC_NAME, CODEC)}


def test_changes_are_published_at_once_and_repeated_so_that_a_dead_writer_is_noticed() -> None:
    async def scene() -> None:
        _, states = memory()
        log = MemoryLog.of(CONFIG)
        writing = asyncio.create_task(ComponentStateWriter(states, log, CODEC, TOPIC_NAME).run())
        states.report("company", COMPANY)
        states.report("connector", CONNECTOR, "source_away", "no answer")
        await asyncio.sleep(0.01)
        assert {name: state.reason for name, state in (await published(log)).items()} == {
            COMPANY: None,
            CONNECTOR: "source_away",
        }
        await asyncio.sleep(3 * REPEAT_S)
        now = NOW + timedelta(seconds=asyncio.get_running_loop().time())
        (held,) = await components.held(log, CONFIG, CODEC, now)
        assert (held.name, held.reason, held.since, held.age_s < REPEAT_S) == (CONNECTOR, "source_away", NOW, True)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        later = now + timedelta(seconds=STALE_S + REPEAT_S)
        silent = await components.held(log, CONFIG, CODEC, later)
        assert {(each.name, each.reason) for each in silent} == {
            (COMPANY, "not_running"),
            (CONNECTOR, "not_running"),
        }
        assert "source_away" in next(each.detail or "" for each in silent if each.name == CONNECTOR)

    run(scene())


def test_what_kafka_does_not_take_is_written_when_it_is_back() -> None:
    async def scene() -> None:
        _, states = memory()
        log = MemoryLog.of(CONFIG)
        log.away = "gone"
        writing = asyncio.create_task(ComponentStateWriter(states, log, CODEC, TOPIC_NAME).run())
        states.report("company", COMPANY, "unreachable")
        await asyncio.sleep(REPEAT_S)
        log.away = None
        await asyncio.sleep(REPEAT_S + 1)
        assert (await published(log))[COMPANY].since == NOW
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing

    run(scene())


def test_since_survives_a_restart_and_a_move_to_another_process() -> None:
    async def scene() -> None:
        log = MemoryLog.of(CONFIG)
        _, first = memory()
        first.report("company", COMPANY, "password_refused")
        await ComponentStateWriter(first, log, CODEC, TOPIC_NAME).publish()
        await asyncio.sleep(600)
        _, second = memory()
        writer = ComponentStateWriter(second, log, CODEC, TOPIC_NAME)
        await writer.publish()
        second.report("company", COMPANY, "password_refused")
        await writer.publish()
        assert (await published(log))[COMPANY].since == NOW
        await asyncio.sleep(600)
        second.report("company", COMPANY, "unreachable")
        await writer.publish()
        assert (await published(log))[COMPANY].since == NOW + timedelta(seconds=1200)

    run(scene())


def test_what_another_process_has_now_is_not_ours_to_speak_of() -> None:
    async def scene() -> None:
        metrics, states = memory()
        states.report("company", COMPANY, "unreachable")
        states.forget("company", COMPANY)
        assert states.all() == []
        assert set(gauges(metrics).values()) == {0}

    run(scene())


def test_a_partition_that_its_next_worker_reads_is_not_held_any_more_and_the_topic_keeps_nothing_of_it() -> None:
    """Its first worker held it, and was killed: without a word of the next one it would read `not_running` for good."""

    async def scene() -> None:
        log = MemoryLog.of(CONFIG)
        _, first = memory()
        first.report("partition", "order-placed/0", "failed", "a bug")
        await ComponentStateWriter(first, log, CODEC, TOPIC_NAME).publish()
        later = NOW + timedelta(seconds=2 * STALE_S)
        (silent,) = await components.held(log, CONFIG, CODEC, later)
        assert (silent.name, silent.reason) == ("order-placed/0", "not_running")
        _, second = memory()
        heard: list[str | None] = []
        writer = ComponentStateWriter(
            second, log, CODEC, TOPIC_NAME, lambda before, _now: heard.append(before and before.reason) or ()
        )
        await writer.publish()  # a process that has none of the partitions yet
        second.report("partition", "order-placed/0")
        second.report("partition", "order-placed/1")
        await writer.publish()
        assert heard == ["failed", None]
        assert await published(log) == {}
        written = (await log.bounds(TOPIC_NAME, 0))[1]
        await writer.publish()
        assert (await log.bounds(TOPIC_NAME, 0))[1] == written
        assert await components.held(log, CONFIG, CODEC, later) == []

    run(scene())


def test_what_is_retired_or_not_configured_any_more_is_not_shown() -> None:
    async def scene() -> None:
        _, states = memory()
        log = MemoryLog.of(CONFIG)
        states.report("company", COMPANY, "unreachable")
        await ComponentStateWriter(states, log, CODEC, TOPIC_NAME).publish()
        gone = config()
        object.__setattr__(gone, "companies", {})
        assert await components.held(log, gone, CODEC, NOW) == []
        await retire(log, TOPIC_NAME, "company", COMPANY)
        assert await components.held(log, CONFIG, CODEC, NOW) == []

    run(scene())


def test_one_line_says_what_since_when_how_many_wait_and_who_acts() -> None:
    async def scene() -> None:
        _, states = memory()
        log = MemoryLog.of(CONFIG)
        states.count_by("company", COMPANY, lambda: 4)
        states.report("company", COMPANY, "password_refused", "wrong user name or password")
        await ComponentStateWriter(states, log, CODEC, TOPIC_NAME).publish()
        (held,) = await components.held(log, CONFIG, CODEC, NOW)
        line = str(held)
        assert line.startswith(f"{COMPANY}: B1 refuses the password since ")
        assert ", 4 wait, platform acts: " in line
        assert line.endswith("(wrong user name or password)")
        assert {"kind", "name", "reason", "since", "owner", "detail", "waiting"} <= held.as_json().keys()

    run(scene())
