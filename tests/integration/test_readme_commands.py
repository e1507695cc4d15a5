"""The commands of the README's "Running it", in its order, as a user types them.

Real processes, Kafka and simulators.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from lab.demo.vendors.names import TILL, VENDORS

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
PYTHON = [sys.executable, "-m"]
STREAMS = [sys.executable, "-c", "from streams.cli import main; main()"]
SERVICES = ("up", "worker", "connect")
_ANNOUNCED = r"metrics and health on (\S+)"
DATED = "2026-11-20T09:30:00Z"
ORDER = {
    "type": "order_placed",
    "order_id": "1001",
    "occurred_at": DATED,
    "currency": "GBP",
    "prices_include_tax": False,
    "shipping_amount": "0",
    "customer": {"id": "c-1", "name": "A Customer", "country": "GB"},
    "lines": [{"line_id": "1", "sku": "22197", "quantity": "2", "unit_price": "1.50", "tax_code": "GB-20"}],
}


def commands() -> list[str]:
    """The lines of the block, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Running it\n.*?```sh\n(.*?)```", text, re.S)
    return [line.split("#")[0].strip() for line in block.splitlines()]


@contextmanager
def running(
    command: list[str], folder: Path, environ: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process with a log, ended in any case."""
    log = folder / f"{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(what: str, found: Callable[[], object], log: Path | None = None, within_s: float = 60) -> object:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8")[-3000:] if log else ""
    raise AssertionError(f"no {what} within {within_s} s\n{tail}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


@pytest.fixture
def environ(topic_prefix: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "STREAMS__KAFKA__TOPIC_PREFIX": topic_prefix,
        "STREAMS__METRICS__PORT": "0",
        "STREAMS__WEBHOOKS__PORT": str(free_ports(1)[0]),
    }


@pytest.fixture
def folder(kafka: str, environ: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """A folder with `streams.toml` and the simulators that it names, made as the compose profile `demo` makes them."""
    with prepared(kafka, environ, tmp_path, VENDORS):
        yield tmp_path


@contextmanager
def prepared(kafka: str, environ: dict[str, str], tmp_path: Path, vendors: Iterable[str]) -> Iterator[None]:
    """Configuration and running simulators of B1 and these vendors; none: a shop and a warehouse of files."""
    names = ("sap_b1", *vendors)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    (tmp_path / "password").write_text("secret\n", encoding="utf-8")
    prepare = [*PYTHON, "lab.demo", "prepare", str(tmp_path), f"--bootstrap-servers={kafka}"]
    prepare += [
        f"--service-layer-url=http://127.0.0.1:{ports['sap_b1']}/b1s/v2",
        f"--password-file={tmp_path}/password",
    ]
    prepare += [f"--vendor={name}=http://127.0.0.1:{ports[name]}" for name in vendors]
    subprocess.run(prepare, env=environ, cwd=tmp_path, check=True)
    with ExitStack() as stack:
        for name, port in ports.items():
            file = "simulator.json" if name == "sap_b1" else f"{name}.json"
            command = [*PYTHON, "lab.simulators", name, f"--port={port}", f"--config={file}"]
            _, log = stack.enter_context(running(command, tmp_path, environ))
            wait_for(f"{name} that listens", lambda log=log: "listening on" in log.read_text(encoding="utf-8"), log)
        yield


def test_the_commands_of_the_readme_work_in_their_order(folder: Path, environ: dict[str, str]) -> None:
    (folder / "sample.jsonl").write_text(json.dumps(ORDER) + "\n", encoding="utf-8")
    given = {"NAME FILE": f"{TILL} sample.jsonl", "backfill NAME": "backfill shopify"}

    def run(line: str) -> str:
        for word, value in given.items():
            line = line.replace(word, value)
        command = [*STREAMS, *shlex.split(line)[1:]]
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, f"{line}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    for line in commands():
        words = line.split()
        if words[1:] not in [[name] for name in SERVICES]:
            run(line)
            continue
        with running([*STREAMS, *words[1:]], folder, environ) as (process, log):
            url = wait_for(line, lambda log=log: re.search(_ANNOUNCED, log.read_text(encoding="utf-8")), log)[1]
            wait_for(f"{line} that is ready", lambda url=url: is_ready(url), log, 120)
            if words[1] == "up":
                put(folder, "orders.jsonl", [json.dumps(ORDER), "no JSON"])
                wait_for("the end of both lines", lambda: ended(json.loads(run("streams status --json"))), log, 120)
                (letter,) = json.loads(run("streams dlq list --json"))
                given |= {f"dlq {verb} ID": f"dlq {verb} {letter['id']}" for verb in ("show", "discard")}
                assert letter["reason"] == "unreadable"
            process.terminate()
            assert process.wait(40) == 0, log.read_text(encoding="utf-8")[-3000:]
    assert "posted" in run("streams order 1001")


def is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def put(folder: Path, name: str, lines: list[str]) -> None:
    inbox = folder / "in" / TILL
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{name}.part").write_text("\n".join([*lines, ""]), encoding="utf-8")
    (inbox / f"{name}.part").rename(inbox / name)


def ended(status: dict) -> bool:
    flows = status["flows"]
    return status["idle"] and flows["order_placed"]["posted"] == 1 and sum(flow["dead"] for flow in flows.values()) >= 1
