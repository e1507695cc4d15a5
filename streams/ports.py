"""Everything from outside, passed in, so that the real core runs under simulation."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from connectors.base.clock import Clock
from connectors.sap_b1.service_layer import ServiceLayer
from schemas.codec import Codec
from streams.kafka.client import Log
from streams.telemetry.metrics import Metrics


async def no_crash(_point: str) -> None:
    """Crash points are for simulations."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Broker, bytes, time, chance, measures and ERP of one worker; `service_layer` makes one for a company, for its poster to close."""

    log: Log
    codec: Codec
    clock: Clock
    random: Random
    metrics: Metrics
    service_layer: Callable[[str], ServiceLayer]
    crash_point: Callable[[str], Awaitable[None]] = no_crash
