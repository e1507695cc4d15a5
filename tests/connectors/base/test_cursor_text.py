"""A cursor is read back as it was written; anything else stops the connector with a remedy."""

import base64
import json
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.cursor_text import from_text, moment_of, moment_text, pack, to_text, unpack
from connectors.base.errors import FatalError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
CURSORS = st.lists(VALUES) | st.dictionaries(st.text(), VALUES)


@given(CURSORS, st.none() | st.integers(0, 200))
def test_what_was_written_is_read(value, pack_above):
    text = to_text(value, pack_above=pack_above)
    assert from_text(text, lambda found: found, "seko") == value
    assert text.isascii()
    plain = to_text(value)
    assert (text == plain) == (pack_above is None or len(plain) <= pack_above)


@given(st.binary())
def test_bytes_are_packed_and_unpacked(data):
    assert unpack(pack(data)) == data


def _bomb() -> str:
    return base64.b64encode(zlib.compress(b"[" * 200_000)).decode()


@pytest.mark.parametrize(
    "text", ["", "x", "{", "[1", "null", "12", '{"b":1}', '{"a":"x"}', "[]", "AAAA", "eJw=", "\ud800", _bomb()]
)
def test_what_is_no_cursor_is_told_with_a_remedy(text):
    with pytest.raises(FatalError, match="not one of a seko connector; give the connector a new name"):
        from_text(text, lambda found: int(found["a"]) + 1, "seko")
    with pytest.raises(FatalError, match="not one of a seko backfill; choose another time range"):
        from_text(text, lambda found: int(found["a"]) + 1, "seko", backfill=True)


def test_moments_keep_their_offset():
    for moment in (
        None,
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 2, 1, 2, 3, 4, timezone(timedelta(hours=2))),
    ):
        assert moment_of(moment_text(moment)) == moment


def test_it_is_compact_json():
    assert to_text({"b": 1, "a": [1, None]}) == '{"a":[1,null],"b":1}'
    assert json.loads(to_text({"sku": "\u00e9"})) == {"sku": "\u00e9"}
