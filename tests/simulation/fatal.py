"""A record that ends whoever reads it, as a crash in a library or memory that runs out does."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from schemas.codec import Codec
from schemas.registry import embedded_registry
from schemas.topics import FACTS
from tests.simulation.history import Fact
from tests.simulation.loop import PROCESS, Process

_SHARE, _TRIAL_S = 0.08, 0.4
_VALUE = b"whoever reads this ends"


def fatal_facts(random: Random) -> list[Fact]:
    """Most runs have none."""
    if random.random() > _SHARE:
        return []
    return [
        Fact(random.uniform(0, 60), random.choice(FACTS), b"%d" % number, _VALUE, None)
        for number in range(random.choice((1, 1, 2)))
    ]


class ProcessEnded(BaseException):
    """By a signal: no code of the process handles it."""


class FatalCodec(Codec):
    """Ends the process in which it meets such a record; see `kill`, which is told of it."""

    def __init__(self, kill: Callable[[Process], None]) -> None:
        super().__init__(embedded_registry())
        self._kill = kill

    def decode(self, data: bytes, expect: Any) -> Any:
        self._meet(data)
        return super().decode(data, expect)

    def rows(self, *given: Any) -> Callable[[Iterable[bytes]], list[Any]]:
        read = super().rows(*given)

        def read_or_end(values: Iterable[bytes]) -> list[Any]:
            own = list(values)
            for value in own:
                self._meet(value)
            return read(own)

        return read_or_end

    def _meet(self, data: bytes) -> None:
        process = PROCESS.get()
        if data == _VALUE and process is not None:
            self._kill(process)
            raise ProcessEnded


async def first_fatal(_topic: str, values: Sequence[bytes]) -> int | None:
    """As `streams.worker.trial_read`: the process that reads them is another one."""
    await asyncio.sleep(_TRIAL_S)
    return next((index for index, value in enumerate(values) if value == _VALUE), None)
