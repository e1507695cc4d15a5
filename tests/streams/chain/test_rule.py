"""The chain rule: every reader, from any root, comes to the same records, whatever losers have added."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Anchor
from streams.chain.rule import ChainRootError, Head, start_of_walk

AT = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """A record in the log: `value` are its bytes."""

    number: int
    prev_digest: bytes
    value: bytes


def written(head: Head, text: str) -> Entry:
    return Entry(head.number, head.digest, f"{head.number} {head.digest.hex()} {text}".encode())


def walk(log: list[Entry], start: int = 0, head: Head | None = None) -> tuple[list[int], Head]:
    """The offsets that count from a place on, and the head behind them."""
    head, accepted = head or Head(), []
    for offset in range(start, len(log)):
        if head.accepts(log[offset].number, log[offset].prev_digest):
            head = head.after(log[offset].value)
            accepted.append(offset)
    return accepted, head


#: What three writers do: look at the log, write on what they have seen, or write their last record once more.
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["look", "write", "write", "again"])), max_size=60)


def play(steps: list[tuple[int, str]]) -> tuple[list[Entry], list[int]]:
    """The log that comes of it, and the offsets of records that named the head when they were written."""
    log: list[Entry] = []
    views, last, winners = [Head()] * 3, [None, None, None], []  # type: ignore[var-annotated]
    for number, (writer, step) in enumerate(steps):
        if step == "look":
            views[writer] = walk(log)[1]
        elif step == "write" or last[writer] is None:
            if views[writer] == walk(log)[1]:
                winners.append(len(log))
            last[writer] = written(views[writer], f"{writer}/{number}")
            log.append(last[writer])
            views[writer] = views[writer].after(last[writer].value)
        else:
            log.append(last[writer])
    return log, winners


@given(STEPS)
def test_a_record_counts_iff_it_named_the_head_when_it_was_written(steps: list[tuple[int, str]]) -> None:
    log, winners = play(steps)
    accepted, head = walk(log)
    assert accepted == winners
    assert head.number == len(accepted)
    assert [log[offset].number for offset in accepted] == list(range(len(accepted)))


@given(STEPS, st.data())
def test_the_chain_is_the_same_from_any_starting_point(steps: list[tuple[int, str]], data: st.DataObject) -> None:
    """I12."""
    log, _ = play(steps)
    accepted, head = walk(log)
    anchors = [anchor_at(log, offset) for offset in data.draw(st.lists(st.integers(0, len(log)), max_size=4))]
    log_start = data.draw(st.integers(0, len(log)))
    try:
        used, start, before = start_of_walk("t", 0, log_start, anchors)
    except ChainRootError:
        assert log_start > 0
        assert all(anchor.offset < log_start for anchor in anchors)
        return
    assert start >= log_start
    assert (used is None) == (log_start == 0)
    assert walk(log, start, before) == ([offset for offset in accepted if offset >= start], head)


@given(STEPS, st.randoms(use_true_random=False))
def test_what_losers_add_changes_nothing(steps: list[tuple[int, str]], random: object) -> None:
    """The winners alone, in any company of losers, are the chain."""
    log, winners = play(steps)
    alone = [log[offset] for offset in winners]
    mixed: list[Entry] = []
    for entry in alone:
        mixed += [
            written(Head(random.randrange(99), bytes([random.randrange(1, 255)] * 16)), "lost")
        ] * random.randrange(3)  # type: ignore[attr-defined]
        mixed += [entry, entry]
    assert [mixed[offset] for offset in walk(mixed)[0]] == alone


def anchor_at(log: list[Entry], offset: int) -> Anchor:
    head = walk(log[:offset])[1]
    return Anchor(topic="t", partition=0, offset=offset, number=head.number, digest=head.digest, end=0, at=AT)


def test_the_root_is_never_guessed() -> None:
    """Architecture section 15.6."""
    with pytest.raises(ChainRootError, match="begins at offset 5 and no anchor lies inside it"):
        start_of_walk("stock-sealed", 3, 5, [anchor_at([], 0)])


def test_the_oldest_anchor_inside_the_log_is_taken_so_that_most_is_known() -> None:
    # log       (a)  b  c      a is gone
    # anchors   0      2  3    the one at 0 lies before the log: of the others the first knows most
    # walk             ^
    log = [written(Head(), "a")]
    log.append(written(walk(log)[1], "b"))
    log.append(written(walk(log)[1], "c"))
    anchor, start, head = start_of_walk("t", 0, 1, [anchor_at(log, 3), anchor_at(log, 2), anchor_at(log, 0)])
    assert anchor is not None
    assert (anchor.offset, start, head) == (2, 2, walk(log[:2])[1])


def test_a_log_that_starts_at_its_beginning_needs_no_anchor() -> None:
    assert start_of_walk("t", 0, 0, []) == (None, 0, Head(0, bytes(16)))


def test_both_the_number_and_the_digest_must_be_those_of_the_head() -> None:
    head = Head().after(b"first")
    assert head.accepts(1, head.digest)
    assert not head.accepts(2, head.digest)
    assert not head.accepts(0, head.digest)
    assert not head.accepts(1, bytes(16))


def test_what_a_loser_writes_on_its_own_lost_record_never_counts() -> None:
    """log: [winner 0] [loser 0] [loser 1, which names loser 0]."""
    winner, loser = (written(Head(), text) for text in ("winner", "loser"))
    log = [winner, loser, written(Head().after(loser.value), "on its own")]
    assert walk(log)[0] == [0]
