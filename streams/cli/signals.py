"""SIGTERM and SIGINT over the life of a service.

Remembered while it imports, acted on while it runs, ignored while it exits.

Python handlers, not the event loop's: those are taken away when the loop closes, and the interpreter puts the default
action back when it shuts down. Either way a second SIGTERM would kill a service that has already stopped cleanly.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_received: list[int] = []


def remember() -> None:
    """From now on SIGTERM does not end the process and is remembered; see `listening`."""
    _received.clear()
    signal.signal(signal.SIGTERM, _remember)


def _remember(number: int, _frame: FrameType | None) -> None:
    _received.append(number)


def stop_requested() -> bool:
    """Whether SIGTERM came after `remember` and before anybody listened."""
    return bool(_received)


@contextmanager
def listening(on_stop: Callable[[int], object]) -> Iterator[None]:
    """Call `on_stop` with the number of each SIGTERM and SIGINT.

    It runs between two instructions of the main thread.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        on_stop(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore() -> None:
    """The work is done and the process exits: what is asked of it now changes nothing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
