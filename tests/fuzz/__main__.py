"""`python -m tests.fuzz --inputs N --seed S`: inputs that nobody would send, and what they must not do to us.

--only NAME      one target
--replay S/N     one input again, with its traceback
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import structlog

from tests.fuzz import door, parsers, wire
from tests.fuzz.harness import Outlet, Report, replay, run

#: Conversations with a real server are slow: they wait.
INPUTS_PER_SPEECH = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Fuzz of the webhook door and the parsers."
    )
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one target: a connector's name, door, or wire")
    parser.add_argument("--replay", metavar="SEED/NUMBER", help="one input again")
    given = parser.parse_args(arguments)
    outlet = Outlet()
    every = [*parsers.targets(outlet), (door.Requests("door", outlet), 4.0)]
    targets = [each for each in every if given.only in (None, each[0].name)]
    if given.replay:
        asyncio.run(replay(targets, outlet, given.replay))
        return 0
    report = Report()
    if targets:
        report = asyncio.run(run(targets, outlet, given.inputs, given.seed, lambda each: say(each, outlet)))
        say(report, outlet)
    for finding in sorted(report.findings.values(), key=lambda each: -each.count):
        sys.stdout.write(
            f"FOUND {finding.count} x {finding.target}: {finding.what} (--replay {finding.example})\n      "
            f"{finding.shown}\n"
        )
    faults: list[str] = []
    if given.only in (None, "wire"):
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        outcome = asyncio.run(wire.speak(max(1, given.inputs // INPUTS_PER_SPEECH), given.seed, door.signers()))
        faults = outcome.findings
        sys.stdout.write(
            f"{outcome.speeches} conversations with a server: {outcome.statuses}; {len(faults)} findings\n"
        )
        sys.stdout.writelines(f"FOUND on the wire: {each}\n" for each in faults)
    return 1 if report.findings or faults else 0


def say(report: Report, outlet: Outlet) -> None:
    shares = ", ".join(
        f"{name} {count} (slowest {report.slowest[name] * 1000:.1f} ms by the clock)"
        for name, count in sorted(report.by_target.items())
    )
    sys.stdout.write(
        f"{report.inputs} inputs in {report.seconds:.0f} s: {shares}; {outlet.sink.events} events, "
        f"{outlet.sink.letters} letters; "
        f"{report.repeated} timed again; {len(report.findings)} findings\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
