"""Whether records can be read at all, found out in a process of its own, which may end by one of them.

A worker that ends says nothing of why: somebody may have killed it. So that a record is refused for what it does and
not for where it stood, what is suspected is read where nothing else is lost.
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Callable, Sequence

from connectors.schema_registry import HttpRegistry
from schemas.codec import TYPES, Codec, embedded_codec
from schemas.events import StockAdjusted
from schemas.records import LetterCommand, Posting
from schemas.topics import FACTS, event_type
from streams.windows.columns import STOCK_PARTS

#: Starting Python and reading our schemas take less than a second; a read takes microseconds.
TRIAL_S = 60.0
#: Of memory that a reader may have: what needs more ends a worker, of which this is a part.
TRIAL_BYTES = 2 * 1024**3
_STARTED, _READ = b"s", b"r"
_LENGTH_BYTES, _STDOUT = 4, 1


async def first_fatal(topic: str, values: Sequence[bytes], registry_url: str = "") -> int | None:
    """Which of these values is the first by which a process comes to its end that reads it.

    Args:
        topic: Our name of their records' topic.
        values: Of these records.
        registry_url: Of the configured registry; empty: the embedded one.

    Returns:
        Its index. None also where nobody can tell: a process could not be started, or was not through in `TRIAL_S`.
    """
    start = 0
    while start < len(values):
        read = await _read(topic, values[start:], registry_url)
        if read is None:
            return None
        start += read
        if start < len(values):
            # Twice, the second time alone: a process may have been ended by something else once more
            if await _read(topic, values[start : start + 1], registry_url) == 0:
                return start
            start += 1
    return None


async def _read(topic: str, values: Sequence[bytes], registry_url: str) -> int | None:
    """How many of them a process of its own reads before it ends; None: nobody can tell."""
    command = (sys.executable, "-m", __name__, topic, registry_url)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # what a terminal sends to us ends us, and proves nothing of the record
        )
    except OSError:
        return None
    sent = b"".join(part for value in values for part in (len(value).to_bytes(_LENGTH_BYTES, "big"), value))
    try:
        said, _ = await asyncio.wait_for(process.communicate(sent), TRIAL_S)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return len(said) - 1 if said else None


def main(topic: str, registry_url: str) -> None:
    """Read what stands on standard input; say that we are there, and after each value that we are still."""
    sent = memoryview(sys.stdin.buffer.read())
    read = _reader_of(topic, Codec(HttpRegistry(registry_url)) if registry_url else embedded_codec())
    with contextlib.suppress(OSError, ValueError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_AS, (TRIAL_BYTES, TRIAL_BYTES))
    os.write(_STDOUT, _STARTED)
    at = 0
    while at < len(sent):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(sent[at:start], "big")
        try:
            read(bytes(sent[start:at]))
        except MemoryError:
            return
        except Exception as error:  # noqa: BLE001 -- it is refused where it raises
            del error
        os.write(_STDOUT, _READ)


def _reader_of(topic: str, codec: Codec) -> Callable[[bytes], object]:
    """As the topic's owner reads a value."""
    if topic == "stock-adjusted":
        rows = codec.rows(StockAdjusted, STOCK_PARTS, lambda fault: fault)
        return lambda value: rows([value])
    if topic in FACTS:
        return lambda value: codec.decode(value, TYPES[event_type(topic)])

    def queued(value: bytes) -> None:
        posting = codec.decode(value, (Posting, LetterCommand))
        if isinstance(posting, Posting):
            codec.decode(posting.value, TYPES[posting.kind])

    return queued


if __name__ == "__main__":
    main(*sys.argv[1:])
