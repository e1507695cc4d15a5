"""What goes wrong while the demo runs, besides the replies that B1 loses: people hold items, a worker is killed."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from lab.demo.inputs import DemoInput
from lab.demo.processes import Child, bounded
from lab.demo.screen import ProgressScreen
from lab.demo.system import DemoSystem
from lab.feed.feed import Feed

_HOT_ITEMS = 20
# An order has 30 lines, and one in two names a hot item; whoever waits for one item keeps the queues of the others.
_LOCKED_S, _PAUSE_S = (1.5, 4.0), (3.0, 6.0)
_PEOPLE = ("Ann", "Ben", "Cleo")
_LOGIN_TIMEOUT_S = 120.0


@dataclass(slots=True)
class DisturbanceCounts:
    """What has been done so far.

    Attributes:
        locked: Items that people have open now.
        locks: How often people opened one.
        killed: The worker that was killed.
    """

    locked: list[str] = field(default_factory=list)
    locks: int = 0
    killed: str | None = None


class Disturbances:
    """People who hold items, and the death of a worker; `poster` says which worker posts to B1."""

    def __init__(
        self,
        screen: ProgressScreen,
        system: DemoSystem,
        source: DemoInput,
        hot: Sequence[str],
        counts: DisturbanceCounts,
        poster: Callable[[], Child | None],
    ) -> None:
        self._screen, self._system, self._input, self._hot = screen, system, source, hot
        self._disturbed, self._poster = counts, poster

    async def hold_items(self) -> None:
        """People open the items that sell best, for seconds, and close them again; B1 lets nobody else write them."""
        random, hot = Random(1), self._hot  # noqa: S311 -- not a secret
        while hot:
            asked = {"items": random.sample(hot, min(len(hot), random.randint(1, 2))), "holder": random.choice(_PEOPLE)}
            try:
                self._disturbed.locked = (await self._system.b1("POST", "lock", asked))["locked"]
                self._disturbed.locks += len(self._disturbed.locked)
                await asyncio.sleep(random.uniform(*_LOCKED_S))
            finally:
                self._disturbed.locked = []
                await asyncio.shield(self._system.b1("POST", "unlock", asked))
            await asyncio.sleep(random.uniform(*_PAUSE_S))

    async def kill_one(self) -> None:
        """SIGKILL the worker that posts to B1 when half of the files are there, and start another one."""
        # Nobody tells us when half of it has come in, or when a worker has logged in.
        while self._input.left * 2 > self._input.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        async with bounded("a worker to log in to B1", _LOGIN_TIMEOUT_S):
            while (poster := self._poster()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await poster.kill()
        self._disturbed.killed = poster.name
        self._screen.message(f"SIGKILL to {poster.name} ({poster.pid}) while it posts to B1", is_fault=True)
        self._system.workers.append(await self._system.streams("worker", 3))
        self._screen.message(f"worker-3 ({self._system.workers[-1].pid}) is started in its place")
        await self._system.wait_ready(self._system.workers[-1])
        self._screen.message("worker-3 takes part")


def hot_items(made: Feed) -> list[str]:
    """The ItemCodes that most lines of the shop name, hottest first."""
    sold: Counter[str] = Counter()
    for entry in made.shop:
        with suppress(ValueError):  # the line that was cut off
            sold.update(line["sku"] for line in json.loads(entry.line).get("lines", ()))
    return list(dict.fromkeys(made.items.get(sku, sku) for sku, _ in sold.most_common(_HOT_ITEMS)))
