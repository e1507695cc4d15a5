import io
import json
import logging
from typing import Any

import pytest
import structlog

from connectors.base.errors import RetriableError
from streams.telemetry import logs
from streams.telemetry.text import LENGTH_CAP

CANARY = "Jane Canary"


@pytest.fixture
def lines() -> Any:
    out = io.StringIO()
    logs.configure(stream=out)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_logger(lines: Any) -> None:
    structlog.get_logger("streams.poster").info("posted", k="order_placed-A", doc_num=7)
    (line,) = lines()
    assert {key: line[key] for key in ("event", "level", "logger", "k", "doc_num")} == {
        "event": "posted",
        "level": "info",
        "logger": "streams.poster",
        "k": "order_placed-A",
        "doc_num": 7,
    }
    assert line["timestamp"].endswith("Z")


def test_keys_that_are_not_on_the_list_are_dropped_and_named(lines: Any) -> None:
    structlog.get_logger("x").info("posted", payload={"name": CANARY}, email=CANARY, sku="A")
    (line,) = lines()
    assert CANARY not in json.dumps(line)
    assert line["dropped"] == ["email", "payload"]
    assert line["sku"] == "A"


@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[31mred", "a\u2028b", "a\x00b", "a\x7fb", "a\x9bb", "a\u202eb"])
def test_no_text_can_break_or_colour_a_line(lines: Any, text: str) -> None:
    structlog.get_logger("x").warning("refused", error=text, items=[text], counts={text: 1})
    (line,) = lines()
    for shown in (line["error"], line["items"][0], *line["counts"]):
        assert shown.isprintable()
        assert shown == text.encode("unicode_escape").decode()


def test_a_value_is_cut(lines: Any) -> None:
    structlog.get_logger("x").info("refused", error="x" * 100_000, members=list(range(1000)), offset=b"bytes")
    (line,) = lines()
    assert len(line["error"]) == LENGTH_CAP + 3
    assert len(line["members"]) == 50
    assert line["offset"] == "5 bytes"


def test_of_a_foreign_exception_only_type_and_place_are_told(lines: Any) -> None:
    try:
        try:
            int(CANARY)
        except ValueError as error:
            raise RetriableError("B1 does not answer") from error
    except RetriableError:
        structlog.get_logger("x").exception("failed")
    (line,) = lines()
    ours, theirs = line["exception"]
    assert (ours["type"], ours["message"]) == ("RetriableError", "B1 does not answer")
    assert theirs["type"] == "ValueError"
    assert "message" not in theirs
    assert any("test_logs.py" in frame for frame in ours["at"])
    assert CANARY not in json.dumps(line)


def test_of_a_library_only_warnings_and_their_first_line_are_kept(lines: Any) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET https://b1/?$filter=EmailAddress eq '%s'", CANARY)
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %s", CANARY)
    (line,) = lines()
    assert line["event"] == "Task exception was never retrieved"
    assert (line["logger"], line["level"]) == ("asyncio", "error")
