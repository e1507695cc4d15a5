"""Lengths as B1's columns count them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.errors import Refusal
from connectors.sap_b1.documents.fields import MAX_COMMENTS, MAX_IDENTITY, check_identity, cut, utf16_units

EMOJI = "\U0001f600"


def test_an_emoji_is_two_units_to_b1() -> None:
    assert (utf16_units("abc"), utf16_units("ß"), utf16_units(EMOJI * 3)) == (3, 1, 6)
    assert cut(EMOJI * 254, MAX_COMMENTS) == EMOJI * 127
    assert cut("a" + EMOJI * 254, MAX_COMMENTS) == "a" + EMOJI * 126


@given(st.text() | st.text(st.sampled_from(EMOJI + "a\n é")), st.integers(1, 60))
def test_a_free_text_is_its_own_beginning_and_fits_the_column(text: str, length: int) -> None:
    whole, kept = cut(text, 10_000), cut(text, length)
    assert kept is None or (utf16_units(kept) <= length and (whole or "").startswith(kept))
    if whole is not None and utf16_units(whole) <= length:
        assert kept == whole


def test_an_identity_that_b1_would_find_too_long_is_refused_whole() -> None:
    check_identity("order_id", EMOJI * (MAX_IDENTITY // 2))
    with pytest.raises(Refusal) as caught:
        check_identity("order_id", EMOJI * (MAX_IDENTITY // 2) + "a")
    assert caught.value.reason == "invalid_event"
    assert "101" in caught.value.error
