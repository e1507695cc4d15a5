"""Which states count where a paused poster and its successor write to the same letters."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import embedded_codec
from streams.dead_letters.states import STATES, States, headers_in, mark_of
from tests.streams.dead_letters.test_index import letter
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import run

CODEC, CONFIG = embedded_codec(), config()


class Topic:
    def __init__(self) -> None:
        self.log = MemoryLog.of(CONFIG)
        self.states = States(self.log, CODEC, STATES, 0, "acme")

    async def mark(self, tenure: int) -> None:
        await self.log.send(STATES, 0, mark_of("acme"), None, headers_in(tenure))

    async def write(self, number: int, state: str | None, tenure: int | None, company: str = "acme") -> None:
        one = replace(letter(number, state=state or "dead"), company=company)
        headers = () if tenure is None else headers_in(tenure)
        await self.log.send(STATES, 0, one.id.encode(), None if state is None else CODEC.encode(one), headers)

    async def read(self) -> tuple[dict[str, str | None], set[str]]:
        news = await self.states.news()
        return {id_: one and one.state for id_, (one, _) in news.counts.items()}, news.stale


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
    for tenure in (1, 3, 2):
        await topic.mark(tenure)
    await topic.write(1, "parked", 2)
    await topic.write(2, "parked", 3)
    assert await topic.read() == ({"l2": "parked"}, {"l1"})
    assert topic.states.tenure == 3


@pytest.mark.parametrize("company", ["acme", "beta"])
async def test_who_names_no_tenure_always_counts_and_other_companies_are_left_alone(company: str) -> None:
    topic = Topic()
    await topic.mark(5)
    await topic.write(1, "dead", None, company)
    assert await topic.read() == ({"l1": "dead"} if company == "acme" else {}, set())


@given(
    st.lists(st.tuples(st.sampled_from(["mark", "dead", "parked", "posted"]), st.integers(1, 4)), max_size=30),
    st.data(),
)
def test_it_does_not_matter_in_how_many_looks_it_is_read(written: list[tuple[str, int]], data: st.DataObject) -> None:
    async def play(looks: set[int]) -> tuple[dict[str, Any], set[str]]:
        topic = Topic()
        counts: dict[str, Any] = {}
        stale: set[str] = set()
        for n, (what, tenure) in enumerate(written):
            await (topic.mark(tenure) if what == "mark" else topic.write(1, what, tenure))
            if n in looks or n == len(written) - 1:
                more, said = await topic.read()
                stale = (stale - more.keys()) | said
                counts |= more
        return counts, stale

    looks = data.draw(st.sets(st.integers(0, 30)))
    assert run(play(looks)) == run(play(set()))
