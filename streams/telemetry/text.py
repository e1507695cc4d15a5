"""Foreign text made safe to print: one visible line, of bounded length."""

import re

LENGTH_CAP = 500  # characters of one value
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape(text: str, cap: int = LENGTH_CAP) -> str:
    """One visible line: control and direction-changing characters as Python escapes, cut to `cap` characters."""
    cut = text if len(text) <= cap else text[:cap] + "..."
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)


def bounded(text: str, size: int) -> str:
    """The same text on one line, in at most `size` bytes of UTF-8; cut between two characters."""
    encoded = escape(text, size).encode(errors="replace")
    return encoded.decode() if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "..."
