"""The demo without a broker: what it shows, what it makes of the end, and that it leaves nothing behind."""

import asyncio
import io
import json
import os
import socket
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from lab.demo import demo as demo_module
from lab.demo import run
from lab.demo.disturbances import hot_items
from lab.demo.ledger import read_terms
from lab.demo.processes import Child, ProcessError, ask_json, bounded
from lab.demo.result import DemoResult
from lab.demo.screen import ProgressScreen, ScreenMessage, Snapshot, draw, line, render
from lab.demo.system import in_thread
from lab.feed.build import build_feed
from lab.feed.configuration import streams_toml
from lab.feed.rows import read_rows
from lab.kafka.broker import Kafka
from lab.kafka.errors import KafkaSetupError
from lab.proof.verdict import Discrepancy, FlowEnds, Proof
from streams.cli import shell
from streams.query.status import FlowStatus, Status

FLOWS = {
    name: FlowStatus(posted=n, no_op=1, parked=2, dead=0, in_flight=9, oldest_unposted_s=1.5)
    for n, name in enumerate(
        ("order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued", "stock_adjusted")
    )
}
NOW = Snapshot(
    elapsed_s=83,
    phase="selling",
    written=700,
    lines=1252,
    flows={**FLOWS, "inbox": FlowStatus(0, 0, 0, 2, 0, 0)},
    rates={"order_placed": (3.25, 2)},
    reasons={"unmapped_location": 3, "unreadable": 1},
    windows=12,
    lanes=31,
    queued=4,
    documents=1234,
    documents_per_s=21,
    calls=3000,
    waits_people=7,
    replies_lost=17,
    locked=("85123A", "22423"),
    locks=9,
    killed=1,
)
PROOF = Proof(
    flows={"order_placed": FlowEnds(3, 2, 1, 0, 0)},
    reasons={"unreadable": 1},
    discrepancies=(),
    units_expected=Decimal(7),
    units_posted=Decimal(7),
    ordered=Decimal("1.20"),
    invoiced=Decimal("1.20"),
    credited=Decimal(0),
    stock_events=9,
    stock_documents=2,
    calls=20,
    document_sets=11,
    previews=3,
    refused=1,
    documents=4,
    naive_writes=13,
)


def text_of(*parts, width=100):
    console = Console(file=io.StringIO(), width=width)
    for part in parts:
        console.print(part)
    return console.file.getvalue()


def result(proof=PROOF, codes=None, sessions=(0, 2)):
    return DemoResult(proof, NOW, codes or {"worker-1": 0, "connect": 0}, *sessions, {"start": 9.04, "all": 80.0})


# ---- the screen


def test_the_screen_fits_into_a_terminal_of_80_by_24():
    messages = [ScreenMessage(n, f"thing {n}") for n in range(30)]
    rows = text_of(render(NOW, messages), width=80).splitlines()
    assert len(rows) <= 24
    assert max(map(len, rows)) <= 80


def test_the_screen_has_what_a_visitor_wants_to_see():
    shown = text_of(render(NOW, [ScreenMessage(62, "SIGKILL to worker-1", is_fault=True)]))
    for part in (
        "1:23",
        "700 of 1,252 lines",
        "dispatch_confirmed",
        "3.2",
        "12 sealed",
        "31 at work, 4 with a queue",
        "1,234 documents (21/s), 3,000 calls",
        "7 for people, 0 for ourselves",
        "unmapped_location 3, unreadable 1",
        "replies lost 17",
        "85123A, 22423",
        "workers killed 1",
        "1:02",
        "SIGKILL to worker-1",
    ):
        assert part in shown


def test_a_flow_without_events_is_not_on_the_screen():
    quiet = replace(NOW, flows={**FLOWS, "order_cancelled": FlowStatus(0, 0, 0, 0, 0, 0.0)})
    assert "order_cancelled" not in text_of(render(quiet))


def test_a_line_for_a_log_says_the_same():
    said = line(NOW)
    assert "\n" not in said
    for part in ("1:23", "received 72", "in flight 45", "dead 2", "windows 12", "1,234 documents", "replies lost 17"):
        assert part in said


def test_a_picture_fetches_nothing_and_is_small():
    drawn = draw(render(NOW), result().rendered)
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "@font-face" not in drawn
    assert "url(http" not in drawn
    assert len(drawn) < 100_000


@pytest.mark.parametrize(("terminal", "ci", "is_live"), [(True, "", True), (True, "true", False), (False, "", False)])
def test_only_a_terminal_outside_ci_gets_the_live_screen(monkeypatch, terminal, ci, is_live):
    monkeypatch.setenv("CI", ci)
    out = io.StringIO()
    with ProgressScreen(Console(file=out, force_terminal=terminal, width=100)) as screen:
        screen.update(NOW)
        screen.message("worker-3 is started")
        screen.update(replace(NOW, elapsed_s=84))
    assert ("\x1b[" in out.getvalue()) == is_live
    if not is_live:
        first, second = out.getvalue().splitlines()  # the second update comes too soon for another line
        assert "selling" in first
        assert second.endswith("worker-3 is started")


# ---- the end


def test_all_is_well_when_the_books_balance_and_everybody_left_in_order():
    good = result()
    assert good.ok
    shown = text_of(good.rendered)
    assert "PROVED" in shown
    assert "all with exit code 0" in shown
    assert "2 of the killed worker" in shown


@pytest.mark.parametrize(
    "bad",
    [
        result(replace(PROOF, discrepancies=(Discrepancy("lost", "order 1", "1 document", "none"),))),
        result(codes={"worker-1": 0, "connect": -9}),
        result(sessions=(1, 0)),
    ],
)
def test_a_loss_a_bad_exit_or_a_forgotten_session_is_no_success(bad):
    assert not bad.ok
    assert bad.as_json()["ok"] is False


def test_the_json_has_every_figure():
    told = json.loads(json.dumps(result().as_json()))
    assert (told["ok"], told["lost"], told["double"], told["discrepancies"]) == (True, 0, 0, [])
    assert told["flows"]["order_placed"] == {
        "received": 3,
        "posted": 2,
        "no_op": 1,
        "parked": 0,
        "dead": 0,
        "unaccounted": 0,
    }
    assert told["units"] == {"files": "7", "b1": "7"}
    assert (told["erp"]["document_sets"], told["erp"]["calls_one_per_document"]) == (11, 13)
    assert (told["erp"]["previews"], told["erp"]["refused"]) == (3, 1)
    assert told["faults"] == {"replies_lost": 17, "locks": 9, "workers_killed": 1}
    assert told["seconds"] == {"start": 9.0, "all": 80.0}


# ---- its parts


@pytest.fixture(scope="module")
def made():
    return build_feed(read_rows()[:1500], date(2026, 11, 20))


def test_the_hottest_items_are_those_on_most_lines_by_their_code_in_b1(made):
    hot = hot_items(made)
    assert len(set(hot)) == len(hot) == 20
    assert set(hot) <= {item["ItemCode"] for item in made.master["Items"]}


def test_the_terms_of_the_proof_are_those_of_the_configuration(made, tmp_path):
    text = streams_toml(made, bootstrap_servers="127.0.0.1:1", service_layer_url="http://127.0.0.1:1/b1s/v2")
    (tmp_path / "streams.toml").write_text(text, encoding="utf-8")
    terms = read_terms(tmp_path / "streams.toml")
    assert terms.places == {"MAIN": "LON1", "DOTCOM": "WEB1"}
    assert terms.accounts == {"damaged": "5100", "lost": "5100", "found": "4900", "count": "4900"}
    assert (terms.default_places, terms.timezone, terms.items) == ({"shop": "LON1"}, "Europe/London", made.items)


def test_a_folder_to_keep_must_be_a_new_one(tmp_path):
    with run._folder(tmp_path / "new") as folder:
        (folder / "file").write_text("kept", encoding="utf-8")
    assert (tmp_path / "new" / "file").exists()
    with pytest.raises(shell.CommandError, match="not empty") as caught, run._folder(tmp_path / "new"):
        pass
    assert caught.value.code == 2


async def start(tmp_path, program):
    return await Child.start("it", [sys.executable, "-c", program], tmp_path)


async def test_a_process_says_something_and_stops_when_asked(tmp_path):
    child = await start(tmp_path, "import time; print('port 17', flush=True); time.sleep(60)")
    assert await child.wait_for_output(r"port (\d+)", 20) == "17"
    assert child.ended is None
    child.ask_to_stop()
    assert await child.wait(20) == -15
    child.check()  # it was asked


async def test_a_process_that_ends_by_itself_is_told_with_its_last_words(tmp_path):
    child = await start(tmp_path, "raise SystemExit('the port is taken')")
    with pytest.raises(ProcessError, match=r"exit code 1:\nthe port is taken"):
        await child.wait_for_output("never", 20)
    await child.close()


async def test_a_process_that_is_deaf_is_killed(tmp_path):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf 1', flush=True); time.sleep(60)"
    child = await start(tmp_path, deaf)
    await child.wait_for_output(r"deaf (\d)", 20)
    child.ask_to_stop()
    assert await child.wait(0.2) == -9


async def test_a_wait_has_an_end_and_says_what_it_was_for():
    with pytest.raises(ProcessError, match=r"gave up after 0 s of waiting for a sign"):
        async with bounded("a sign", 0.01):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError, match="its own"):
        async with bounded("a sign", 60):
            raise TimeoutError("its own")


async def test_a_process_that_answers_wrongly_or_not_at_all_is_named():
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ProcessError, match=r"the shop answers GET /x with 400: no!"):
            await ask_json("the shop", url, "GET", "/x")
    with pytest.raises(ProcessError, match=r"the shop does not answer"):
        await ask_json("the shop", url, "GET", "/x")


class Slow:
    """An input that is let in as it is asked to; `most` is what was on its way at most."""

    def __init__(self, lines):
        self.lines = self.left = lines
        self.most = 0

    def moments(self, steps):
        return list(range(steps))

    async def write(self, _upto):
        self.left -= min(self.left, demo_module.STEP_LINES)


async def test_the_sales_come_in_no_faster_than_the_pipeline_takes_them(made, monkeypatch):
    source = Slow(4_000)
    demo = demo_module.Demo(ProgressScreen(Console(file=io.StringIO()), live=False), made, source, Path(), None, 0.001)
    ended = 0

    async def look(_seconds):
        nonlocal ended
        written = source.lines - source.left
        source.most = max(source.most, written - ended)
        ended += (written - ended) // 2
        flow = FlowStatus(posted=ended, no_op=0, parked=0, dead=0, in_flight=written - ended, oldest_unposted_s=0)
        demo._watcher.now = Snapshot(written=written, flows={"order_placed": flow})

    monkeypatch.setattr(demo_module.asyncio, "sleep", look)
    await demo._write()
    assert source.left == 0
    assert source.most <= demo_module.MAX_EVENTS_UNDER_WAY + demo_module.STEP_LINES


def test_what_is_tried_again_and_again_does_not_count_as_moving():
    parked, under_way = FlowStatus(1, 0, 2, 0, 0, 0), FlowStatus(1, 0, 1, 0, 1, 3.0)
    status = {name: Status(False, {"order_placed": flow}) for name, flow in (("a", parked), ("b", under_way))}
    assert demo_module._counts(status["a"]) == demo_module._counts(status["b"])
    assert demo_module._counts(Status(True, {"order_placed": FlowStatus(2, 0, 1, 0, 0, 0)})) != demo_module._counts(
        status["a"]
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_when_it_cannot_start_it_says_why_and_leaves_nothing_behind(monkeypatch, tmp_path, capfd):
    started, folders = [], []
    start_child = Child.start

    async def spy(name, command, folder, environ=None):
        child = await start_child(name, command, folder, environ)
        started.append(child.pid)
        folders.append(folder)
        return child

    def fail(self, *, timeout_s=60):
        raise KafkaSetupError("java is not on the PATH. Install it")

    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr(Child, "start", spy)
    monkeypatch.setattr(Kafka, "start", fail)
    with pytest.raises(shell.CommandError, match="java is not on the PATH"):
        run.run(as_json=True)
    assert len(started) == 1  # the simulator
    assert not any(map(is_alive, started))
    assert not any(map(Path.exists, folders))
    assert capfd.readouterr().out == ""  # nothing that could be taken for the result


def test_a_cluster_that_nobody_can_reach_ends_it_before_anything_is_started(monkeypatch):
    async def start(*_arguments):
        raise AssertionError("a process was started")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setattr(Child, "start", start)
    with pytest.raises(shell.CommandError, match=rf"no Kafka answers at KAFKA_BOOTSTRAP_SERVERS=127\.0\.0\.1:{port}"):
        run.run(as_json=True)


def test_data_of_another_kind_is_refused_in_words(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(shell.CommandError, match=r"no column InvoiceNo") as caught:
        run.run(data=other, as_json=True)
    assert caught.value.code == 2


async def test_blocking_work_is_not_left_half_done():
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    def work():
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result()
        loop.call_soon_threadsafe(done.set)

    task = asyncio.create_task(in_thread(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
