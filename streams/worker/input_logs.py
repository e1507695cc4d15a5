"""The logs behind the partitions that this worker reads: each is the one that was read, or is not read (section 5)."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

import structlog
from faust.types import TP

from connectors.base.errors import LogError
from streams.chain.known_logs import NUMBER, KnownLogs, LogMismatch, LogMismatchError
from streams.config.load import Config
from streams.faust_host.watermarks import Start
from streams.telemetry.component_states import ComponentStates
from streams.telemetry.vitals import Vitals

logger = structlog.get_logger(__name__)

#: How often it is looked whether a person has decided about a partition that is not read, whether reading has begun,
#: and whether a topic has been made anew under us.
DECISION_POLL_S, READING_POLL_S, WATCH_INTERVAL_S = 30.0, 0.25, 30.0
#: A chain says itself where its reading goes on: here only which log it is counts.
_CHAINED = ("stock-adjusted", "erp-documents")


class PartitionReader(Protocol):
    """What reads partitions; see `streams.faust_host.app.FaustApp`."""

    def watermark(self, tp: TP) -> Start | None: ...

    async def rewind(self, tp: TP, start: Start) -> bool: ...


class InputLogs:
    """Lifecycle: `examine` what comes, `settle` what cannot be read as it is, `watch` all of it until it goes."""

    def __init__(
        self, reader: PartitionReader, logs: KnownLogs, config: Config, vitals: Vitals, components: ComponentStates
    ) -> None:
        self._reader, self._logs, self._config = reader, logs, config
        self._vitals, self._components = vitals, components

    async def examine(self, tps: Collection[TP]) -> set[TP]:
        """The partitions that cannot be read from where they are committed.

        Raises:
            LogError: The broker cannot be reached.
        """
        found = await self._logs.examine([(tp.topic, tp.partition) for tp in tps])
        stale = {tp for tp in tps if not self._goes_on(tp, found[tp.topic, tp.partition])}
        for tp in set(tps) - stale:  # whatever its reader before us said of it
            self._components.report("partition", self._part(tp))
        return stale

    def _goes_on(self, tp: TP, found: Start | LogMismatch) -> bool:
        if self._config.name_of(tp.topic) in _CHAINED:
            return not (isinstance(found, LogMismatch) and found.is_another)
        at = self._reader.watermark(tp)
        return isinstance(found, Start) and at is not None and _place(at) == _place(found)

    async def settle(self, tps: Collection[TP]) -> None:
        """Return when these partitions are read from where they must be; waits while a person must decide.

        Raises:
            LogError: The broker cannot be reached.
        """
        while True:
            found = await self._logs.examine([(tp.topic, tp.partition) for tp in tps])
            waiting = False
            for tp in tps:
                at, name = found[tp.topic, tp.partition], _name(tp)
                if isinstance(at, LogMismatch) and not self._goes_on(tp, at):
                    logger.critical("partition is not read", topic=tp.topic, partition=tp.partition, error=str(at))
                    self._vitals.expect(name, str(at))
                    self._components.report("partition", self._part(tp), "log_lost", str(at))
                    waiting = True
                else:
                    self._vitals.ready(name)
                    self._components.report("partition", self._part(tp))
            if not waiting:
                break
            await asyncio.sleep(DECISION_POLL_S)
        for tp in tps:
            at = found[tp.topic, tp.partition]
            if isinstance(at, Start) and not self._goes_on(tp, at):
                while not await self._reader.rewind(tp, at):  # noqa: ASYNC110  # once a disaster
                    await asyncio.sleep(READING_POLL_S)

    def forget(self, tps: Iterable[TP]) -> None:
        """They are somebody else's now: nothing of them is expected here."""
        for tp in tps:
            self._vitals.ready(_name(tp))
            self._components.forget("partition", self._part(tp))

    def _part(self, tp: TP) -> str:
        return f"{self._config.name_of(tp.topic)}/{tp.partition}"

    async def watch(self, tps: Collection[TP]) -> None:
        """Write down what is reached, and look whether the logs are still the same, until cancelled.

        Raises:
            LogMismatchError: A topic has been made anew while it was read: nothing more of it is. A process that starts
                afresh holds it alone.
        """
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            try:
                if (changed := await self._logs.made_anew({tp.topic for tp in tps})) is not None:
                    raise LogMismatchError(f"{changed} was deleted and made again while it was read")
                reached = {(tp.topic, tp.partition): at.offset for tp in tps if (at := self._reader.watermark(tp))}
                await self._logs.refresh(reached)
            except LogError as error:
                logger.warning("logs are not looked at", error=str(error))


def _place(start: Start) -> tuple[int, int]:
    return start.offset, (start.counts or {}).get(NUMBER, 0)


def _name(tp: TP) -> str:
    return f"{tp.topic}/{tp.partition}"
