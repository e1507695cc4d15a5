"""B1 that is away, and B1 that fails at one thing only: what events end as, and what others notice."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

import tests.flows.world as flows
from lab.simulators.sap_b1.state.messages import refusal
from tests.connectors.wire import Wire
from tests.flows.test_replay import replayed
from tests.flows.world import World, order, order_line, stock

OpenWorld = Callable[..., Awaitable[World]]
PROXY_PAGE = b"<!DOCTYPE HTML><html><head><title>502 Proxy Error</title></head><body><h1>Proxy Error</h1></body></html>"


class FailingWire(Wire):
    """Answers in B1's place where a test says so.

    Attributes:
        answer: Given a request's path and body, the answer in its place; None lets it pass.
        answered: When, in seconds.
    """

    answer: Callable[[str, bytes], httpx.Response | None] = staticmethod(lambda path, body: None)
    answered: list[float]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = type(self).answer(request.url.path, await request.aread())
        if answer is None:
            return await super().handle_async_request(request)
        type(self).answered.append(asyncio.get_running_loop().time())
        return answer


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FailingWire]]:
    monkeypatch.setattr(flows, "Wire", FailingWire)
    FailingWire.answered = []
    yield FailingWire
    FailingWire.answer = staticmethod(lambda path, body: None)


def breaks_at(marker: bytes) -> Callable[[str, bytes], httpx.Response | None]:
    """A node dies of each document that has the marker in it."""

    def answer(path: str, body: bytes) -> httpx.Response | None:
        if marker in body and b"POST /b1s/v2/U_STREAMS_CLAIM" in body:
            return httpx.Response(502, content=PROXY_PAGE, headers={"content-type": "text/html"})
        return None

    return answer


def most_in_a_minute(times: list[float]) -> int:
    return max((sum(start <= time < start + 60 for time in times) for start in times), default=0)


async def test_an_order_that_b1_cannot_digest_ends_alone_and_nobody_waits_for_it(
    open_world: OpenWorld, wire: type[FailingWire]
) -> None:
    """Row 2 of the finds of the field: 8 writes a second for ever, and status said that nobody was posted."""
    wire.answer = staticmethod(breaks_at(b'"ItemCode":"B"'))
    world = await open_world()
    world.writes("shop", order("1", order_line("1", "B", tax_amount="4.00")))
    await world.passes(5)
    for n in range(2, 8):
        world.writes("shop", order(str(n)))
        await world.passes(5)
        assert any(one["NumAtCard"] == str(n) for one in world.documents("Orders"))
    await world.settled()
    letter = await world.letter("erp_cannot")
    assert letter.state.owner == "platform"
    assert "502 Proxy Error" in letter.state.error
    assert world.claims()[world.order_k("1")]["U_STATE"] == "void"
    assert len(wire.answered) <= 20
    assert wire.answered[-1] - wire.answered[0] <= 300
    assert most_in_a_minute([time for time in wire.answered if time > wire.answered[0] + 60]) <= 3
    assert await world.ends("order_placed") == {"posted": 6, "dead": 1}


async def test_a_stock_batch_that_b1_cannot_digest_takes_no_other_with_it(
    open_world: OpenWorld, wire: type[FailingWire]
) -> None:
    wire.answer = staticmethod(breaks_at(b'"ItemCode":"B"'))
    world = await open_world()
    world.writes("warehouse", stock("e1", "A", "1"), stock("e2", "B", "1"), stock("e3", "C", "1"))
    await world.passes(60)
    world.writes("warehouse", stock("e4", "A", "1"), stock("e5", "C", "1"))
    await world.passes(300)
    assert [world.on_hand(item) for item in "ABC"] == [102, 100, 102]
    letter = await world.letter("erp_cannot")
    assert letter.state.sku == "B"
    assert await world.ends("stock_adjusted") == {"posted": 4, "dead": 1}


@pytest.mark.parametrize("status", [400, 500])
async def test_a_preview_that_fails_is_its_orders_failure_and_a_lock_in_it_is_a_lock(
    open_world: OpenWorld, wire: type[FailingWire], status: int
) -> None:
    def answer(path: str, body: bytes) -> httpx.Response | None:
        if not path.endswith("OrdersService_Preview") or b'"NumAtCard":"BAD"' not in body:
            return None
        locked = {"code": "-2039", "message": "Another user or another operation modified data (ODBC -2039)"}
        broken = {"code": "-1", "message": "unexpected error"}
        return httpx.Response(status, json={"error": locked if status == 400 else broken})

    wire.answer = staticmethod(answer)
    world = await open_world()
    world.writes("shop", order("1", order_number="BAD", grand_total="24.00"))
    world.writes("shop", *(order(str(n), grand_total="24.00") for n in range(2, 22)))
    await world.passes(30)
    assert len(world.documents("Orders")) == 20
    assert most_in_a_minute(wire.answered) <= 16
    await world.passes(300)
    await world.letter("item_locked" if status == 400 else "erp_cannot")


async def test_a_code_that_b1_refuses_to_be_asked_for_is_named_and_the_others_go_on(
    open_world: OpenWorld, wire: type[FailingWire]
) -> None:
    """Row 2 of the finds of the field: one odd code among twenty stopped all."""
    world = await open_world()
    read = world.b1.read

    def refusing(path: str, *rest: Any) -> Any:
        if "ODD-SKU" in str(path) or "ODD-SKU" in str(rest[:1]):
            return refusal(201, "Query string error - Invalid filter condition", 400)
        return read(path, *rest)

    world.b1.read = refusing  # type: ignore[method-assign]
    world.writes(
        "shop",
        order("1", order_line("1", "ODD-SKU", tax_amount="4.00")),
        *(order(str(n), order_line("1", "ABC"[n % 3], tax_amount="4.00")) for n in range(2, 12)),
    )
    await world.passes(20)
    assert len(world.documents("Orders")) == 10
    letter = await world.letter("erp_refused")
    assert letter.state.order_id == "1"
    assert "ODD-SKU" in letter.state.error


async def test_what_b1_does_not_let_us_read_ends_as_not_permitted_within_minutes(world: World) -> None:
    """Row 11 of the finds of the field: 8 reads a second for ever."""
    await world.says("shop", order("0"))
    text = "You are not permitted to perform this action"
    world.faults.script("error", method="GET", path="Items", times=10**9, status=403, code=-6006, text=text)
    world.writes("shop", order("1", order_line("1", "C", tax_amount="4.00")))
    await world.passes(120)
    letter = await world.letter("not_permitted")
    assert letter.state.owner == "platform"
    assert sum(world.faults.injected.values()) <= 12


@pytest.mark.parametrize("restarted", [False, True])
async def test_while_b1_is_away_behind_a_web_server_that_answers_it_is_asked_a_few_times_a_minute(
    open_world: OpenWorld, wire: type[FailingWire], restarted: bool
) -> None:
    """Row 11 of the finds of the field: 947 requests in 120 s."""
    world = await open_world()
    await world.says("shop", order("0"))
    if restarted:
        await world.stop_worker()

    def dead(path: str, body: bytes) -> httpx.Response | None:
        return None if "/ping" in path else httpx.Response(503, content=PROXY_PAGE)

    wire.answer = staticmethod(dead)
    if restarted:
        await world.start_worker()
    world.writes("shop", *(order(str(n)) for n in range(1, 5)))
    await world.passes(120)
    assert 3 <= len(wire.answered) <= 18
    assert most_in_a_minute([time for time in wire.answered if time > wire.answered[0] + 20]) <= 4
    assert await world.letters() == []
    wire.answer = staticmethod(lambda path, body: None)
    await world.settled()
    assert len(world.documents("Orders")) == 5


@pytest.mark.parametrize("after", ["60", "Sat, 21 Nov 2026 12:02:00 GMT"])
async def test_a_gateway_that_asks_for_a_minute_gets_it(
    open_world: OpenWorld, wire: type[FailingWire], after: str
) -> None:
    """Row 11 of the finds of the field: 469 writes in 60 s."""
    world = await open_world()
    await world.says("shop", order("0"))

    def throttled(path: str, body: bytes) -> httpx.Response | None:
        return httpx.Response(429, headers={"retry-after": after}) if b"POST /b1s" in body else None

    wire.answer = staticmethod(throttled)
    world.writes("shop", order("1"))
    await world.passes(60)
    assert len(wire.answered) == 1
    wire.answer = staticmethod(lambda path, body: None)
    await world.settled()
    assert await world.letters() == []


async def test_when_the_landscape_directory_restarts_the_company_goes_on_by_itself(world: World) -> None:
    await world.says("shop", order("0"))
    world.faults.script("session_kill", times=4)
    text = "Fail to get DB Credentials from SLD"
    world.faults.script("error", method="POST", path="Login", times=3, status=401, code=-304, text=text)
    world.writes("shop", order("1"), order("2"))
    await world.passes(60)
    assert await world.ends("order_placed") == {"posted": 3}


async def test_an_order_that_was_withdrawn_is_posted_once_when_it_is_replayed(
    open_world: OpenWorld, wire: type[FailingWire]
) -> None:
    wire.answer = staticmethod(breaks_at(b'"ItemCode":"B"'))
    world = await open_world()
    await world.says("shop", order("1", order_line("1", "B", tax_amount="4.00")))
    await world.letter("erp_cannot")
    await replayed(world, name="c1")  # it fails again, and stays withdrawn
    await world.passes(300)
    await world.letter("erp_cannot")
    wire.answer = staticmethod(lambda path, body: None)
    for name in ("c2", "c3"):
        await replayed(world, name=name)
        await world.settled()
    assert [one["NumAtCard"] for one in world.documents("Orders")] == ["1"]
    k = world.order_k("1")
    states = {code: row["U_STATE"] for code, row in world.claims().items()}
    assert states == {k: "void", f"{k}.1": "posted"}
    assert await world.ends("order_placed") == {"posted": 1}
