"""The seen-set: what was counted, over the horizon, however it came into memory."""

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.seen import Seen
from tests.strategies import digests, names

MEMBERS = st.lists(st.tuples(names, digests), max_size=20, unique_by=lambda member: member[0])


@given(MEMBERS)
def test_a_rebuild_from_columns_knows_what_adding_knew(members: list[tuple[str, bytes]]) -> None:
    added, rebuilt = Seen(), Seen()
    added.add_epoch(1.0, [(Seen.entry("warehouse", id_, "A", "MAIN"), Seen.mark(digest)) for id_, digest in members])
    entries: list[int] = []
    rebuilt.add_columns(
        "warehouse", "A", "MAIN", [id_ for id_, _ in members], b"".join(digest for _, digest in members), entries
    )
    rebuilt.close_epoch(1.0, entries)
    for id_, digest in members:
        entry = Seen.entry("warehouse", id_, "A", "MAIN")
        assert added.get(entry) == rebuilt.get(entry) == Seen.mark(digest)
    assert len(added) == len(rebuilt) == len(members)
    for seen in (added, rebuilt):
        seen.expire(1.5)
        assert len(seen) == 0


@given(st.lists(MEMBERS, max_size=6), st.integers(0, 7))
def test_only_what_the_horizon_has_passed_is_forgotten(epochs: list[list[tuple[str, bytes]]], before: int) -> None:
    seen, first = Seen(), dict[str, int]()
    for at, members in enumerate(epochs):
        new = [(id_, digest) for id_, digest in members if id_ not in first]
        first.update({id_: at for id_, _ in new})
        seen.add_epoch(float(at), [(Seen.entry("w", id_, "A", "M"), Seen.mark(digest)) for id_, digest in new])
    seen.expire(float(before))
    for id_, at in first.items():
        assert (seen.get(Seen.entry("w", id_, "A", "M")) is not None) == (at >= before)


def test_a_refused_event_is_told_from_a_counted_one_of_the_same_content() -> None:
    seen, entry, mark = Seen(), Seen.entry("w", "e", "A", "M"), Seen.mark(b"\x01" * 16)
    seen.add_epoch(1.0, [(entry, ~mark)])
    assert seen.get(entry) == ~mark < 0 <= mark
    seen.add_epoch(2.0, [(entry, mark)])  # its replay was counted
    assert seen.get(entry) == mark


@given(st.tuples(names, names, names, names), st.tuples(names, names, names, names))
def test_an_identity_is_source_event_sku_and_location(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    assert (Seen.entry(*one) == Seen.entry(*two)) == (one == two)
    assert 0 <= Seen.entry(*one) < 1 << 60
