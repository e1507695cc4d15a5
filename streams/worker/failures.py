"""What has failed is held alone, said, and tried again slowly (architecture section 15.16)."""

from dataclasses import dataclass

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError
from schemas.components import ComponentKind
from streams.telemetry.component_states import ComponentStates
from streams.worker.isolation import words_of

logger = structlog.get_logger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 30.0, 600.0
#: What has worked for so long after a failure begins anew with the first delay.
FORGET_AFTER_S = 3600.0


@dataclass(slots=True)
class _Failure:
    at_s: float
    delay_s: float


class Failures:
    """How often a company or a partition has failed lately, and how long it is left alone for it."""

    def __init__(self, components: ComponentStates, clock: Clock) -> None:
        self._components, self._clock = components, clock
        self._last: dict[tuple[ComponentKind, str], _Failure] = {}

    def failed(self, kind: ComponentKind, name: str, error: BaseException) -> float:
        """Say it; the seconds after which it is tried again."""
        now_s, last = self._clock.monotonic(), self._last.get((kind, name))
        recent = last is not None and now_s - last.at_s < FORGET_AFTER_S
        delay_s = min(MAX_DELAY_S, last.delay_s * 2) if recent and last is not None else FIRST_DELAY_S
        self._last[kind, name] = _Failure(now_s, delay_s)
        words = words_of(error)
        logger.error("is held and tried again", kind=kind, name=name, delay_s=delay_s, error=words)
        reason = (isinstance(error, ConnectorError) and error.hold_reason) or "failed"
        self._components.report(kind, name, reason, f"{words}; tried again after {delay_s:.0f} s")
        return delay_s

    def works(self, kind: ComponentKind, name: str) -> None:
        """It goes on."""
        self._components.report(kind, name)
