"""The circuit breaker: while it is open nothing goes through, and it closes when its probe says so."""

import asyncio
from random import Random

from streams.flow_control.circuit_breaker import CircuitBreaker
from tests.streams.virtual import Clock


class Scene:
    """A breaker and what it announced."""

    def __init__(self) -> None:
        self.clock, self.up, self.probes, self.announced = Clock(), True, 0, list[bool]()
        self.breaker = CircuitBreaker("acme", self.probe, self.clock, Random(1), self.announced.append)

    async def probe(self) -> bool:
        self.probes += 1
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
    assert (scene.probes, scene.announced) == (0, [True, False])
    await scene.breaker.stop()


async def test_the_time_it_was_open_adds_up() -> None:
    scene = Scene()
    for _ in range(2):
        scene.up = False
        scene.breaker.trip("away")
        await asyncio.sleep(1000)
        scene.up = True
        await scene.breaker.wait_closed()
        await asyncio.sleep(500)
    assert 2000 <= scene.breaker.open_s <= 2060
    assert scene.probes > 2 * 30  # about every 15 s, with jitter


async def test_held_it_is_never_probed_and_stays_open() -> None:
    scene = Scene()
    scene.breaker.trip("away")
    scene.breaker.hold("wrong password")
    await asyncio.sleep(86_400)
    assert (scene.breaker.is_closed, scene.probes, scene.announced) == (False, 0, [True])


async def test_a_probe_that_fails_is_reported_and_the_breaker_stays_open() -> None:
    scene, failures = Scene(), list[BaseException]()
    scene.breaker.on_failure = failures.append

    async def broken() -> bool:
        raise ValueError("a bug")

    scene.breaker.trip("away", until=broken)
    await asyncio.sleep(60)
    assert [type(one) for one in failures] == [ValueError]
    assert not scene.breaker.is_closed
