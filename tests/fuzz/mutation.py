"""Real-shaped JSON, changed at random: by its structure where it still has one, by its bytes where it should not."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

#: Stands in every personal field of the examples; no message and no log line may have it.
CANARY = "zoecanary"
MAX_BYTES = 256 * 1024

_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null')
_SPACE = re.compile(rb"[ \t\r\n]*")

_NUMBERS = (
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "0.5",
    "-0.01",
    "1e0",
    "1E+2",
    "1e-7",
    "0.000001",
    "0.0000001",
    "0.1234567",
    "1.10",
    "16.666666666667",
    "9999999999999.999999",
    "-9999999999999.999999",
    "9999999999999",
    "10000000000000",
    "1e12",
    "1e13",
    "5e12",
    "4999999999999.999999",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "1e19",
    "1e28",
    "1e29",
    "1e308",
    "1e309",
    "-1e400",
    "1e9999",
    "1e999999999",
    "1e-999999999",
    "1e99999999999999999999",
    "1e-400",
    "0e999999999",
    "0E-999999999",
    "1000000000",
    "1000000001",
    "2147483648",
    "4294967296",
    "1763726400",
    "99999999999",
    "-62135596801",
    "9" * 40,
    "9" * 41,
    "0." + "0" * 60 + "1",
    "9" * 4301,
    "1" + "0" * 20000,
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
)
_TEXTS = (
    "",
    " ",
    "\t",
    "0",
    "1",
    "-1",
    "00",
    "01",
    "+1",
    "1.",
    ".5",
    "1,5",
    "1_000",
    "1e5",
    "1e999999999",
    "NaN",
    "sNaN",
    "Infinity",
    "-inf",
    "٣",
    "１２",
    "0x10",
    "null",
    "None",
    "true",
    "True",
    "GB",
    "gb",
    "XX",
    "GBP",
    "gbp",
    "JPY",
    "KWD",
    "XXX",
    "GBPX",
    "EUR",
    "2026-11-21T12:00:00Z",
    "2026-11-21T12:00:00+00:00",
    "2026-11-21T12:00:00",
    "2026-11-21 12:00:00",
    "2026-11-21",
    "2026-02-30 00:00:00",
    "0001-01-01T00:00:00+23:59",
    "0001-01-01 00:00:00",
    "9999-12-31T23:59:59-23:59",
    "9999-12-31 23:59:59",
    "1969-12-31T23:59:59Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T12:00:60Z",
    "2026-W47-6T12:00:00Z",
    "20261121T120000Z",
    "2026-11-21T12:00:00.123456789Z",
    "2026-11-21T12:00:00+99:00",
    "2300-01-01T00:00:00Z",
    "gid://shopify/Order/1",
    "gid://shopify/Order/" + "9" * 90,
    "gid://shopify/Order/../x",
    "gid://shopify/Order/1?a=b",
    "../../etc/passwd",
    "a/b#1",
    "%00",
    "'",
    '"',
    "\\",
    "'; DROP TABLE x;--",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\x00",
    "\x1b[31m",
    "\r\nX-Injected: 1",
    "\x7f",
    "\x85",
    "e\u0301",
    "ß",
    "İ",
    "😀",
    "😀" * 60,
    "\ud800",
    "\udfff\ud800",
    "a" * 100,
    "a" * 101,
    "a" * 1000,
    "a" * 70000,
    "€" * 40000,
    "{}",
    "{0}",
    "%s",
    "${x}",
    "__class__",
    "POST",
    "SUCCESS",
    "CANCELLED",
    "cancelled",
    "shipped",
    "closed",
    "processing",
    "RETURN",
    "ORDER_EDIT",
    "b1-streams",
    "bundle",
    "virtual",
)
_LITERALS = (
    "null",
    "true",
    "false",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    '{"id":null}',
    '{"nodes":null}',
    '{"nodes":[]}',
    '{"nodes":[null]}',
    '{"text":1}',
    '""',
    "tru",
    "nul",
    "-",
    "[",
    "]",
    "{",
    "}",
    "'x'",
    "",
)
_RAW = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x00",
    b"\x01",
    b"\x1f",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r\n",
    b"\\",
    b'"',
    b"\\u",
    b"\\ud83d",
    b"\\u0000",
    b"\\x41",
    b",",
    b":",
    b"//x",
    b"\xa0",
    b"\xc2\xa0",
)
_DEPTHS = (1, 2, 3, 30, 31, 32, 33, 100, 900, 1000, 3000, 20000, 60000)
_EXTRA_KEYS = ("__proto__", "id", "type", "", "extra", "base_grand_total", "\ud800", "a" * 300)


@dataclass(frozen=True, slots=True)
class Value:
    """A value inside a text: where it is, and the member of its container that it is."""

    start: int
    end: int
    kind: bytes  # its first byte
    key: bytes | None
    member: int  # where its member begins: at the key, if it has one
    before: int | None  # where the member before it ends
    after: int | None  # where the member after it begins


class Example:
    """One text and its values. It must be JSON."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.values: list[Value] = []
        end = self._scan(_skip(text, 0), None, 0, None)
        assert _skip(text, end) == len(text), "an example is JSON"

    def _scan(self, at: int, key: bytes | None, member: int, before: int | None) -> int:
        text, index = self.text, len(self.values)
        kind = text[at : at + 1]
        self.values.append(Value(at, at, kind, key, member, before, None))
        if kind in (b"{", b"["):
            end = self._members(at, kind == b"{")
        else:
            found = _SCALAR.match(text, at)
            assert found is not None, "an example is JSON"
            end = found.end()
        self.values[index] = Value(at, end, kind, key, member, before, self.values[index].after)
        return end

    def _members(self, at: int, keyed: bool) -> int:
        text, last, previous = self.text, None, None
        at = _skip(text, at + 1)
        while text[at : at + 1] not in (b"}", b"]"):
            start, key = at, None
            if previous is not None:
                old = self.values[previous]
                self.values[previous] = Value(old.start, old.end, old.kind, old.key, old.member, old.before, start)
            if keyed:
                found = _SCALAR.match(text, at)
                assert found is not None, "a key"
                key = found[0]
                at = _skip(text, _skip(text, found.end()) + 1)
            previous = len(self.values)
            last = self._scan(at, key, start, last)
            at = _skip(text, last)
            if text[at : at + 1] == b",":
                at = _skip(text, at + 1)
        return at + 1


def _skip(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at


def encoded(text: str) -> bytes:
    return json.dumps(text).encode()


class Mutator:
    """Changes examples; knows which values stand under which keys in all of them."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.examples = [Example(text) for text in texts]
        self._by_key: dict[bytes, list[bytes]] = defaultdict(list)
        for example in self.examples:
            for value in example.values:
                piece = example.text[value.start : value.end]
                if value.key is not None and len(piece) < 2000 and piece not in self._by_key[value.key]:
                    self._by_key[value.key].append(piece)
        self._keys = sorted(self._by_key)

    def mutate(self, draw: Random, example: Example | None = None) -> bytes:
        """One text, changed in one place or some, now and then in none."""
        example = example or draw.choice(self.examples)
        count = draw.choice((0, 1, 1, 1, 1, 2, 2, 3, 4, 8))
        edits: list[tuple[int, int, bytes]] = []
        for _ in range(count):
            start, end, piece = self._edit(example, draw.choice(example.values), draw)
            if all(end <= at or start >= until for at, until, _ in edits):
                edits.append((start, end, piece))
        text = example.text
        for start, end, piece in sorted(edits, reverse=True):
            text = text[:start] + piece + text[end:]
        if draw.random() < 0.15:
            text = damage(text, draw)
        return text[:MAX_BYTES]

    def _edit(self, example: Example, value: Value, draw: Random) -> tuple[int, int, bytes]:
        text = example.text
        here = text[value.start : value.end]
        match draw.randrange(16):
            case 0 | 1 | 2:
                return value.start, value.end, self._like(value.kind, here, draw)
            case 3 | 4:
                return value.start, value.end, any_value(draw)
            case 5 | 6 if value.key is not None:
                return value.start, value.end, draw.choice(self._by_key.get(value.key) or [b"null"])
            case 7:
                other = draw.choice(draw.choice(self.examples).values)
                donor = draw.choice(self._by_key[draw.choice(self._keys)]) if self._keys else b"1"
                own = text[other.start : other.end] if other.end <= len(text) else donor
                return value.start, value.end, donor if draw.random() < 0.5 or not own else _whole(own, donor)
            case 8 | 9:
                return _without(value)
            case 10 if value.start:
                again = (
                    text[value.member : value.end]
                    if draw.random() < 0.5 or value.key is None
                    else value.key + b":" + any_value(draw)
                )
                return value.end, value.end, b"," + again
            case 11 if value.start:
                piece = text[value.member : value.end]
                times = min(draw.choice((2, 3, 10, 100, 1000)), max(1, 32 * 1024 // (len(piece) + 1)))
                return value.end, value.end, (b"," + piece) * times
            case 12:
                return value.start, value.end, _nested(here, draw)
            case 13 if value.key is not None:
                name = draw.choice(self._keys) if draw.random() < 0.5 else encoded(draw.choice(_EXTRA_KEYS))
                return value.member, value.start, name + b":"
            case 14 if value.key is not None:
                name = draw.choice(self._keys) if draw.random() < 0.7 else encoded(draw.choice(_EXTRA_KEYS))
                return value.end, value.end, b"," + name + b":" + any_value(draw)
            case _:
                at = draw.randrange(value.start, value.end + 1)
                return at, at, draw.choice(_RAW)

    def _like(self, kind: bytes, here: bytes, draw: Random) -> bytes:
        """Something else of the same type, or the same as another type."""
        if kind == b'"':
            if draw.random() < 0.2:
                return here[1:-1] if here[1:-1].isdigit() else b"[" + here + b"]"
            if draw.random() < 0.3:
                at = draw.randrange(1, len(here))
                return here[:at] + encoded(draw.choice(_TEXTS))[1:-1] + here[at:]
            return encoded(draw.choice(_TEXTS if draw.random() < 0.7 else _NUMBERS))
        if kind in b"-0123456789" and kind:
            number = draw.choice(_NUMBERS) if draw.random() < 0.8 else str(draw.randrange(-(10**6), 10**6) / 100)
            return encoded(number) if draw.random() < 0.3 else number.encode()
        return any_value(draw)


def any_value(draw: Random) -> bytes:
    match draw.randrange(4):
        case 0:
            return draw.choice(_LITERALS).encode()
        case 1:
            return draw.choice(_NUMBERS).encode()
        case 2:
            return encoded(draw.choice(_NUMBERS))
        case _:
            return encoded(draw.choice(_TEXTS))


def damage(text: bytes, draw: Random) -> bytes:
    """Change bytes, whatever they mean."""
    data = bytearray(text)
    match draw.randrange(8):
        case 0 | 1 if data:
            for _ in range(draw.randrange(1, 4)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case 2 if data:
            at = draw.randrange(len(data))
            del data[at : at + draw.choice((1, 2, 10, 1000))]
        case 3:
            del data[draw.randrange(len(data) + 1) :]
        case 4:
            at = draw.randrange(len(data) + 1)
            data[at:at] = draw.randbytes(draw.choice((1, 2, 8, 100)))
        case 5:
            at = draw.randrange(len(data) + 1)
            data[at:at] = data[: draw.randrange(len(data) + 1)]
        case 6:
            return draw.choice(
                (
                    b"",
                    b" ",
                    b"\xef\xbb\xbf" + text,
                    text + text,
                    text.decode("utf-8", "replace").encode("utf-16"),
                    b"[" * 60000,
                )
            )
        case _:
            at = draw.randrange(len(data) + 1)
            data[at:at] = draw.choice(_RAW)
    return bytes(data)


def _without(value: Value) -> tuple[int, int, bytes]:
    if value.after is not None:
        return value.member, value.after, b""
    if value.before is not None:
        return value.before, value.end, b""
    return value.member, value.end, b""


def _nested(here: bytes, draw: Random) -> bytes:
    depth = draw.choice(_DEPTHS)
    if draw.random() < 0.5:
        return b"[" * depth + here + b"]" * depth
    return b'{"a":' * depth + here + b"}" * depth


def _whole(piece: bytes, donor: bytes) -> bytes:
    """A piece that is cut from another text's place may be no value: then the donor."""
    try:
        json.loads(piece)
    except (ValueError, RecursionError):
        return donor
    return piece
