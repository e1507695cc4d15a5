"""One demo: everything is started, fed, watched, stopped and proved."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from lab.demo.disturbances import DisturbanceCounts, Disturbances, hot_items
from lab.demo.inputs import DemoInput
from lab.demo.ledger import read_ledger, read_terms
from lab.demo.processes import ProcessError, bounded
from lab.demo.result import DemoResult
from lab.demo.screen import ProgressScreen
from lab.demo.system import DemoSystem, in_thread
from lab.demo.watcher import Watcher
from lab.feed.feed import Feed
from lab.kafka.broker import check_reachable
from lab.kafka.jars import install
from lab.proof.dead_letters import read_dead_letters
from lab.proof.run import prove
from lab.proof.verdict import Proof
from streams.config.load import Config
from streams.kafka.log import Log
from streams.query.status import Status

SECONDS = 60.0  # in which the sales come in, unless the pipeline is slower
STEP_S = 1.0
STEP_LINES = 25  # at most
# So many may be on their way before more come in: enough for every lane, few enough for a year to leave memory flat.
MAX_EVENTS_UNDER_WAY = 500
LOOK_INTERVAL_S, LOOK_SHARE = 1.5, 2
STOP_TIMEOUT_S = 35.0  # a worker drains for 30 at most (contract section 5)
STUCK_TIMEOUT_S = 120.0
LOOK_TIMEOUT_S, SETUP_TIMEOUT_S, PROOF_TIMEOUT_S, RECEIPT_TIMEOUT_S = 60.0, 180.0, 900.0, 90.0
PARKED_SETTLE_S = 15.0  # for which dead letters still parked must have stood before we call it the end


class Demo:
    """One demo in one folder. Lifecycle: `play` once; what it starts is ended by the stack."""

    def __init__(
        self,
        screen: ProgressScreen,
        made: Feed,
        source: DemoInput,
        folder: Path,
        stack: AsyncExitStack,
        seconds: float | None,
    ) -> None:
        self._screen, self._input, self._folder, self._stack = screen, source, folder, stack
        self._seconds = SECONDS if seconds is None else seconds
        self._system = DemoSystem(screen, source, folder, stack)
        self._disturbed = DisturbanceCounts()
        self._watcher = Watcher(screen, self._system, source, self._disturbed)
        self._disturbances = Disturbances(
            screen, self._system, source, hot_items(made), self._disturbed, self._watcher.poster
        )
        self._took: dict[str, float] = {}

    async def play(self) -> DemoResult:
        """All of it, up to the verdict."""
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        if servers:
            await asyncio.to_thread(check_reachable, servers)
        else:
            await in_thread(lambda: install(self._screen.message))  # as long as the network takes
        async with bounded("Kafka, B1 and what the sales come from", SETUP_TIMEOUT_S):
            config = await self._system.start()
        async with bounded("a connection to Kafka", LOOK_TIMEOUT_S):
            log = await self._stack.enter_async_context(self._system.open_log(config))
        async with bounded("the topics, and the doctor", SETUP_TIMEOUT_S):
            await self._system.prepare(log, config)
        await self._system.start_pipeline()
        self._lap("start")
        await self._feed_and_watch(log, config)
        codes, sessions = await self._stop()
        self._lap("stop")
        proof = await self._prove(config)
        self._lap("proof")
        self._took["all"] = self._screen.elapsed_s
        return DemoResult(proof, self._watcher.now, codes, *sessions, self._took)

    async def _feed_and_watch(self, log: Log, config: Config) -> None:
        writing, killing = asyncio.create_task(self._write()), asyncio.create_task(self._disturbances.kill_one())
        tasks = [writing, killing, asyncio.create_task(self._disturbances.hold_items())]
        try:
            await self._watch(log, config, tasks, lambda: writing.done() and killing.done())
        finally:
            for task in tasks:
                task.cancel()
            async with bounded("the end of what was done meanwhile", LOOK_TIMEOUT_S + STOP_TIMEOUT_S):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        """Let the sales come in, evenly, but no faster than the pipeline takes them."""
        steps = max(1, round(self._seconds / STEP_S), -(-self._input.lines // STEP_LINES))
        began = time.monotonic()
        for number, until in enumerate(self._input.moments(steps), 1):
            await self._input.write(until)
            await asyncio.sleep(max(0.0, began + number * self._seconds / steps - time.monotonic()))
            while self._open() > MAX_EVENTS_UNDER_WAY:  # noqa: ASYNC110 -- it changes when somebody looks
                await asyncio.sleep(STEP_S / 4)
        self._lap("feed")

    def _open(self) -> int:
        """What is on its way: what was when somebody looked last, and what has gone in since."""
        return self._watcher.now.total("in_flight") + self._input.lines - self._input.left - self._watcher.now.written

    async def _watch(
        self, log: Log, config: Config, tasks: list[asyncio.Task[None]], is_written: Callable[[], bool]
    ) -> None:
        """Look at everything again and again, until all is worked off."""
        moved_at = written_at = time.monotonic()
        before = list[tuple[int, ...]]()
        missing = "all of it"
        while True:
            for child in self._system.children:
                child.check()
            for task in tasks:
                if task.done():
                    task.result()
            written, began = is_written(), time.monotonic()
            async with bounded("Kafka and B1 to say where everything stands", LOOK_TIMEOUT_S):
                found = await self._watcher.look(log, config, "working off the rest" if written else "selling")
                if written and missing and found is not None:
                    missing = await self._input.missing({name: flow.received for name, flow in found.flows.items()})
            now = time.monotonic()
            written_at = written_at if written else now
            if missing and now - written_at > RECEIPT_TIMEOUT_S:
                self._screen.message(f"the connectors have not seen everything: {missing}", is_fault=True)
                missing = ""  # the proof will tell what that means
            if found is not None and (counts := _counts(found)) != before:
                moved_at, before = now, counts
            if written and not missing and found is not None and found.idle:
                parked = sum(flow.parked for flow in found.flows.values())
                if not parked or now - moved_at > PARKED_SETTLE_S:
                    self._lap("rest")
                    return
            if now - moved_at > STUCK_TIMEOUT_S:
                logs = "\n".join(f"{each.name}: {each.tail(3)}" for each in self._system.workers if each.ended is None)
                waits = f"the connectors to see {missing}" if written and missing else "what is on its way to end"
                raise ProcessError(f"nothing has moved for {STUCK_TIMEOUT_S:.0f} s of waiting for {waits}:\n{logs}")
            # Looking is reading all dead letters: where they are many, look more seldom.
            await asyncio.sleep(max(LOOK_INTERVAL_S, LOOK_SHARE * (now - began)))

    async def _stop(self) -> tuple[dict[str, int], tuple[int, int]]:
        """SIGTERM to all; their exit codes, and the sessions left open by them and by the killed worker."""
        living = self._system.ask_to_stop()
        self._screen.message(f"all is worked off; SIGTERM to {', '.join(child.name for child in living)}")
        codes = await asyncio.gather(*(child.wait(STOP_TIMEOUT_S) for child in living))
        users = (await self._system.b1("GET", "counters"))["users"]
        opened = {name: int(user["sessions_open"]) for name, user in users.items()}
        killed = next((each.name for each in self._system.workers if each.name == self._disturbed.killed), "")
        orphaned = opened.pop(killed.replace("worker", "streams"), 0)
        left = {child.name: code for child, code in zip(living, codes, strict=True)}
        return left, (sum(opened.values()), orphaned)

    async def _prove(self, config: Config) -> Proof:
        self._watcher.now = replace(
            self._watcher.now,
            phase="comparing the books with what went in",
            elapsed_s=self._screen.elapsed_s,
            lanes=0,
            queued=0,
            rates={},
        )
        self._screen.update(self._watcher.now)
        async with bounded("B1's ledger", PROOF_TIMEOUT_S):
            ledger = await read_ledger(self._system, self._folder)
        async with bounded("Kafka's dead-letter topics", SETUP_TIMEOUT_S):
            letters = await read_dead_letters(
                config.kafka.bootstrap_servers, config.kafka.topic_prefix, **config.kafka.security()
            )
        async with bounded("what the sales came from", SETUP_TIMEOUT_S):
            evidence, terms = await self._input.evidence(), read_terms(self._folder / "streams.toml")
        proof = await asyncio.to_thread(
            prove, evidence.files, ledger, letters, terms, evidence.vendor_events, evidence.shelves
        )
        self._watcher.now = replace(self._watcher.now, phase="done", elapsed_s=self._screen.elapsed_s, locked=())
        self._screen.update(self._watcher.now)
        return proof

    def _lap(self, phase: str) -> None:
        self._took[phase] = self._screen.elapsed_s - sum(self._took.values())


def _counts(found: Status) -> list[tuple[int, ...]]:
    """What grows when something moves. What is tried again and again, and parked each time, does not."""
    return [(each.received, each.posted, each.no_op, each.dead) for each in found.flows.values()]
