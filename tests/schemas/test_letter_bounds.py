"""Whatever a producer made of a record, its dead letter fits its topic and says what was cut."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from schemas.letter_bounds import (
    FIRST_BYTES,
    MAX_HEADER_BYTES,
    MAX_KEY_BYTES,
    MAX_RECORD_BYTES,
    MAX_TEXT_CHARS,
    MAX_VALUE_BYTES,
    bounded,
    is_cut,
    short,
    size_of,
)
from schemas.records import Header
from schemas.topics import BY_NAME, TOPICS

HEADERS = st.lists(
    st.builds(
        Header,
        name=st.sampled_from(["trace", "b1streams.replay_of", "é" * 3_000]),
        value=st.integers(0, 40_000).map(bytes),
    ),
    max_size=8,
).map(tuple)


@given(
    st.none() | st.integers(0, 3 * MAX_KEY_BYTES).map(bytes),
    st.none() | st.integers(MAX_VALUE_BYTES - 2, MAX_VALUE_BYTES + 2).map(bytes) | st.integers(0, 9).map(bytes),
    HEADERS,
)
def test_what_is_kept_has_a_bound_and_bounding_it_again_changes_nothing(
    key: bytes | None, value: bytes | None, headers: tuple[Header, ...]
) -> None:
    kept = bounded(key, value, headers)
    assert len(kept[0] or b"") + len(kept[1] or b"") + size_of(kept[2]) <= MAX_RECORD_BYTES
    assert bounded(*kept) == kept
    whole = (
        len(value or b"") <= MAX_VALUE_BYTES
        and len(key or b"") <= MAX_KEY_BYTES
        and size_of(headers) <= MAX_HEADER_BYTES
    )
    assert (kept == (key, value, headers)) is whole


def test_a_longer_value_leaves_its_first_bytes_its_size_and_its_digest() -> None:
    value = bytes(range(256)) * 30_000
    _, first, headers = bounded(b"key", value, (Header(name="trace", value=b"t"),))
    assert first == value[:FIRST_BYTES]
    named = {header.name: header.value.decode() for header in headers}
    assert named["b1streams.value_size"] == str(len(value))
    assert named["b1streams.value_sha256"] == hashlib.sha256(value).hexdigest()
    assert is_cut([(header.name, header.value) for header in headers])
    assert not is_cut([("trace", b"t")])


def test_headers_that_fit_are_kept_beside_one_that_does_not() -> None:
    headers = (
        Header(name="trace", value=b"t"),
        Header(name="baggage", value=bytes(10**6)),
        Header(name="replay", value=b"r"),
    )
    _, _, kept = bounded(None, b"", headers)
    assert [header.name for header in kept] == ["trace", "replay", "b1streams.headers_size"]


def test_texts_are_cut_to_their_room() -> None:
    assert short("x" * MAX_TEXT_CHARS) == "x" * MAX_TEXT_CHARS
    assert len(short("é" * 10**6) or "") == MAX_TEXT_CHARS
    assert short(None) is None


def test_every_dead_letter_topic_takes_what_is_kept_and_our_own_headers() -> None:
    ours = 20 * 4 * MAX_TEXT_CHARS
    taking = [topic for topic in TOPICS if topic.name.endswith("-dead-letter")]
    assert all(topic.max_message_bytes > MAX_RECORD_BYTES + ours for topic in taking)
    assert BY_NAME["erp-orders"].max_message_bytes > MAX_RECORD_BYTES + ours
