"""SIGTERM before there is anybody to stop: a service takes seconds to import, and is asked to end within them now and then."""

import signal
from types import FrameType

_asked: list[int] = []


def _remember(number: int, _frame: FrameType | None) -> None:
    _asked.append(number)


def remember() -> None:
    """From now on SIGTERM does not end the process, and is remembered; whoever serves puts a handler of its own in place."""
    _asked.clear()
    signal.signal(signal.SIGTERM, _remember)


def asked_to_stop() -> bool:
    """Whether SIGTERM came before there was a handler."""
    return bool(_asked)
