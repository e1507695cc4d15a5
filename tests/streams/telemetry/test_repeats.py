"""A flood is one line, and one a minute; nothing new is ever held back."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from streams.telemetry import logs
from streams.telemetry.repeats import MAX_LINES, REPEAT_S, RepeatLimit


class Flood:
    def __init__(self) -> None:
        self.now_s, self.out = 0.0, io.StringIO()
        logs.configure(stream=self.out)
        (handler,) = logging.getLogger().handlers
        handler.filters[:] = [RepeatLimit(lambda: self.now_s)]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture
def flood() -> Flood:
    return Flood()


def test_a_librarys_flood_is_a_line_a_minute_that_says_how_many_there_were(flood: Flood) -> None:
    for tick in range(930):  # as aiokafka does while its broker is away
        flood.now_s = tick / 10
        logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", 1, f"refused {tick}")
    first, second = flood.lines
    assert first["event"] == "Unable connect to node with id 1: refused 0"
    assert second["event"].endswith("(and 599 times more since it was last written)")


def test_of_text_without_a_template_numbers_make_no_difference(flood: Flood) -> None:
    for tick in range(100):
        logging.getLogger("mode.timers").warning(f"Timer is overlapping (runtime={tick}.5)")  # noqa: G004
    assert len(flood.lines) == 1


def test_ours_are_the_same_when_they_say_the_same_of_the_same(flood: Flood) -> None:
    log = structlog.get_logger("streams.x")
    for _ in range(5):
        for connector in ("shop", "till"):
            log.warning("connector_failed", connector=connector, error="away", failures=3)
        log.warning("connector_failed", connector="shop", error="refused")
    assert len(flood.lines) == 3
    flood.now_s = REPEAT_S
    log.warning("connector_failed", connector="till", error="away")
    assert flood.lines[-1]["count"] == 4


def test_what_is_no_warning_is_never_held_back(flood: Flood) -> None:
    for _ in range(5):
        structlog.get_logger("streams.x").info("file_done", file="a")
    assert len(flood.lines) == 5


def test_it_remembers_so_many_lines_and_no_more(flood: Flood) -> None:
    log = structlog.get_logger("streams.x")
    for number in range(MAX_LINES + 1):
        log.warning("refused", order_id=str(number))
    log.warning("refused", order_id="0")  # forgotten, and written again
    log.warning("refused", order_id=str(MAX_LINES))
    assert len(flood.lines) == MAX_LINES + 2
