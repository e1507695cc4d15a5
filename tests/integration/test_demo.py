"""`streams demo` as a user runs it, on a part of the week.

A worker is killed, replies get lost, and the books balance.
"""

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from lab.demo.processes import Child
from lab.feed.rows import COLUMNS, read_rows

pytestmark = pytest.mark.kafka
STREAMS = [sys.executable, "-c", "from streams.cli import main; main()"]


@pytest.fixture
def slice_file(tmp_path):
    """141 lines: orders, partial dispatches, refunds and many stock movements, one of them at an unmapped place."""
    rows = read_rows()
    lines = {row["InvoiceNo"]: 0 for row in rows}
    for row in rows:
        lines[row["InvoiceNo"]] += 1
    path = tmp_path / "slice.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows([row for row in rows if lines[row["InvoiceNo"]] <= 12][:400])
    return path


@pytest.fixture
def environ(kafka, tmp_path):
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka, "TMPDIR": str(tmp_path / "tmp"), "CI": "true"}


async def topics_of_demos(kafka):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        return [name for name in await admin.list_topics() if name.startswith("demo-")]
    finally:
        await admin.close()


def processes(told):
    """The pids of workers and connectors that the demo has named."""
    return [
        int(pid) for pid in re.findall(r"(?:worker-\d|connect) \((\d+)\)|process (\d+)", told) for pid in pid if pid
    ]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of nobody who waits for it
    return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2:3]


async def test_a_short_demo_ends_with_balanced_books(kafka, slice_file, environ, tmp_path):
    picture, kept = tmp_path / "demo.svg", tmp_path / "kept"
    command = [*STREAMS, "demo", "--data", str(slice_file), "--seconds", "10", "--json", "--keep", str(kept)]
    ran = await asyncio.to_thread(
        subprocess.run, [*command, "--picture", str(picture)], env=environ, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-3000:]
    told = json.loads(ran.stdout)
    assert (told["ok"], told["lost"], told["double"], told["discrepancies"]) == (True, 0, 0, [])
    assert sum(flow["received"] for flow in told["flows"].values()) == 141
    assert all(flow["unaccounted"] == 0 for flow in told["flows"].values())
    assert told["flows"]["order_placed"]["posted"] == 42
    assert told["letters"] == {"unmapped_location": 1, "unreadable": 2}
    assert told["units"]["files"] == told["units"]["b1"] != "0"
    assert told["faults"]["workers_killed"] == 1
    assert "SIGKILL to worker-" in ran.stderr
    assert set(told["exit_codes"].values()) == {0}
    assert len(told["exit_codes"]) == 3  # two workers, one of them the killed one's successor, and the connector
    assert told["sessions"]["left_open"] == 0
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert (kept / "ledger.jsonl").exists()
    assert not any(map(is_alive, processes(ran.stderr)))
    assert await topics_of_demos(kafka) == []


async def test_the_same_sales_at_four_vendors_end_with_balanced_books(kafka, slice_file, environ):
    command = [*STREAMS, "demo", "--vendors", "--data", str(slice_file), "--seconds", "10", "--json"]
    ran = await asyncio.to_thread(
        subprocess.run, command, env=environ, capture_output=True, text=True, check=False, timeout=280
    )
    assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-3000:]
    told = json.loads(ran.stdout)
    assert (told["ok"], told["lost"], told["double"], told["discrepancies"]) == (True, 0, 0, [])
    assert told["flows"]["order_placed"]["posted"] == 42
    assert told["flows"]["refund_issued"]["posted"] > 0
    assert told["letters"] == {"unmapped_location": 1, "unreadable": 2}
    assert told["units"]["files"] == told["units"]["b1"] != "0"
    assert told["faults"]["workers_killed"] == 1
    assert len(told["exit_codes"]) == 3
    assert "at Magento" in ran.stderr
    assert await topics_of_demos(kafka) == []


async def test_a_signal_ends_everything_that_it_has_started(kafka, slice_file, environ, tmp_path):
    command = [*STREAMS, "demo", "--data", str(slice_file), "--seconds", "60"]
    demo = await Child.start("demo", command, tmp_path, environ)
    try:
        await demo.wait_for_output(r"(running): worker-1", 90)
        os.kill(demo.pid, signal.SIGINT)
        assert await demo.wait(40) == 130
    finally:
        await demo.close()
    pids = processes(demo.log.read_text(encoding="utf-8"))
    assert len(pids) == 4  # B1, two workers, the connector
    assert not any(map(is_alive, pids))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert await topics_of_demos(kafka) == []
