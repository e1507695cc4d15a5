"""One epoch: what a range of stock events comes to. Conservation.

For every cut and every repeat, sums are what was accepted.
"""

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import embedded_codec
from schemas.events import BatchQuantity, StockAdjusted
from schemas.records import NO_OPS, SealedEpoch, StockBatch
from streams.chain.keys import batch_key
from streams.chain.rule import Head
from streams.config.load import parse
from streams.windows.epoch import REPLAY_HEADER, Composer
from streams.windows.rules import StockRules
from streams.windows.seen import Seen
from tests import builders, strategies
from tests.streams.fakes import ENVIRON, ROOT, example
from tests.streams.records import raw, rows_of

NOW = datetime(2026, 11, 21, 12, 7, tzinfo=UTC)  # no end of a step of time
HORIZON = timedelta(days=35)
CODEC = embedded_codec()


def _config() -> Any:
    data = example()
    data["companies"]["acme"]["warehouses"]["RET1"] = {
        "owner": "warehouse",
        "location": "RETURNS",
        "returns_by": "adjustment",
    }
    return parse(data, ROOT, ENVIRON)


COMPOSER = Composer(CODEC, StockRules(_config().maps), "v1")


def event(event_id: str, delta: str | Decimal = "1", sku: str = "A", **fields: Any) -> StockAdjusted:
    own = {"occurred_at": NOW - timedelta(minutes=5), "observed_at": NOW, **fields}
    return builders.adjustment(event_id, delta, sku, **own)


class Chain:
    """Epochs one behind the other, as a partition seals them."""

    def __init__(self) -> None:
        self.seen, self.head, self.end, self.no_ops = Seen(), Head(), 0, 0
        self.epochs: list[SealedEpoch] = []

    def seal(self, records: list[Any]) -> SealedEpoch:
        rows = COMPOSER.read(records)
        composed = COMPOSER.compose(rows, self.seen, {}, self.head, self.end, NOW, "length", self.no_ops)
        value = CODEC.encode(composed.epoch)
        epoch = CODEC.decode(value, SealedEpoch)
        assert epoch == composed.epoch
        self.seen.add_epoch(NOW.timestamp(), composed.entries)
        self.head, self.end, self.no_ops = self.head.after(value), epoch.end, epoch.no_ops
        self.epochs.append(epoch)
        return epoch


#: Events of few identities, so that repeats and reuses are many; some that the configuration refuses, or takes as
#: nothing.
EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from([f"e{n}" for n in range(6)]),
        st.integers(-(10**9), 10**9).filter(bool).map(lambda n: Decimal(n).scaleb(-6)),
        st.sampled_from(["A", "B", "L" * 70]),  # too long for the decoder to know it again
        location=st.sampled_from(["MAIN", "MAIN", "RETURNS", "NOWHERE"]),
        reason=st.sampled_from(["found", "damaged", "return"]),
        occurred_at=st.sampled_from(
            [NOW - ago for ago in (timedelta(minutes=5), timedelta(days=2), HORIZON, HORIZON + timedelta(minutes=5))]
        ),
        batches=st.sampled_from(
            [
                (),
                (),
                (BatchQuantity(number="L1", quantity=Decimal(1)),),
                (BatchQuantity(number="L2", quantity=Decimal(1)),),
            ]
        ),
    )
    | st.binary(max_size=8),
    max_size=40,
)


@given(EVENTS, st.data())
@settings(max_examples=150)
def test_the_nets_of_all_epochs_are_the_sum_of_what_was_accepted_however_the_input_is_cut(
    events: list[StockAdjusted | bytes], data: st.DataObject
) -> None:
    chain, records = Chain(), rows_of(CODEC, "stock-adjusted", events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=8)) | {0, len(records)})
    for start, end in itertools.pairwise(cuts):
        chain.seal(records[start:end])
    assert sums(chain.epochs) == expected(events)
    every = [offset for epoch in chain.epochs for offset in members(epoch)]
    assert sorted(every) == list(range(len(events)))  # each exactly once: a member, or skipped with a reason
    assert [epoch.start for epoch in chain.epochs] == cuts[:-1]
    assert [epoch.end for epoch in chain.epochs] == cuts[1:]
    assert [epoch.number for epoch in chain.epochs] == list(range(len(chain.epochs)))


def test_an_event_twice_in_a_window_that_has_others_of_its_item_counts_once() -> None:
    chain, events = Chain(), [event(name, delta) for name, delta in (("1", "2"), ("2", "3"), ("2", "3"), ("1", "2"))]
    chain.seal(rows_of(CODEC, "stock-adjusted", events))
    assert list(sums(chain.epochs).values()) == [5]
    assert [skip.why for skip in chain.epochs[0].skipped] == ["repeat", "repeat"]


def members(epoch: SealedEpoch) -> list[int]:
    return [offset for batch in epoch.batches for offset in batch.offsets] + [skip.offset for skip in epoch.skipped]


def sums(epochs: list[SealedEpoch]) -> dict[tuple[object, ...], Decimal]:
    total: defaultdict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    for epoch in epochs:
        for batch in epoch.batches:
            assert batch.net == sum(batch.deltas)
            assert len(batch.event_ids) == len(batch.offsets) == len(batch.deltas) == len(batch.digests) // 16
            total[
                batch.sku, batch.location, batch.reason, batch.posting_date, tuple(lot.number for lot in batch.batches)
            ] += batch.net
    return {place: net for place, net in total.items() if net}


def expected(events: list[StockAdjusted | bytes]) -> dict[tuple[object, ...], Decimal]:
    """The same, reckoned from the events alone: the first of an identity that nothing stands against."""
    total: defaultdict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    known: set[tuple[str, str, str]] = set()
    for one in events:
        if isinstance(one, bytes) or (place := (one.event_id, one.sku, one.location)) in known:
            continue
        known.add(place)
        if one.location == "NOWHERE" or NOW - one.occurred_at > HORIZON:
            continue
        if one.reason == "return" and one.location == "MAIN":
            continue
        total[one.sku, one.location, one.reason, one.occurred_at.date(), tuple(lot.number for lot in one.batches)] += (
            one.delta
        )
    return {place: net for place, net in total.items() if net}


@given(EVENTS)
def test_composing_changes_nothing_and_comes_to_the_same_again(events: list[StockAdjusted | bytes]) -> None:
    seen, records = Seen(), rows_of(CODEC, "stock-adjusted", events)
    rows = COMPOSER.read(records)
    first, second = (COMPOSER.compose(rows, seen, {}, Head(), 0, NOW, "length", 0) for _ in range(2))
    assert first == second
    assert len(seen) == 0


@given(EVENTS)
def test_epochs_composed_ahead_of_their_acceptance_know_each_other(events: list[StockAdjusted | bytes]) -> None:
    """A group is composed before the first of it stands: `pending` carries what the seen-set does not know yet."""
    records = rows_of(CODEC, "stock-adjusted", events)
    pending: dict[int, int] = {}
    head, start, ahead = Head(), 0, list[SealedEpoch]()
    for n in range(0, len(records), 3):
        rows = COMPOSER.read(records[n : n + 3])
        composed = COMPOSER.compose(rows, Seen(), pending, head, start, NOW, "bytes", ahead[-1].no_ops if ahead else 0)
        pending.update(composed.entries)
        epoch = composed.epoch
        head, start = head.after(CODEC.encode(epoch)), epoch.end
        ahead.append(epoch)
    assert sums(ahead) == expected(events)
    chain = Chain()
    for n in range(0, len(records), 3):
        chain.seal(records[n : n + 3])
    assert [(e.batches, e.skipped, e.no_ops) for e in ahead] == [(e.batches, e.skipped, e.no_ops) for e in chain.epochs]


@given(EVENTS)
def test_the_count_of_no_ops_runs_through_the_chain(events: list[StockAdjusted | bytes]) -> None:
    chain, records = Chain(), rows_of(CODEC, "stock-adjusted", events)
    for n in range(0, len(records), 5):
        chain.seal(records[n : n + 5])
    skipped = Counter(skip.why in NO_OPS for epoch in chain.epochs for skip in epoch.skipped)
    assert chain.no_ops == skipped[True]


def test_a_letter_keeps_everything_and_a_no_op_nothing_but_its_place() -> None:
    """Design 16.7: decided in the epoch, so that a crash cannot make a dead letter and a count of one event."""
    bad = raw(
        "stock-adjusted", 0, CODEC.encode(event("e", location="NOWHERE")), b"A", timestamp=77, headers=[("h", b"1")]
    )
    off = raw("stock-adjusted", 1, CODEC.encode(event("f", reason="return")), b"A", timestamp=78)
    letter, nothing = Chain().seal([bad, off]).skipped
    assert (letter.why, letter.value, letter.key, letter.timestamp_ms) == ("unmapped_location", bad.value, b"A", 77)
    assert [(header.name, header.value) for header in letter.headers] == [("h", b"1")]
    assert (letter.event_id, letter.sku, letter.company, letter.source) == ("e", "A", "acme", "warehouse")
    assert "NOWHERE" in (letter.error or "")
    assert (nothing.why, nothing.value, nothing.key, nothing.error) == ("returned_by_refund", None, None, None)


def test_an_unreadable_record_is_a_letter_with_its_bytes() -> None:
    (skip,) = Chain().seal(rows_of(CODEC, "stock-adjusted", [b"\x01\x02"])).skipped
    assert (skip.why, skip.value, skip.event_id) == ("unreadable", b"\x01\x02", None)


@given(st.lists(strategies.stock_adjusted(), min_size=1, max_size=4), st.data())
def test_whatever_bytes_come_each_record_ends_once_in_the_epoch(
    events: list[StockAdjusted], data: st.DataObject
) -> None:
    epoch = Chain().seal(
        rows_of(CODEC, "stock-adjusted", [strategies.mutate(CODEC.encode(one), data) for one in events])
    )
    assert sorted(members(epoch)) == list(range(len(events)))
    assert all(len(batch.digests) == 16 * len(batch.event_ids) for batch in epoch.batches)


def test_a_digest_of_another_size_is_no_digest() -> None:
    odd = replace(event("e"), digest=b"\x01" * 15)
    epoch = Chain().seal(rows_of(CODEC, "stock-adjusted", [event("a"), odd, event("b")]))
    assert [(batch.event_ids, len(batch.digests)) for batch in epoch.batches] == [(("a", "b"), 32)]
    (skip,) = epoch.skipped
    assert (skip.offset, skip.why) == (1, "unreadable")
    assert "15 bytes" in (skip.error or "")


def test_what_only_a_whole_reading_finds_unreadable_is_a_letter_too() -> None:
    """Of an event with lots everything is read, of others only what a window needs."""
    lot = (BatchQuantity(number="L1", quantity=Decimal(5)),)
    value = CODEC.encode(event("e", "5", batches=lot, note="note")).replace(b"note", b"\xff" * 4)
    (skip,) = Chain().seal([raw("stock-adjusted", 0, value)]).skipped
    assert (skip.why, skip.value, skip.event_id) == ("unreadable", value, "e")


def test_a_refused_event_again_is_a_repeat_and_its_replay_is_judged_anew() -> None:
    chain = Chain()
    bad = CODEC.encode(event("e", location="NOWHERE"))
    chain.seal([raw("stock-adjusted", 0, bad)])
    (again,) = chain.seal([raw("stock-adjusted", 1, bad)]).skipped
    assert again.why == "repeat"
    (replay,) = chain.seal([raw("stock-adjusted", 2, bad, headers=[(REPLAY_HEADER, b"x")])]).skipped
    assert replay.why == "unmapped_location"
    counted = chain.seal([raw("stock-adjusted", 3, CODEC.encode(event("g")))])
    assert [batch.net for batch in counted.batches] == [1]
    (once,) = chain.seal([raw("stock-adjusted", 4, CODEC.encode(event("g")), headers=[(REPLAY_HEADER, b"x")])]).skipped
    assert once.why == "repeat"  # what was counted is never counted again, whoever replays it


def test_a_lots_quantity_is_what_it_netted_to_and_several_numbers_stand_alone() -> None:
    lot = (BatchQuantity(number="L1", quantity=Decimal(5)),)
    two = (*lot, BatchQuantity(number="L2", quantity=Decimal(1)))
    epoch = Chain().seal(
        rows_of(
            CODEC,
            "stock-adjusted",
            [
                event("a", "5", batches=lot),
                event("b", "-2", batches=lot),
                event("c", "6", batches=two),
                event("d", "6", batches=two),
                event("s", "1", serials=("S1",)),
            ],
        )
    )
    assert [
        (batch.net, [(one.number, one.quantity) for one in batch.batches], batch.serials) for batch in epoch.batches
    ] == [
        (3, [("L1", 3)], ()),
        (6, [("L1", 5), ("L2", 1)], ()),
        (6, [("L1", 5), ("L2", 1)], ()),
        (1, [], ("S1",)),
    ]
    assert len({batch_key(batch) for batch in epoch.batches}) == 4


def test_an_empty_epoch_keeps_the_chains_tail_alive() -> None:
    chain = Chain()
    chain.seal(rows_of(CODEC, "stock-adjusted", [event("a")]))
    epoch = COMPOSER.compose([], chain.seen, {}, chain.head, chain.end, NOW, "tail", chain.no_ops).epoch
    assert (epoch.start, epoch.end, epoch.batches, epoch.skipped) == (1, 1, (), ())


def test_what_is_alike_nets_though_the_decoder_does_not_know_it_again() -> None:
    sku = "L" * 70
    epoch = Chain().seal(rows_of(CODEC, "stock-adjusted", [event("a", "2", sku), event("b", "3", sku)]))
    assert [(batch.sku, batch.net) for batch in epoch.batches] == [(sku, 5)]


def test_what_is_too_much_for_one_quantity_becomes_several_batches() -> None:
    most = Decimal("9999999999999.999999")
    deltas = [most, most, -most, Decimal(5), most]
    records = rows_of(CODEC, "stock-adjusted", [event(str(n), delta) for n, delta in enumerate(deltas)])
    epoch = Chain().seal([*records, raw("stock-adjusted", len(deltas), CODEC.encode(event("b", sku="B")))])
    assert sum(batch.net for batch in epoch.batches if batch.sku == "A") == sum(deltas)
    assert sorted(members(epoch)) == list(range(len(deltas) + 1))
    assert len({batch_key(batch) for batch in epoch.batches}) == len(epoch.batches) > 2
    assert [batch.net for batch in epoch.batches if batch.sku == "B"] == [1]


def test_the_quarter_of_an_hour_in_which_the_horizon_ends_is_judged_event_by_event() -> None:
    ages = [HORIZON + timedelta(seconds=1), HORIZON, HORIZON - timedelta(minutes=1), HORIZON + timedelta(minutes=1)]
    events = [event(str(age), occurred_at=NOW - age) for age in ages]
    epoch = Chain().seal(rows_of(CODEC, "stock-adjusted", events))
    assert [batch.offsets for batch in epoch.batches] == [(1, 2)]
    assert [(skip.offset, skip.why) for skip in epoch.skipped] == [(0, "too_old"), (3, "too_old")]


def test_transfers_net_with_their_like_only() -> None:
    moves = [
        event("a", "-2", reason="transfer", to_location="RETURNS"),
        event("b", "-3", reason="transfer", to_location="RETURNS"),
        event("c", "1"),
    ]
    epoch = Chain().seal(rows_of(CODEC, "stock-adjusted", moves))
    nets: list[tuple[str | None, Decimal]] = [(batch.to_location, batch.net) for batch in epoch.batches]
    assert nets == [("RETURNS", Decimal(-5)), (None, Decimal(1))]
    assert all(isinstance(batch, StockBatch) for batch in epoch.batches)
