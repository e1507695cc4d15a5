"""`python -m tests.bench [--quick] [--check] [--only NAME] [--json FILE]`: every benchmark, one table, one verdict.

A ratio that misses its bar is tried again, at most three times in all; missed twice, it is missed and the exit code is
1. With `--check` the table is left out and only what was missed is said.
"""

import argparse
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from tests.bench import door, ingest, memory, posting, publishing, scaling, takeover
from tests.bench.harness import Outcome, Verdict, judge
from tests.bench.table import print_verdicts, summary
from tests.bench.world import ROOT, World, open_world

BENCHMARKS: dict[str, tuple[Callable[[World], Outcome], bool]] = {  # with whether it needs the broker
    "ingest": (ingest.run, True),
    "scaling": (scaling.run, True),
    "posting": (posting.run, False),
    "publishing": (publishing.run, True),
    "door": (door.run, True),
    "memory": (memory.run, False),
    "takeover": (takeover.run, True),
}
LIBRARIES = ("aiokafka", "faust-streaming", "fastavro", "httpx", "cramjam")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Benchmarks beside their rivals.")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, ratios 2x looser, no absolute bars, CPU only; for CI"
    )
    parser.add_argument("--check", action="store_true", help="say only what missed its bar")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this benchmark; may be repeated")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "bench.json", help="where the figures go (default: bench.json)"
    )
    options = parser.parse_args(arguments)
    _quiet()
    # Never as wide as to be cut where it is piped: a row is a line.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    words = Console(stderr=True, highlight=False)
    started = time.monotonic()
    names = options.only or list(BENCHMARKS)

    def progress(text: str) -> None:
        words.print(f"[dim]{time.monotonic() - started:6.1f} s  {text}[/dim]")

    verdicts: list[Verdict] = []
    with open_world(
        quick=options.quick, needs_broker=any(BENCHMARKS[name][1] for name in names), progress=progress
    ) as place:
        for name in names:
            benchmark = BENCHMARKS[name][0]
            verdicts.append(judge(name, lambda: benchmark(place), quick=options.quick))  # noqa: B023 -- called at once
    seconds = time.monotonic() - started
    told = {"machine": machine(), "quick": options.quick, "seconds": round(seconds, 1)}
    told["benchmarks"] = [verdict.as_json() for verdict in verdicts]
    options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if not options.check:
        print_verdicts(console, verdicts, machine())
    console.print(summary(verdicts, seconds))
    return 1 if any(verdict.missed() for verdict in verdicts) else 0


def machine() -> dict[str, Any]:
    """What the figures were measured on: they mean nothing elsewhere, the ratios may."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _quiet() -> None:
    """Figures, not the words of what is measured: those are in the children's logs and shown when one fails."""
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger().setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


if __name__ == "__main__":
    sys.exit(main())
