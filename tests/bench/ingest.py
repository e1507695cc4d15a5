"""Ingest to sealed window: the real app on the real broker, beside a bare `getmany` loop and plain Faust agents."""

import json
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from connectors.base.log import Outgoing
from schemas.codec import embedded_codec
from schemas.records import SealedEpoch
from schemas.topics import BY_NAME
from streams.chain.rule import Head
from streams.kafka.client import KafkaLog
from streams.kafka.log import BrokerTopic
from streams.kafka.topics import apply
from tests.bench import corpus, harness, rivals, world
from tests.bench.corpus import Sums
from tests.bench.harness import Bar, Check, Outcome, Round
from tests.bench.world import Child, World

PROCESS = "tests.bench.ingest_process"
MODULE_TIMEOUT_S = 180
#: What they are, and how many times our CPU per event they must at least take.
RIVALS = {"bytewax": ("a Bytewax fold window", 3.5), "quix": ("a Quix Streams tumbling sum with its changelog", 8.0)}


@dataclass(frozen=True, slots=True)
class Input:
    """A topic full of events."""

    prefix: str
    ends: dict[int, int]
    sums: Sums
    size_bytes: int

    @property
    def topic(self) -> str:
        return f"{self.prefix}stock-adjusted"

    @property
    def events(self) -> int:
        return sum(self.ends.values())


def fill(place: World, events: int, seed: int = 1) -> Input:
    """Make the topics of a prefix and put events into `stock-adjusted`."""
    prefix = place.prefix()
    config = world.config(world.settings(place.bootstrap_servers, prefix))
    sums = Sums()

    async def work(log: KafkaLog) -> Input:
        await apply(log, config)
        topic, size, ends = config.topic("stock-adjusted"), 0, dict.fromkeys(range(corpus.PARTITIONS), 0)
        for chunk in corpus.in_chunks(corpus.make(embedded_codec(), events, sums, seed=seed)):
            await log.send_many([Outgoing(topic, made.key, made.value, made.partition) for made in chunk])
            for made in chunk:
                size += len(made.value)
                ends[made.partition] += 1
        return Input(prefix, ends, sums, size)

    return place.with_log(work)


class Rounds:
    """Runs candidates on an input; each round starts from nothing."""

    def __init__(self, place: World, on: Input) -> None:
        self._place, self._input, self._count = place, on, 0

    def _spec(self) -> tuple[str, str]:
        """A file that tells a candidate what to do, and the round's prefix."""
        self._count += 1
        prefix = f"{self._input.prefix}r{self._count}-"
        settings = world.settings(self._place.bootstrap_servers, prefix, window={"length_s": 300})
        path = self._place.folder / f"{prefix}spec.json"
        spec = {"settings": settings, "topic": self._input.topic, "ends": self._input.ends}
        path.write_text(json.dumps(spec), encoding="utf-8")
        return str(path), prefix

    def plain(self, name: str, _number: int = 0) -> Round:
        """A candidate that says its sums itself."""
        path, _ = self._spec()
        with Child(self._place.folder, PROCESS, name, path) as child:
            child.wait_for("ready")
            child.tell("go")
            done = child.wait_for("done", MODULE_TIMEOUT_S)
        return Round(self._input.events, done["cpu_s"], done["end"] - done["start"], done["sums"])

    def rival(self, python: str, name: str, _number: int = 0) -> Round:
        """A candidate with an interpreter of its own."""
        path, _ = self._spec()
        with Child(self._place.folder, str(rivals.SCRIPT), name, path, python=python) as child:
            child.wait_for("ready")
            child.tell("go")
            done = child.wait_for("done", MODULE_TIMEOUT_S)
        sums = corpus.sums_of(done["units"], done["counted"], done["repeats"], done["malformed"])
        return Round(self._input.events, done["cpu_s"], done["end"] - done["start"], sums)

    def ours(self, workers: int, _number: int = 0) -> Round:
        """The app in so many processes; its sums are read from the chains that it has written."""
        path, prefix = self._spec()
        self._place.with_log(lambda log: _make_chain_topic(log, prefix))
        with ExitStack() as stack:
            children = [stack.enter_context(Child(self._place.folder, PROCESS, "ours", path)) for _ in range(workers)]
            _wait_until_shared(children)
            for child in children:
                child.tell("go")
            done = [child.wait_for("done", MODULE_TIMEOUT_S) for child in children]
            if sum(one["committed"] for one in done) != self._input.events:
                raise harness.SumsDifferError(f"committed {done} of {self._input.events}")
            for child in children:
                child.tell("stop")
            for child in children:
                child.process.wait(60)
        sums = self._place.with_log(lambda log: _sums_of_chains(log, prefix, self._input.ends))
        wall_s = max(one["end"] for one in done) - min(one["start"] for one in done)
        return Round(self._input.events, sum(one["cpu_s"] for one in done), wall_s, str(sums))


async def _make_chain_topic(log: KafkaLog, prefix: str) -> None:
    row = BY_NAME["stock-sealed"]
    configs = {**row.config(35), "min.insync.replicas": "1"}
    await log.create_topics([BrokerTopic(f"{prefix}{row.name}", corpus.PARTITIONS, 1, configs)])


def _wait_until_shared(children: list[Child]) -> None:
    """Until the last words of all are that they hold all partitions together and may read them."""

    def last(child: Child) -> Any:
        child.wait_for("ready", MODULE_TIMEOUT_S)
        name, fields = child.heard()[-1]
        return tuple(fields["partitions"]) if name == "ready" else ()

    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        held = [last(child) for child in children]
        if sorted(number for numbers in held for number in numbers) == list(range(corpus.PARTITIONS)) and all(held):
            return
        time.sleep(0.05)
    raise world.ProcessFailedError(f"the workers do not share the partitions: {[c.heard()[-1:] for c in children]}")


async def _sums_of_chains(log: KafkaLog, prefix: str, ends: dict[int, int]) -> Sums:
    """Walk each chain by its rule, apart from the code under test, and add up what it counts.

    Raises:
        SumsDifferError: A chain does not cover its input gaplessly.
    """
    codec, sums = embedded_codec(), Sums()
    for partition, input_end in ends.items():
        head, at = Head(), 0
        async with aclosing(log.read(f"{prefix}stock-sealed", partition, 0)) as batches:
            async for records in batches:
                for record in records:
                    value = record.value or b""
                    epoch = codec.decode(value, SealedEpoch)
                    if not head.accepts(epoch.number, epoch.prev_digest):
                        continue
                    if epoch.start != at:
                        raise harness.SumsDifferError(f"partition {partition}: {at} is followed by {epoch.start}")
                    head, at = head.after(value), epoch.end
                    _add(sums, epoch)
        if at != input_end:
            raise harness.SumsDifferError(f"partition {partition} is sealed up to {at} of {input_end}")
    return sums


def _add(sums: Sums, epoch: SealedEpoch) -> None:
    for batch in epoch.batches:
        for delta in batch.deltas:
            sums.count(batch.sku, int(delta.scaleb(6)))
    sums.repeats += sum(skip.why == "repeat" for skip in epoch.skipped)
    sums.malformed += sum(skip.why == "unreadable" for skip in epoch.skipped)


def run(place: World) -> Outcome:
    """One try: interleaved rounds of all candidates; Faust's on fewer events, per event all the same."""
    many, few, rounds = (100_000, 4_000, 2) if place.quick else (200_000, 20_000, 7)
    place.progress(f"ingest: filling {many:,} events")
    big = Rounds(place, on_big := fill(place, many))
    small = Rounds(place, on_small := fill(place, few, seed=2))
    candidates: dict[str, Callable[[int], Round]] = {
        "ours": partial(big.ours, 1),
        "bare": partial(big.plain, "bare"),
        "table": partial(small.plain, "table"),
    }
    absent = ""
    if not place.quick:
        candidates["dict"] = partial(small.plain, "dict")
        candidates["floor"] = partial(big.plain, "floor")
        python = rivals.install()
        if isinstance(python, Path):
            candidates |= {name: partial(big.rival, str(python), name) for name in RIVALS}
        else:
            absent = f"Bytewax and Quix Streams cannot be installed here: {python}"
            place.progress(absent)
    expected = {
        "ours": str(on_big.sums),
        "bare": f"{on_big.events} records, {on_big.size_bytes} bytes",
        "floor": f"{on_big.events} records, {on_big.size_bytes} bytes",
        "table": str(on_small.sums),
        "dict": str(on_small.sums),
        **dict.fromkeys(RIVALS, str(on_big.sums)),
    }
    candidates = {name: noted(place, f"ingest: {name}", run) for name, run in candidates.items()}
    done = harness.interleave(candidates, rounds, expected)
    cpu = {name: [one.cpu_us for one in each] for name, each in done.items()}
    wall = {name: [one.wall_us for one in each] for name, each in done.items()}
    notes = {
        "ours": "decode, check, dedupe, window, seal, meter, commit",
        "bare": "aiokafka getmany, values counted",
        "floor": "aiokafka getmany, each value decoded by fastavro and thrown away",
        "table": "Faust agent, Record, windowed Table; dedupe in a set, no seal, no letters",
        "dict": "Faust agent, Record, dict; the same gaps",
        "bytewax": "fold_window; dedupe in a set, nothing durable, no dead letters",
        "quix": "tumbling sum with changelog; dedupe in a set, no dead letters",
    }
    for name, each in cpu.items():
        if name != "ours":
            notes[name] += f"; {harness.ratio(each, cpu['ours']):.3g} of ours"
    checks = [
        Check("cost over bare getmany", harness.ratio(cpu["ours"], cpu["bare"]), "x CPU", Bar("at most", 4), absent),
        Check(
            "faster than a Faust windowed Table", harness.ratio(cpu["table"], cpu["ours"]), "x CPU", Bar("at least", 25)
        ),
    ]
    checks += [
        Check(f"less than {title}", harness.ratio(cpu[name], cpu["ours"]), "x CPU", Bar("at least", limit))
        for name, (title, limit) in RIVALS.items()
        if name in cpu
    ]
    if not place.quick:  # a second's work on a busy machine waits for others, not for itself
        checks.append(
            Check("... by the clock", harness.ratio(wall["table"], wall["ours"]), "x wall", Bar("at least", 25))
        )
    figures = (figure for name, each in done.items() for figure in harness.figures(name, each, notes[name]))
    return Outcome(tuple(figures), tuple(checks))


def noted(place: World, what: str, run: Callable[[int], Round]) -> Callable[[int], Round]:
    def noted(number: int) -> Round:
        place.progress(f"{what}, round {number + 1}")
        return run(number)

    return noted
