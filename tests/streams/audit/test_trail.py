"""The audit chain: written by several at once, read, and looked at for damage."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.log import Outgoing, Sent
from schemas.codec import embedded_codec
from schemas.records import AuditRecord
from streams.audit.trail import AUDIT, AuditTrail
from tests.streams.fakes import MemoryLog, config

CODEC = embedded_codec()


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 12, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


class SlowLog(MemoryLog):
    """Others get their turn before each record is written."""

    async def send_many(self, records: list[Outgoing]) -> list[Sent]:  # type: ignore[override]
        await asyncio.sleep(0)
        return await super().send_many(records)


def world() -> tuple[SlowLog, AuditTrail, Clock]:
    settings, clock = config(), Clock()
    log = SlowLog.of(settings)
    return log, AuditTrail(log, settings, CODEC, clock), clock  # type: ignore[return-value]


async def run(trail: AuditTrail, name: str) -> None:
    async with trail.command("dlq discard", by="ada", what=name, company="acme", why="by hand") as running:
        running.result = f"{name} done"


async def copy_of(log: MemoryLog, change: "dict[int, bytes | None]") -> MemoryLog:
    """A topic made anew from the old one's records, some of them changed or left out; the anchors stay."""
    settings = config()
    copy = MemoryLog.of(settings)
    for name in (AUDIT, "chain-anchors"):
        async for records in log.read(settings.topic(name), 0, 0, None):
            for record in records:
                value = change.get(record.offset, record.value) if name == AUDIT else record.value
                if value is not None:
                    await copy.send(record.topic, 0, record.key, value)
    return copy


async def test_a_command_is_in_the_chain_before_it_does_anything_and_with_its_result() -> None:
    _, trail, _ = world()
    async with trail.command("topics accept", by="ada", what="stock-adjusted/0", why="disk lost") as running:
        (begun,) = await trail.records()
        assert (begun.action, begun.by, begun.why, begun.result) == ("topics accept", "ada", "disk lost", None)
        running.result = "3 lost"
    begun, ended = await trail.records()
    assert (ended.result, ended.command) == ("3 lost", begun.command)
    assert (await trail.verify()).records == 2


async def test_a_command_that_fails_says_so() -> None:
    _, trail, _ = world()
    with pytest.raises(RuntimeError):
        async with trail.command("dlq release", by="ada", what="x"):
            raise RuntimeError
    assert (await trail.records())[-1].result == "stopped by RuntimeError"


async def test_ten_writers_at_once_do_not_break_the_chain_and_all_of_them_are_in_it() -> None:
    log, trail, _ = world()
    await asyncio.gather(*(run(trail, str(number)) for number in range(10)))
    records = await trail.records()
    assert sorted(record.what for record in records if record.result) == sorted(map(str, range(10)))
    assert [record.number for record in records] == list(range(20))
    verdict = await trail.verify()
    assert (verdict.records, verdict.broken_at) == (20, None)
    assert (await log.bounds(AUDIT, 0))[1] > 20, "nobody met anybody: the test shows nothing"


async def test_a_text_is_cut_so_that_its_record_fits() -> None:
    _, trail, _ = world()
    await run(trail, "x" * 3_000_000)
    assert len((await trail.records())[0].what) == 20_000


async def test_the_chain_goes_on_when_retention_has_taken_all_of_it() -> None:
    log, trail, clock = world()
    await run(trail, "old")
    await run(trail, "older")
    await log.delete_records(AUDIT, 0, 4)
    clock.at += timedelta(days=500)
    await run(trail, "new")
    assert [record.what for record in await trail.records()] == ["new", "new"]
    verdict = await trail.verify()
    assert (verdict.records, verdict.broken_at) == (2, None)


@given(number=st.integers(0, 5), damage=st.sampled_from(["change", "take out", "garble", "cut"]))
async def test_a_changed_a_missing_and_a_garbled_record_break_it(number: int, damage: str) -> None:
    log, trail, _ = world()
    for name in ("a", "b", "c"):
        await run(trail, name)
    changes: dict[int, bytes | None] = {}
    if damage == "change":
        record = (await trail.records())[number]
        changes[number] = CODEC.encode(replace(record, by="eve"))
    elif damage == "cut":
        changes = dict.fromkeys(range(number, 6))
    else:
        changes[number] = None if damage == "take out" else b"\x00"
    copy = await copy_of(log, changes)
    verdict = await AuditTrail(copy, config(), CODEC, Clock()).verify()  # type: ignore[arg-type]
    assert verdict.broken_at is not None
    assert number <= verdict.broken_at <= number + 1
    assert verdict.why


async def test_a_record_put_beside_the_chain_is_found() -> None:
    log, trail, _ = world()
    await run(trail, "a")
    record: AuditRecord = (await trail.records())[-1]
    await log.send(AUDIT, 0, b"acme", CODEC.encode(record))
    assert (await trail.verify()).broken_at is None, "the same record once more is a producer's retry"
    await log.send(AUDIT, 0, b"acme", CODEC.encode(replace(record, id="f", by="eve")))
    assert (await trail.verify()).broken_at == 3
