"""How long a vendor waits for the door's answer.

Signed pushes at a steady rate, each answered once the broker has it.
"""

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime
from statistics import quantiles
from time import monotonic

import httpx

from lab.simulators.seko.app import Hub
from streams.kafka.client import KafkaLog
from streams.kafka.topics import apply
from tests.bench import corpus, world
from tests.bench.harness import Bar, Check, Figure, Outcome, SumsDifferError
from tests.bench.world import Child, World

PROCESS = "tests.bench.door_process"
#: Pushes a second: a warehouse that sends a message for each of 8,000 parcels in an hour of a sale, and ten times that.
RATE = 25


def run(place: World) -> Outcome:
    """One try; an answer's time counts from when the push was due.

    So a slow one makes those behind it late too.
    """
    pushes = 200 if place.quick else 1_500
    place.progress(f"door: {pushes:,} pushes at {RATE} /s")
    prefix = place.prefix()
    settings = world.settings(place.bootstrap_servers, prefix)
    settings["webhooks"] = {"port": 0}
    settings["connectors"][corpus.SOURCE] = {
        "kind": "seko",
        "company": corpus.COMPANY,
        "order_source": "shop",
        "push_secrets": "env:SEKO_PUSH",
        "locations": {corpus.LOCATION: corpus.WAREHOUSE},
    }
    config = world.config(settings)
    place.with_log(lambda log: apply(log, config))
    path = place.folder / f"{prefix}door.json"
    path.write_text(json.dumps({"servers": place.bootstrap_servers, "settings": settings}), encoding="utf-8")
    with Child(place.folder, PROCESS, str(path)) as child:
        url = child.wait_for("listening")["url"]
        answers_s, statuses = asyncio.run(push(f"{url}/{corpus.SOURCE}", pushes))
        child.tell("stop")
        cpu_s = child.wait_for("done")["cpu_s"]
    if statuses != {200}:
        raise SumsDifferError(f"the door answered {statuses}")
    published = place.with_log(lambda log: count(log, config.topic("stock-adjusted")))
    if published != pushes:
        raise SumsDifferError(f"{published} events are in Kafka, {pushes} pushes were answered 200")
    cuts = quantiles(answers_s, n=100)
    note = f"{pushes:,} pushes at {RATE} /s, each an event that the broker has; CPU {cpu_s / pushes * 1e3:.1f} ms each"
    return Outcome(
        (
            Figure("door: answer, p50", "ms", (cuts[49] * 1e3,), note),
            Figure("door: answer, p99", "ms", (cuts[98] * 1e3,)),
        ),
        (Check("door: p99 of the answer", cuts[98], "s", Bar("at most", 1, ratio=False), note),),
    )


async def push(url: str, pushes: int) -> tuple[list[float], set[int]]:
    """Send so many, each when it is due, whatever became of those before it."""
    hub = Hub(clock=lambda: datetime.now(UTC), secret=world.PUSH_SECRET, dcs=(corpus.LOCATION,))
    hub.stock = {(corpus.LOCATION, "Available Stock", f"SKU{n:04}", ""): 10**6 for n in range(100)}
    said = [hub.adjust(f"SKU{n % 100:04}", -1) for n in range(pushes)]
    bodies = [hub.body([each]) for each in said]
    answers_s: list[float] = []
    statuses: set[int] = set()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client, asyncio.TaskGroup() as group:

        async def one(due: float, body: bytes) -> None:
            answer = await client.post(url, content=body, headers=hub.headers())
            answers_s.append(monotonic() - due)
            statuses.add(answer.status_code)

        start = monotonic()
        for number, body in enumerate(bodies):
            due = start + number / RATE
            await asyncio.sleep(max(0.0, due - monotonic()))
            group.create_task(one(due, body))
    return answers_s, statuses


async def count(log: KafkaLog, topic: str) -> int:
    found = 0
    for number in range(corpus.PARTITIONS):
        async with aclosing(log.read(topic, number, 0)) as batches:
            async for records in batches:
                found += len(records)
    return found
