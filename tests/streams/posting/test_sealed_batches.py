"""What a poster remembers of millions of sealed batches, and for how long."""

import secrets
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.posting import sealed_batches
from streams.posting.sealed_batches import SealedBatches


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=4), max_size=30), st.integers(1, 6))
def test_it_is_a_dict_of_the_last_document(documents: list[list[str]], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed_batches, "_BLOCK_BATCHES", block)
        batches, last = SealedBatches(), dict[str, int]()
        for offset, ks in enumerate(documents):
            batches.add(ks, offset)
            last |= dict.fromkeys(ks, offset)
            assert {k: batches.get(k) for k in "abcdefghij"} == {k: last.get(k) for k in "abcdefghij"}


@given(st.integers(0, 40), st.integers(1, 6))
def test_what_the_log_has_let_go_of_goes_block_by_block_and_nothing_else(before: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed_batches, "_BLOCK_BATCHES", block)
        batches = SealedBatches()
        for offset in range(40):
            batches.add([str(offset)], offset)
        batches.forget(before)
        assert all(batches.get(str(offset)) == offset for offset in range(before, 40))
        assert len(batches) <= 40 - before + 2 * block


def test_a_batch_costs_a_few_bytes() -> None:
    """A dict has 100 bytes of each."""
    ks = [f"stock_batch-{secrets.token_hex(13).upper()}" for _ in range(4 * 65_550)]  # four whole blocks
    Random(1).shuffle(ks)
    tracemalloc.start()
    try:
        batches = SealedBatches()
        for offset in range(0, len(ks), 50):
            batches.add(ks[offset : offset + 50], offset)
        size_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size_bytes / len(ks) < 24
    assert batches.get(ks[0]) == 0
