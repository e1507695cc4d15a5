"""The HTTP door of a connector process, on the real broker: `python -m tests.bench.door_process SPEC.json`.

Says `listening` with its URL, serves until it is told to stop, says `done` with its CPU.
"""

import asyncio
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from connectors.base.clock import SystemClock
from connectors.base.metrics import NoMetrics
from schemas.codec import embedded_codec
from streams.connect.group import ConnectorFactory
from streams.kafka.client import KafkaLog
from streams.worker.main import tune_garbage_collector
from tests.bench import world

_OUT = os.dup(1)


def tell(name: str, **fields: Any) -> None:
    os.write(_OUT, f"{name} {json.dumps(fields)}\n".encode())


async def serve(spec: dict[str, Any]) -> None:
    config = world.config(spec["settings"])
    log = KafkaLog(spec["servers"])
    await log.start()
    tune_garbage_collector()
    stage = ConnectorFactory(config, log, embedded_codec(), SystemClock(), NoMetrics())
    door = stage.door(lambda _connector: None)
    assert door is not None
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, told.set)
    async with door:
        tell("listening", url=door.url)
        await told.wait()
    await log.stop()
    used = resource.getrusage(resource.RUSAGE_SELF)
    tell("done", cpu_s=used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
