"""A stream processor of somebody else on the ingest benchmark's input: `python rivals_process.py NAME SPEC.json`.

Runs in a virtual environment of its own (`tests/bench/rivals.py`), so it imports nothing of ours. Says `ready`, waits
for `go`, works through the topic, says `done` with CPU, times and what it has summed. As the plain Faust candidates do,
both decode with fastavro into a dict, leave out repeats by a set that a restart would lose, and seal and refuse
nothing.
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro

SCHEMA = Path(__file__).parents[2] / "schemas" / "avro" / "stock_adjusted.v1.avsc"


class Intake:
    """Decodes, leaves out repeats, counts; starts the clock with the first event."""

    def __init__(self) -> None:
        self._schema = fastavro.schema.load_schema(str(SCHEMA))
        self._seen: set[tuple[str, str, str]] = set()
        self._cpu_s = self._start = 0.0
        self.read = self.repeats = self.malformed = 0
        self.units: dict[str, int] = {}

    def take(self, value: bytes) -> tuple[str, int] | None:
        """Sku and millionths of units of a new event; None for a repeat and for what cannot be read."""
        if not self._start:
            self._cpu_s, self._start = _cpu_s(), time.monotonic()
        self.read += 1
        try:
            assert not value[0], "not in the Confluent wire format"
            stream = io.BytesIO(value)
            stream.seek(5)
            event: Any = fastavro.schemaless_reader(stream, self._schema, None)
        except (AssertionError, EOFError, IndexError, ValueError, UnicodeDecodeError):
            self.malformed += 1
            return None
        identity = (event["event_id"], event["sku"], event["location"])
        if identity in self._seen:
            self.repeats += 1
            return None
        self._seen.add(identity)
        delta: Decimal = event["delta"]
        return event["sku"], int(delta.scaleb(6))

    def done(self) -> None:
        end = time.monotonic()
        counts = {"counted": len(self._seen), "repeats": self.repeats, "malformed": self.malformed, "units": self.units}
        tell("done", cpu_s=_cpu_s() - self._cpu_s, start=self._start, end=end, **counts)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(name: str, **fields: Any) -> None:
    os.write(_OUT, f"{name} {json.dumps(fields)}\n".encode())


def bytewax(spec: dict[str, Any], folder: str) -> None:
    """A tumbling `fold_window` per sku; its sums are those of the windows when the input has ended."""
    import bytewax.operators as op
    from bytewax.connectors.kafka import operators as kafka
    from bytewax.dataflow import Dataflow
    from bytewax.operators import windowing
    from bytewax.outputs import DynamicSink, StatelessSinkPartition
    from bytewax.testing import run_main

    intake = Intake()

    class Sums(StatelessSinkPartition[Any]):
        def write_batch(self, items: list[Any]) -> None:
            for sku, (_window, units) in items:
                intake.units[sku] = intake.units.get(sku, 0) + units

    class Sink(DynamicSink[Any]):
        def build(self, _step: str, _index: int, _count: int) -> Sums:
            return Sums()

    flow = Dataflow("ingest")
    read = kafka.input("read", flow, brokers=[spec["servers"]], topics=[spec["topic"]], tail=False, batch_size=1_000)
    taken = op.filter_map("take", read.oks, lambda message: intake.take(message.value))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    windows = windowing.fold_window(
        "window",
        taken,
        windowing.SystemClock(),
        windowing.TumblingWindower(length=timedelta(seconds=60), align_to=start),
        int,
        int.__add__,
        int.__add__,
    )
    op.output("sums", windows.down, Sink())
    tell("ready")
    sys.stdin.readline()
    run_main(flow)
    intake.done()


def quix(spec: dict[str, Any], folder: str) -> None:
    """A tumbling sum per sku in a state store with its changelog topic, committed at the end."""
    from quixstreams import Application

    intake = Intake()
    application = Application(
        broker_address=spec["servers"],
        consumer_group=f"{spec['prefix']}quix",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="ERROR",
    )
    topic = application.topic(spec["topic"], value_deserializer="bytes", key_deserializer="str")

    def count(taken: tuple[str, int]) -> int:
        sku, units = taken
        intake.units[sku] = intake.units.get(sku, 0) + units
        return units

    frame = application.dataframe(topic)

    def take(value: bytes) -> tuple[str, int] | None:
        taken = intake.take(value)
        if intake.read == spec["events"]:
            application.stop()
        return taken

    frame = frame.apply(take).filter(lambda taken: taken is not None).apply(count)
    frame.tumbling_window(timedelta(seconds=60)).sum().final()
    tell("ready")
    sys.stdin.readline()
    application.run()
    intake.done()


CANDIDATES: dict[str, Callable[[dict[str, Any], str], None]] = {"bytewax": bytewax, "quix": quix}
_OUT = os.dup(1)


def main() -> None:
    name, path = sys.argv[1:]
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    kafka = given["settings"]["kafka"]
    spec = {
        "servers": kafka["bootstrap_servers"],
        "prefix": kafka["topic_prefix"],
        "topic": given["topic"],
        "events": sum(given["ends"].values()),
    }
    with tempfile.TemporaryDirectory() as folder:
        CANDIDATES[name](spec, folder)


if __name__ == "__main__":
    main()
