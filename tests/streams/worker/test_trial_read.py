"""A read in a process of its own: who ends by it, and who does not."""

import os
from pathlib import Path

import pytest

from schemas.codec import embedded_codec
from streams.worker.trial_read import ends_its_reader
from tests.builders import order

#: Python runs it at the start of every process that finds it: a codec that some bytes are too much for.
FATAL = """
import os, schemas.codec
decode = schemas.codec.Codec.decode
def dies(codec, data, *rest):
    if data == b"kill":
        os.kill(os.getpid(), 9)
    if data == b"exit":
        os._exit(0)
    return decode(codec, data, *rest)
schemas.codec.Codec.decode = dies
"""


@pytest.fixture(autouse=True)
def _fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(FATAL, encoding="utf-8")
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))


@pytest.mark.parametrize("value", [b"kill", b"exit"])
async def test_who_reads_what_ends_processes_ends(value: bytes) -> None:
    assert await ends_its_reader("order_placed", value)


@pytest.mark.parametrize("value", [b"", b"no record of ours", embedded_codec().encode(order())])
async def test_whatever_can_be_read_or_refused_ends_nobody(value: bytes) -> None:
    assert not await ends_its_reader("order_placed", value)


async def test_a_process_that_does_not_start_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert not await ends_its_reader("order_placed", b"kill")
    monkeypatch.undo()
    assert not await ends_its_reader("no type of ours", b"kill")
