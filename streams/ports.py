"""What the core is handed by whatever runs it.

Its outside, passed in so that it runs under simulation, and batches of records.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from connectors.base.clock import Clock
from connectors.sap_b1.service_layer import ServiceLayer
from schemas.codec import Codec
from streams.kafka.log import Log
from streams.telemetry.metrics import Metrics


async def no_crash(_point: str) -> None:
    """Crash points are for simulations."""


async def none_is_fatal(_topic: str, _values: Sequence[bytes]) -> int | None:
    """Where no record is of the kind that ends whoever reads it."""
    return None


@dataclass(frozen=True, slots=True)
class Ports:
    """Broker, bytes, time, chance, measures and ERP of one worker.

    `service_layer` makes one for a company, for its poster to close; `first_fatal` reads values in a process of its
    own, to see which of them ends it (`streams.worker.trial_read`).
    """

    log: Log
    codec: Codec
    clock: Clock
    random: Random
    metrics: Metrics
    service_layer: Callable[[str], ServiceLayer]
    crash_point: Callable[[str], Awaitable[None]] = no_crash
    first_fatal: Callable[[str, Sequence[bytes]], Awaitable[int | None]] = none_is_fatal


#: Source events that have ended, by (flow, ending).
Counts = Mapping[tuple[str, str], int]


class RawRecord(Protocol):
    """A record as the broker gave it; `timestamp` in milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class RecordBatch(Protocol):
    """Records of one partition, offsets ascending; each is finished exactly once, in any order."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def live(self) -> bool:
        """The assignment is still ours: new work may start."""

    def open(self) -> Sequence[RawRecord]:
        """Take the records: from here on they count as in flight."""

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        """The next holder has it; `counts` are the source events it ended, by (flow, ending)."""

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        """The next holder has all of this batch up to and with this record.

        `counts` as with `finish`, of all of them.
        """
