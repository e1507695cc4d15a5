"""A worker that tests start, command by its standard input, and watch by the lines it appends to a file.

Not a test: `python worker_process.py SETTINGS.json`. Each event is one line `name json`; a record is written as done
before it is finished, so that whoever reads the committed offsets first and this file second must find them all.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from streams.faust_host.app import FaustApp
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.consumer import Consumer
from streams.faust_host.settings import SETTINGS
from streams.faust_host.watermarks import Start

given = json.loads(Path(sys.argv[1]).read_text())
events = os.open(given["events"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def tell(name: str, **fields: Any) -> None:
    os.write(events, f"{name} {json.dumps(fields)}\n".encode())


class Worker(FaustApp):
    drain_timeout = given.get("drain_timeout", 5.0)
    stop_timeout = given.get("stop_timeout", 10.0)
    max_open = given.get("max_open", 20_000)
    max_open_bytes = given.get("max_open_bytes", 256 * 1024 * 1024)
    stall_timeout = given.get("stall_timeout", 300.0)
    watch_interval = 0.2

    async def positions(self, tps: set[TP]) -> Mapping[TP, Start]:
        starts = {TP(topic, partition): (at, counts) for topic, partition, at, counts in given.get("starts", [])}
        return {
            tp: Start(at, None if counts is None else {("flow", end): n for end, n in counts.items()})
            for tp, (at, counts) in starts.items()
            if tp in tps
        }

    async def on_assigned(self, tps: set[TP]) -> None:
        generation = self.consumer_generation_id
        marks = {f"{tp.topic}/{tp.partition}": at.offset for tp in tps if (at := self.watermark(tp))}
        tell("assigned", generation=generation, tps=sorted(tps), marks=marks)
        if generation == given.get("slow_generation"):
            await asyncio.sleep(60)
        tell("ready", generation=generation)

    async def before_release(self, tps: set[TP]) -> None:
        tell("releasing", tps=sorted(tps))
        while work:
            await asyncio.wait(set(work))
        tell("released")


app = Worker(
    given["group"],
    broker=f"kafka://{given['bootstrap_servers']}",
    **{
        **SETTINGS,
        "broker_session_timeout": 6.0,
        "broker_heartbeat_interval": 0.5,
        "broker_commit_interval": 0.3,
        **given.get("settings", {}),
    },
)
work: set["asyncio.Task[None]"] = set()
may_finish = asyncio.Event()
if given["mode"] != "hold":
    may_finish.set()


async def handle(batch: FetchedBatch) -> None:
    records = list(batch.open())
    if not records:
        return
    tell("taken", tp=batch.tp, offsets=[record.offset for record in records], lag=sum(app.lag().values()))
    if given["mode"] == "hold":  # the first few are finished, the rest when told
        for record in records[: given.get("finish_first", 0)]:
            finish(batch, record.offset)
        await may_finish.wait()
        records = records[given.get("finish_first", 0) :]
    if given["mode"] == "shuffle":  # any order, with pauses in which a commit finds gaps
        random.shuffle(records)
        pieces = [records[n : n + 3] for n in range(0, min(len(records), 30), 3)] + [records[30:]]
    else:
        pieces = [records]
    for piece in pieces:
        await asyncio.sleep(random.choice([0, 0, 0.02, 0.3]) if given["mode"] == "shuffle" else 0)
        for record in piece:
            finish(batch, record.offset)


def finish(batch: FetchedBatch, offset: int) -> None:
    tell("done", tp=batch.tp, offset=offset)
    batch.finish(offset, {("flow", "posted"): 1})


@app.agent(app.topic(*given["topics"], value_serializer="raw", key_serializer="raw"))
async def agent(stream: faust.Stream[Any]) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, obey)
    async for batch in stream.noack():
        if given["mode"] == "raise":
            for record in batch.open()[:3]:
                finish(batch, record.offset)
            raise RuntimeError("an agent's own fault")
        task = asyncio.create_task(handle(batch))
        work.add(task)
        task.add_done_callback(work.discard)


def obey() -> None:
    for line in os.read(sys.stdin.fileno(), 4096).decode().splitlines():
        match line.split():
            case ["finish"]:
                may_finish.set()
            case ["pause", topic, partition]:
                app.pause(TP(topic, int(partition)))
            case ["resume", topic, partition]:
                app.resume(TP(topic, int(partition)))
            case ["lag"]:
                lags = sorted(app.lag().items())
                tell("lag", lags=[[tp.partition, lag] for tp, lag in lags], rebalances=app.rebalances)
            case ["rewind", topic, partition, offset]:
                commands.add(asyncio.create_task(app.rewind(TP(topic, int(partition)), Start(int(offset), {}))))
        tell("obeyed", line=line)


commands: set["asyncio.Task[bool]"] = set()

if given["mode"] == "stuck":

    async def fetch_nothing(*_arguments: Any) -> dict[TP, Any]:
        await asyncio.sleep(0.1)
        return {}

    Consumer._getmany = fetch_nothing  # type: ignore[method-assign]  # a broken aiokafka

if __name__ == "__main__":
    faust.Worker(app, loglevel=given.get("loglevel", "WARNING"), redirect_stdouts=False).execute_from_commandline()
