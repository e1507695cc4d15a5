"""Another day for a whole run of tests and for every process that it starts.

`TEST_CLOCK=2028-02-29T23:59:30+00:00` moves this process's clocks (`datetime.now`, `time.time`, `time.localtime` and
the rest; not `time.monotonic`) to that instant, from where they go on at their usual speed. Python processes that a
test
starts move with it: their `sitecustomize` is the one in `startup/`, which takes the same offset from the environment.
"""

import os
import time
from datetime import datetime
from pathlib import Path

_START = "TEST_CLOCK"
_OFFSET = "TEST_CLOCK_OFFSET_S"
_STARTUP = Path(__file__).with_name("startup")


def is_asked_for() -> bool:
    """Whether this run is on another day."""
    return _START in os.environ


def start() -> None:
    """Move the clock if the environment asks for it; once in a process."""
    if _OFFSET in os.environ:
        move(float(os.environ[_OFFSET]))
    elif _START in os.environ:
        offset_s = datetime.fromisoformat(os.environ[_START]).timestamp() - time.time()
        os.environ[_OFFSET] = repr(offset_s)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_STARTUP), os.environ.get("PYTHONPATH", "")]))
        move(offset_s)


def move(offset_s: float) -> None:
    """Travel so many seconds from the real time, unless that has been done."""
    import time_machine

    if time_machine.escape_hatch.is_travelling():
        return
    # A number of seconds: an aware time would set the process's time zone as well.
    time_machine.travel(time.time() + offset_s, tick=True).start()
