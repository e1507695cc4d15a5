"""Answers of the shop's lists: row by row with their bytes."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.base.json_numbers import exact, whole


@dataclass(frozen=True, slots=True)
class ShopRow:
    """One row of a list: what it says, its bytes as the shop sent them, and a short hash of those."""

    found: object
    value: bytes

    @property
    def fields(self) -> Mapping[str, object]:
        return self.found if isinstance(self.found, dict) else {}

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.value).hexdigest()

    @property
    def mark(self) -> int:
        """32 bits that differ when the row says something else (but for one change in 4 billion)."""
        return int.from_bytes(hashlib.sha256(self.value).digest()[:4], "big")


@dataclass(frozen=True, slots=True)
class Listing:
    """A search's answer; `total` is how many rows there are on all pages, None where the shop does not say."""

    rows: tuple[ShopRow, ...]
    total: int | None


_DECODER = json.JSONDecoder(parse_float=exact, parse_int=whole, parse_constant=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def parse_listing(body: bytes) -> Listing:
    """Read a search's answer; each row keeps its own bytes.

    Raises:
        ValueError: It is not JSON, or not a list's answer.
    """
    text = body.decode("utf-8")
    total: int | None = None
    rows: tuple[ShopRow, ...] = ()
    try:
        at = _expect(text, _skip(text, 0), "{")
        has_items = False
        while text[at : at + 1] != "}":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _expect(text, _skip(text, at), ":"))
            if key == "items" and text[at : at + 1] == "[":
                rows, at = _rows(text, at)
                has_items = True
            else:
                found, at = _DECODER.raw_decode(text, at)
                has_items = has_items or key == "items"
                if key == "total_count" and isinstance(found, int):
                    total = found
            at = _next(text, at, "}")
        if _skip(text, at + 1) != len(text):
            raise ValueError("something follows the answer")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not has_items and total is None:
        raise ValueError("neither items nor total_count")
    return Listing(rows, total)


def _rows(text: str, at: int) -> tuple[tuple[ShopRow, ...], int]:
    rows: list[ShopRow] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        found, end = _DECODER.raw_decode(text, at)
        rows.append(ShopRow(found, text[at:end].encode("utf-8")))
        at = _next(text, end, "]")
    return tuple(rows), at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise ValueError(f"expected {mark} at character {at}")
    return _skip(text, at + 1)


def _next(text: str, at: int, end: str) -> int:
    """Where the next member begins, or the end mark stands."""
    at = _skip(text, at)
    if text[at : at + 1] == end:
        return at
    after = _expect(text, at, ",")
    if text[after : after + 1] == end:
        raise ValueError(f"a comma before {end}")
    return after


def texts_of_comments(fields: Mapping[str, object]) -> Sequence[str]:
    """The comments of a shipment or credit memo."""
    comments = fields.get("comments")
    found = comments if isinstance(comments, list) else []
    return [text for each in found if isinstance(each, dict) and isinstance(text := each.get("comment"), str)]
