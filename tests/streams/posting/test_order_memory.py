"""B1's memory of orders: asked once for many, kept bounded, never believed when it is in doubt."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.order import OrderView
from connectors.sap_b1.service_layer import UnavailableError
from streams.posting import order_memory
from streams.posting.order_memory import OrderMemory


def view(k: str, entry: int = 1) -> OrderView:
    return OrderView(
        k=k,
        doc_entry=entry,
        doc_num=entry,
        card_code="C",
        currency="GBP",
        number=k,
        cancelled=False,
        closed=False,
        lines=(),
    )


class B1:
    def __init__(self, *known: str) -> None:
        self.known, self.asked = set(known), list[list[str]]()
        self.away = False

    async def read(self, ks: Sequence[str]) -> Mapping[str, OrderView | None]:
        self.asked.append(list(ks))
        await asyncio.sleep(0.1)
        if self.away:
            raise UnavailableError("gone")
        return {k: view(k) if k in self.known else None for k in ks}


async def test_whoever_asks_in_the_same_moment_is_answered_by_one_read_of_up_to_twenty() -> None:
    b1 = B1(*(str(n) for n in range(50)))
    memory = OrderMemory(b1.read)
    found = await asyncio.gather(*(memory.get(str(n)) for n in range(50)))
    assert [one and one.k for one in found] == [str(n) for n in range(50)]
    assert [len(ks) for ks in b1.asked] == [20, 20, 10]
    await memory.get("7")
    assert len(b1.asked) == 3


async def test_two_who_ask_for_one_order_share_the_answer() -> None:
    b1 = B1("a")
    memory = OrderMemory(b1.read)
    assert [one and one.k for one in await asyncio.gather(memory.get("a"), memory.get("a"))] == ["a", "a"]
    assert b1.asked == [["a"]]


async def test_an_order_that_b1_lacks_is_asked_for_again_each_time() -> None:
    b1 = B1()
    memory = OrderMemory(b1.read)
    assert await memory.get("a") is None
    b1.known.add("a")
    assert await memory.get("a") is not None
    assert b1.asked == [["a"], ["a"]]


async def test_what_was_forgotten_is_read_again_and_what_was_put_is_not() -> None:
    b1 = B1("a")
    memory = OrderMemory(b1.read)
    memory.put(view("a", 9))
    assert (await memory.get("a")).doc_entry == 9  # type: ignore[union-attr]
    memory.forget("a")
    assert (await memory.get("a")).doc_entry == 1  # type: ignore[union-attr]


async def test_a_read_that_fails_fails_those_who_asked_and_the_next_one_asks_again() -> None:
    b1 = B1("a", "b")
    memory = OrderMemory(b1.read)
    b1.away = True
    failed = await asyncio.gather(memory.get("a"), memory.get("b"), return_exceptions=True)
    assert all(isinstance(one, UnavailableError) for one in failed)
    b1.away = False
    assert await memory.get("a") is not None


async def test_an_asker_that_goes_away_does_not_take_the_answer_from_others() -> None:
    b1 = B1("a")
    memory = OrderMemory(b1.read)
    leaving, staying = asyncio.create_task(memory.get("a")), asyncio.create_task(memory.get("a"))
    await asyncio.sleep(0.05)
    leaving.cancel()
    assert (await staying) is not None


async def test_only_so_many_lines_are_remembered_and_the_longest_unused_order_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order_memory, "_REMEMBERED_LINES", 3)  # each view counts as its head's one
    b1 = B1()
    memory = OrderMemory(b1.read)
    for k in "abc":
        memory.put(view(k))
    await memory.get("a")
    memory.put(view("d"))
    assert await memory.get("a") is not None
    assert await memory.get("b") is None
    memory.put(replace(view("e"), deliveries=(view("e"),) * 5))  # type: ignore[arg-type]  # all that is asked of it is its lines
    assert [await memory.get(k) for k in "acd"] == [None, None, None]
    assert await memory.get("e") is not None


async def test_an_order_that_b1_cannot_read_is_refused_alone() -> None:
    """Row 2 of the finds of the field: one stopped all."""
    b1 = B1(*(str(n) for n in range(25)))
    inner = b1.read

    async def read(ks: Sequence[str]) -> Mapping[str, OrderView | None]:
        if "7" in ks:
            await asyncio.sleep(1)
            raise Refusal("erp_cannot", "HTTP 500")
        return await inner(ks)

    memory = OrderMemory(read)
    found = await asyncio.gather(*(memory.get(str(n)) for n in range(25)), return_exceptions=True)
    assert [one for one in found if isinstance(one, BaseException)] == [found[7]]
    assert isinstance(found[7], Refusal)
    assert [getattr(one, "k", None) for one in found if one is not found[7]] == [str(n) for n in range(25) if n != 7]
