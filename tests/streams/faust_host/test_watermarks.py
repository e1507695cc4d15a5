import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.faust_host.watermarks import Progress, TakenRecords, decode_counts, encode_counts

POSTED, NO_OP = ("order_placed", "posted"), ("order_placed", "no_op")


def test_the_watermark_waits_for_the_first_unfinished_record() -> None:
    progress = Progress(start=5)
    taken = progress.take([5, 6, 7])
    assert not progress.finish(taken, 7)
    assert not progress.finish(taken, 6)
    assert progress.next == 5
    assert progress.finish(taken, 5)
    assert progress.next == 8


def test_finishing_a_later_batch_leaves_earlier_batches_unfinished() -> None:
    """Amendment 12: the prototype's finish_all popped whatever lay before."""
    progress = Progress()
    first, second = progress.take([0, 1]), progress.take([2, 3])
    for offset in (2, 3):
        progress.finish(second, offset)
    assert (progress.next, progress.open_records) == (None, 2)
    progress.finish(first, 0)
    progress.finish(first, 1)
    assert (progress.next, progress.open_records) == (4, 0)


def test_gaps_between_offsets_hold_nothing_up() -> None:
    progress = Progress(start=0)
    taken = progress.take([3, 17, 40])
    for offset in (3, 17, 40):
        progress.finish(taken, offset)
    assert progress.next == 41


def test_counts_join_when_the_watermark_passes_and_only_once() -> None:
    progress = Progress(start=0, counts={POSTED: 10})
    taken = progress.take([0, 1])
    progress.finish(taken, 1, {NO_OP: 1})
    progress.finish(taken, 1, {POSTED: 1})
    assert progress.counts == {POSTED: 10}
    progress.finish(taken, 0, {POSTED: 1})
    progress.finish(taken, 0, {POSTED: 1})
    assert progress.counts == {POSTED: 11, NO_OP: 1}


def test_an_offset_of_another_batch_is_refused() -> None:
    progress = Progress()
    taken = progress.take([5, 6])
    progress.take([7])
    with pytest.raises(ValueError, match="not of this batch"):
        progress.finish(taken, 7)


def test_bytes_are_given_back_with_the_whole_fetch() -> None:
    progress = Progress()
    taken = progress.take([0, 1], size_bytes=100)
    progress.finish(taken, 0)
    assert progress.open_bytes == 100
    progress.finish(taken, 1)
    assert progress.open_bytes == 0


def test_what_is_finished_behind_an_unfinished_record_is_not_open_and_costs_little() -> None:
    """Architecture section 15.12: a record that waits for others does not keep them from being fetched."""
    progress = Progress(start=0)
    first = progress.take(range(1), size_bytes=10)
    behind = [progress.take(range(start, start + 500), size_bytes=1000) for start in range(1, 50_001, 500)]
    for taken in behind:
        for offset in taken.offsets:
            progress.finish(taken, offset, {POSTED: 1})
        progress.finish(taken, taken.offsets[0], {NO_OP: 1})
    assert (progress.next, progress.open_records, progress.open_bytes) == (0, 1, 10)
    assert sum(len(taken.finished) for taken in behind) == 0
    assert progress.finish(first, 0)
    assert (progress.next, progress.counts, progress.open_bytes) == (50_001, {POSTED: 50_000}, 0)


@given(st.data())
def test_whatever_the_order_the_watermark_is_the_first_unfinished_offset_and_counts_are_exact(
    data: st.DataObject,
) -> None:
    progress = Progress(start=0)
    offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=40)))
    taken: dict[int, TakenRecords] = {}
    rest = offsets
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        batch, rest = rest[:size], rest[size:]
        taken |= dict.fromkeys(batch, progress.take(batch, size))
    finished: set[int] = set()
    for offset in data.draw(st.permutations(offsets)):
        progress.finish(taken[offset], offset, {POSTED: 1})
        finished.add(offset)
        unfinished = [each for each in offsets if each not in finished]
        before = [each for each in offsets if not unfinished or each < unfinished[0]]
        assert progress.next == (before[-1] + 1 if before else 0)
        assert progress.counts.get(POSTED, 0) == len(before)
        assert progress.open_records == len(unfinished)
    assert progress.open_bytes == 0


@given(st.dictionaries(st.tuples(st.text(), st.text()), st.integers(1)))
def test_counts_survive_the_metadata_of_a_commit(counts: dict[tuple[str, str], int]) -> None:
    assert decode_counts(encode_counts(counts)) == counts


@pytest.mark.parametrize("metadata", ["", "by hand", "[1]", '{"a": 1}', "null", '{"a": {"b": []}}'])
def test_metadata_of_others_counts_nothing(metadata: str) -> None:
    assert decode_counts(metadata) == {}


def test_metadata_reads_as_documented() -> None:
    assert encode_counts({POSTED: 12, NO_OP: 1}) == '{"order_placed":{"no_op":1,"posted":12}}'


@given(st.data())
def test_finishing_through_is_finishing_each_of_them(data: st.DataObject) -> None:
    """Whatever is finished before, in whichever batch: the same watermark, counts and open records."""
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    one, other = Progress(start=0), Progress(start=0)
    batches, at = list[tuple[TakenRecords, TakenRecords, list[int]]](), 0
    for size in sizes:
        offsets = [at + 2 * n for n in range(size)]  # with gaps
        batches.append((one.take(offsets, 10), other.take(offsets, 10), offsets))
        at = offsets[-1] + 1
    for _ in range(data.draw(st.integers(1, 12))):
        mine, theirs, offsets = data.draw(st.sampled_from(batches))
        offset = data.draw(st.sampled_from(offsets))
        if data.draw(st.booleans()):
            one.finish_through(mine, offset, {POSTED: 1})
            for each in offsets[: offsets.index(offset)]:
                other.finish(theirs, each)
        else:
            one.finish(mine, offset, {POSTED: 1})
        other.finish(theirs, offset, {POSTED: 1})
        assert (one.next, one.counts, one.open_records, one.open_bytes) == (
            other.next,
            other.counts,
            other.open_records,
            other.open_bytes,
        )


def test_finishing_through_an_offset_of_another_batch_is_refused() -> None:
    progress = Progress()
    taken = progress.take([5, 7])
    for offset in (4, 6, 8):
        with pytest.raises(ValueError, match="not of this batch"):
            progress.finish_through(taken, offset)
