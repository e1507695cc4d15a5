"""Lines that repeat are written once a minute, with how often they came."""

import logging
import re
import time
from collections.abc import Callable

#: Between two lines that say the same.
REPEAT_S = 60.0
#: Lines that are told apart at a time; the oldest is forgotten first, and then written again.
MAX_LINES = 1_000
_NUMBERS = re.compile(r"\d+")
#: What tells two warnings of ours apart, beside their words.
_ABOUT = ("system", "company", "connector", "topic", "partition", "name", "part", "order_id", "sku", "item", "k")
_VALUES = (*_ABOUT, "letter", "letter_id", "offset", "file", "state", "reason", "error")


class RepeatLimit(logging.Filter):
    """Lets a warning or error through when it is new, and then once in `REPEAT_S` while it goes on.

    A library's lines are the same when their templates are; ours, when they say the same of the same things.

    Args:
        monotonic: Seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}  # written at, held back since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        line, now = _line_of(record), self._monotonic()
        written, held_back = self._seen.pop(line, (None, 0))
        if written is not None and now - written < REPEAT_S:
            self._seen[line] = written, held_back + 1
            return False
        self._seen[line] = now, 0
        if len(self._seen) > MAX_LINES:
            del self._seen[next(iter(self._seen))]
        if held_back and isinstance(record.msg, dict):
            record.msg = {**record.msg, "count": held_back}
        elif held_back:
            record.msg = f"{record.msg} (and {held_back} times more since it was last written)"
        return True


def _line_of(record: logging.LogRecord) -> tuple[object, ...]:
    if isinstance(record.msg, dict):  # structlog's
        return (record.name, record.msg.get("event"), *(str(record.msg.get(key, "")) for key in _VALUES))
    first = str(record.msg).partition("\n")[0]
    return (record.name, record.levelno, first if record.args else _NUMBERS.sub("0", first)[:80])
