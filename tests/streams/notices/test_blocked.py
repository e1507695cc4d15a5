"""A dead letter that blocks others for too long is told once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.base.errors import LogError, LogUnavailableError
from connectors.base.notices import NoticeWriter
from schemas.codec import embedded_codec
from schemas.records import DeadLetterState, Notice
from streams.notices.blocked import BlockedKeys
from tests.schemas.test_notices import LETTER
from tests.streams.fakes import MemoryLog
from tests.streams.records import two_companies
from tests.streams.virtual import NOW


class SetClock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self):  # type: ignore[no-untyped-def]
        return self.at

    def monotonic(self) -> float:
        return 0.0


class Desk:
    def __init__(self) -> None:
        config = two_companies()
        self.log, self.clock, self.letters = MemoryLog.of(config), SetClock(), list[DeadLetterState]()
        self.writer = NoticeWriter(self.log, embedded_codec(), config.topic, config.company_partition)
        self.keys = BlockedKeys(lambda: self.letters, self.writer, self.clock, 900)

    def notices(self) -> list[Notice]:
        return [embedded_codec().decode(one.value or b"", Notice) for one in self.log._records["notices", 0]]


BLOCKER = replace(LETTER, id="b", first_failed_at=NOW)
HELD = [replace(LETTER, id=f"h{n}", state="held", blocked_by="b", first_failed_at=NOW) for n in range(3)]


async def test_a_dead_letter_that_blocks_for_a_quarter_of_an_hour_is_told_once_with_how_many_wait() -> None:
    desk = Desk()
    desk.letters = [BLOCKER, *HELD]
    desk.clock.at = NOW + timedelta(minutes=14)
    await desk.keys.look()
    assert desk.notices() == []
    desk.clock.at = NOW + timedelta(minutes=15)
    await desk.keys.look()
    await desk.keys.look()
    (notice,) = desk.notices()
    assert (notice.kind, notice.letter, notice.owner) == ("blocked", "b", "finance")
    assert notice.text.startswith("3 later events of order 1001 wait since")


async def test_one_that_blocks_nobody_is_none() -> None:
    desk = Desk()
    desk.letters = [BLOCKER]
    desk.clock.at = NOW + timedelta(days=1)
    await desk.keys.look()
    assert desk.notices() == []


async def test_what_could_not_be_written_is_written_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.letters = [BLOCKER, *HELD]
    desk.clock.at = NOW + timedelta(minutes=16)

    async def away(_records: object) -> None:
        raise LogUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.log, "send_many", away)
        with pytest.raises(LogError):
            await desk.keys.look()
    await desk.keys.look()
    assert len(desk.notices()) == 1
