"""Which states count where a paused poster and its successor write to the same dead letters."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import embedded_codec
from streams.dead_letters.states import STATES, StateLog, term_headers, term_mark
from tests.streams.dead_letters.test_index import letter
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import run

CODEC, CONFIG = embedded_codec(), config()


class Topic:
    def __init__(self) -> None:
        self.log = MemoryLog.of(CONFIG)
        self.states = StateLog(self.log, CODEC, STATES, 0, "acme")

    async def mark(self, term: int) -> None:
        await self.log.send(STATES, 0, term_mark("acme"), None, term_headers(term))

    async def write(self, number: int, state: str | None, term: int | None, company: str = "acme") -> None:
        one = replace(letter(number, state=state or "dead"), company=company)
        headers = () if term is None else term_headers(term)
        await self.log.send(STATES, 0, one.id.encode(), None if state is None else CODEC.encode(one), headers)

    async def read(self) -> tuple[dict[str, str | None], set[str]]:
        changes = await self.states.read_changes()
        return {id_: one and one.state for id_, (one, _) in changes.counts.items()}, changes.stale


async def test_the_last_state_that_counts_is_the_one_and_a_later_one_of_a_predecessor_is_stale() -> None:
    topic = Topic()
    await topic.mark(1)
    await topic.write(1, "parked", 1)
    await topic.mark(2)
    await topic.write(1, "posted", 2)
    await topic.write(1, "dead", 1)
    await topic.write(2, "dead", 1)
    assert await topic.read() == ({"l1": "posted"}, {"l1", "l2"})
    await topic.write(1, "posted", 2)
    await topic.write(2, None, 2)
    assert await topic.read() == ({"l1": "posted", "l2": None}, set())


async def test_a_mark_that_comes_late_changes_nothing() -> None:
    topic = Topic()
    for term in (1, 3, 2):
        await topic.mark(term)
    await topic.write(1, "parked", 2)
    await topic.write(2, "parked", 3)
    assert await topic.read() == ({"l2": "parked"}, {"l1"})
    assert topic.states.term == 3


@pytest.mark.parametrize("company", ["acme", "beta"])
async def test_who_names_no_term_always_counts_and_other_companies_are_left_alone(company: str) -> None:
    topic = Topic()
    await topic.mark(5)
    await topic.write(1, "dead", None, company)
    assert await topic.read() == ({"l1": "dead"} if company == "acme" else {}, set())


@given(
    st.lists(st.tuples(st.sampled_from(["mark", "dead", "parked", "posted"]), st.integers(1, 4)), max_size=30),
    st.data(),
)
def test_it_does_not_matter_in_how_many_reads_it_is_read(written: list[tuple[str, int]], data: st.DataObject) -> None:
    async def read_in(reads: set[int]) -> tuple[dict[str, Any], set[str]]:
        topic = Topic()
        counts: dict[str, Any] = {}
        stale: set[str] = set()
        for n, (what, term) in enumerate(written):
            await (topic.mark(term) if what == "mark" else topic.write(1, what, term))
            if n in reads or n == len(written) - 1:
                more, last = await topic.read()
                stale = (stale - more.keys()) | last
                counts |= more
        return counts, stale

    reads = data.draw(st.sets(st.integers(0, 30)))
    assert run(read_in(reads)) == run(read_in(set()))


async def test_what_was_read_is_not_read_again() -> None:
    topic = Topic()
    await topic.mark(1)
    await topic.write(1, "dead", 1)
    assert await topic.read() == ({"l1": "dead"}, set())
    assert await topic.read() == ({}, set())
