"""The circuit breaker: while it is open nothing goes through, and it closes when its probe says so."""

import asyncio
from random import Random

import pytest

from connectors.base.errors import FatalError, RetriableError
from streams.flow_control.circuit_breaker import CircuitBreaker
from tests.streams.virtual import Clock


class Scene:
    """A breaker and what it announced."""

    def __init__(self) -> None:
        self.clock, self.up, self.probes, self.announced = Clock(), True, 0, list[tuple[str, str, str | None]]()
        self.error: Exception | None = None
        self.breaker = CircuitBreaker("acme", self.probe, self.clock, Random(1))
        self.breaker.observe(lambda *change: self.announced.append(change))

    async def probe(self) -> bool:
        self.probes += 1
        if self.error is not None:
            raise self.error
        return self.up


async def test_a_breaker_opened_for_a_reason_closes_when_that_is_so() -> None:
    scene, ready = Scene(), False

    async def is_ready() -> bool:
        return ready

    scene.breaker.trip("not proved yet", until=is_ready)
    scene.breaker.trip("again")
    await asyncio.sleep(100)
    assert not scene.breaker.is_closed
    ready = True
    await asyncio.wait_for(scene.breaker.wait_closed(), 60)
    assert scene.breaker.is_closed
    assert scene.probes == 0
    assert scene.announced == [("open", "not proved yet", None), ("closed", "", None)]
    await scene.breaker.stop()


async def test_the_time_it_was_open_adds_up() -> None:
    scene = Scene()
    for _ in range(2):
        scene.up = False
        scene.breaker.trip("away")
        await asyncio.sleep(1000)
        scene.up = True
        await scene.breaker.wait_closed()
        scene.breaker.succeeded()
        await asyncio.sleep(500)
    assert 2000 <= scene.breaker.open_s <= 2080
    assert 2 * 30 < scene.probes < 2 * 50  # every 30 s, with jitter


async def test_while_it_is_open_there_are_few_probes_a_minute() -> None:
    """Row 11 of the finds of the field: 947 requests in 120 s."""
    scene = Scene()
    scene.up = False
    scene.breaker.trip("away")
    await asyncio.sleep(20)
    first = scene.probes
    assert first <= 8
    await asyncio.sleep(600)
    assert scene.probes - first <= 10 * 3
    await scene.breaker.stop()


async def test_a_probe_that_succeeds_does_not_shorten_the_pause_while_everything_else_goes_on_failing() -> None:
    scene = Scene()
    for _ in range(12):
        scene.breaker.trip("writes fail")
        await scene.breaker.wait_closed()
    started = scene.clock.monotonic()
    scene.breaker.trip("writes fail")
    await scene.breaker.wait_closed()
    assert scene.clock.monotonic() - started >= 20
    scene.breaker.succeeded()
    started = scene.clock.monotonic()
    scene.breaker.trip("once more")
    await scene.breaker.wait_closed()
    assert scene.clock.monotonic() - started < 1


async def test_a_pause_that_is_asked_for_is_kept_by_the_first_probe_and_by_those_after_it() -> None:
    scene = Scene()
    scene.breaker.trip("throttled", asked_s=60)
    await asyncio.sleep(59)
    assert scene.probes == 0
    scene.error = RetriableError("HTTP 503", retry_after_s=120)
    await asyncio.sleep(2)
    assert scene.probes == 1
    await asyncio.sleep(118)
    assert scene.probes == 1
    await scene.breaker.stop()


async def test_held_it_is_asked_again_when_that_does_no_harm_and_says_so() -> None:
    """A refused login, and what is told of it."""
    scene = Scene()
    refused = FatalError("wrong password")
    refused.retry_in_s = 1800
    scene.error = refused
    refused = FatalError("wrong password")
    refused.retry_in_s = 1800
    scene.breaker.hold_for(refused)
    await asyncio.sleep(86_400)
    assert (scene.breaker.state, scene.breaker.reason) == ("held", "wrong password")
    assert 40 <= scene.probes <= 48
    scene.error = None
    await asyncio.wait_for(scene.breaker.wait_closed(), 1801)
    assert [state for state, _, _ in scene.announced] == ["held", "closed"]


async def test_an_open_breaker_that_learns_more_says_so() -> None:
    scene = Scene()
    scene.error = RetriableError("B1 refuses the login for now")
    scene.breaker.trip("not proved yet")
    await asyncio.sleep(10)
    scene.error = FatalError("wrong password")
    await asyncio.sleep(60)
    assert [(state, reason) for state, reason, _ in scene.announced] == [
        ("open", "not proved yet"),
        ("open", "B1 refuses the login for now"),
        ("held", "wrong password"),
    ]
    await scene.breaker.stop()


@pytest.mark.parametrize("up", [True, False])
async def test_asked_now_it_says_whether_the_system_answers_and_opens_where_it_does_not(up: bool) -> None:
    scene = Scene()
    scene.up = up
    assert await asyncio.gather(*(scene.breaker.answers() for _ in range(3))) == [up] * 3
    assert (scene.probes, scene.breaker.is_closed, scene.breaker.opened) == (1, up, int(not up))
    await scene.breaker.stop()


async def test_a_probe_that_fails_is_reported_and_the_breaker_stays_open() -> None:
    scene, failures = Scene(), list[BaseException]()
    scene.breaker.on_failure = failures.append

    async def broken() -> bool:
        raise ValueError("a bug")

    scene.breaker.trip("away", until=broken)
    await asyncio.sleep(60)
    assert [type(one) for one in failures] == [ValueError]
    assert not scene.breaker.is_closed
