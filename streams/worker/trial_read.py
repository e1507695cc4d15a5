"""Whether a record can be read at all, found out in a process of its own, which may end by it.

A worker that ends says nothing of why: somebody may have killed it. So that a record is refused for what it does and
not for where it stood, the read that is suspected is done where nothing else is lost.
"""

import asyncio
import sys

from connectors.schema_registry import HttpRegistry
from schemas.codec import TYPES, Codec, embedded_codec

#: Starting Python and reading our schemas take about a second; a read takes milliseconds.
TRIAL_S = 60.0
_STARTED, _ENDED = b"started\n", b"ended\n"


async def ends_its_reader(type_name: str, value: bytes, registry_url: str = "") -> bool:
    """Whether a process that reads these bytes comes to its end by them.

    Args:
        type_name: What they should be, a name of `schemas.codec.TYPES`.
        value: The record's.
        registry_url: Of the configured registry; empty: the embedded one.

    Returns:
        False also where nobody can tell: the process could not be started, or was not through in `TRIAL_S`.
    """
    command = (sys.executable, "-m", __name__, type_name, registry_url)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        said, _ = await asyncio.wait_for(process.communicate(value), TRIAL_S)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said == _STARTED


def main(type_name: str, registry_url: str) -> None:
    """Read what stands on standard input, and say before and after that we are there."""
    value = sys.stdin.buffer.read()
    codec = Codec(HttpRegistry(registry_url)) if registry_url else embedded_codec()
    sys.stdout.buffer.write(_STARTED)
    sys.stdout.buffer.flush()
    try:
        codec.decode(value, TYPES[type_name])
    finally:
        sys.stdout.buffer.write(_ENDED)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
