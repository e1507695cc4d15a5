"""Reads in a process of its own: who ends by them, and who does not."""

import os
from pathlib import Path

import pytest

from schemas.codec import embedded_codec
from streams.worker.pipeline import REFUSABLE
from streams.worker.trial_read import first_fatal
from tests.builders import adjustment, order, posting

#: Python runs it at the start of every process that finds it: a codec that some bytes are too much for.
FATAL = """
import os, schemas.codec
from schemas.codec import Codec
decode, rows = Codec.decode, Codec.rows
def meet(data):
    if b"kill" in data:
        os.kill(os.getpid(), 9)
    if b"exit" in data:
        os._exit(0)
    if b"memory" in data:
        bytearray(8 << 30)
    if b"bug" in data:
        raise RuntimeError("a bug")
    if b"once" in data and not os.path.exists(os.environ["ONCE"]):
        open(os.environ["ONCE"], "w").close()
        os._exit(1)
def dies(codec, data, *rest):
    meet(data)
    return decode(codec, data, *rest)
def rows_that_die(codec, *rest):
    read = rows(codec, *rest)
    def read_or_die(values):
        values = list(values)
        for value in values:
            meet(value)
        return read(values)
    return read_or_die
Codec.decode, Codec.rows = dies, rows_that_die
"""
ORDER = embedded_codec().encode(order())
POSTING = embedded_codec().encode(posting(value=b"kill"))


@pytest.fixture(autouse=True)
def _fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(FATAL, encoding="utf-8")
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    monkeypatch.setenv("ONCE", str(tmp_path / "once"))


@pytest.mark.parametrize("topic", REFUSABLE)
async def test_the_first_that_ends_its_reader_is_found_in_each_input(topic: str) -> None:
    assert await first_fatal(topic, [b"", ORDER, b"kill", b"exit"]) == 2


@pytest.mark.parametrize("value", [b"kill", b"exit", b"memory"])
async def test_whoever_reads_what_ends_processes_ends(value: bytes) -> None:
    assert await first_fatal("order-placed", [value]) == 0


async def test_the_event_in_a_queues_record_is_read_too() -> None:
    assert await first_fatal("erp-orders", [POSTING]) == 0


async def test_whatever_can_be_read_or_refused_ends_nobody() -> None:
    assert await first_fatal("order-placed", [b"", b"no record of ours", b"bug", ORDER]) is None
    assert await first_fatal("stock-adjusted", [embedded_codec().encode(adjustment()), b"bug", ORDER]) is None


async def test_a_reader_that_ends_once_was_ended_by_something_else() -> None:
    assert await first_fatal("order-placed", [b"once", ORDER]) is None
    assert await first_fatal("order-placed", [b"once", b"kill"]) == 1


async def test_a_process_that_does_not_start_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert await first_fatal("order-placed", [b"kill"]) is None
    monkeypatch.undo()
    assert await first_fatal("no topic of ours", [ORDER]) is None
