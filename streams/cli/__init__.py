"""The command `streams`: one file per command; `commands.py` registers them all (contract section 5).

Nothing heavy is imported here: `--help` answers at once, and a service that is asked to stop while it still imports
ends as if it had run.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from streams.cli import signals

SERVICES = ("up", "worker", "connect")


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0 done, 1 the answer is no, 2 wrong use or configuration."""
    code: int = importlib.import_module("streams.cli.commands").run(arguments)
    return code


def is_service(arguments: Sequence[str]) -> bool:
    """Whether this command runs until SIGTERM: also `connect` does, without a command of its own after it."""
    return bool(arguments) and arguments[0] in SERVICES and all(word.startswith("-") for word in arguments[1:2])


def only_explains(arguments: Sequence[str]) -> bool:
    """Whether nothing will run: help, the version, or a shell that completes a command line."""
    return not arguments or not {"--help", "--version"}.isdisjoint(arguments) or "_STREAMS_COMPLETE" in os.environ


def main() -> None:
    """The entry point of the `streams` script."""
    arguments = sys.argv[1:]
    service = is_service(arguments) and not only_explains(arguments)
    if service:
        signals.remember()
    if not only_explains(arguments):
        # A person reads stderr: errors arrive there in our words, not as a library's lines. Services turn their logs
        # on.
        importlib.import_module("streams.telemetry.logs").configure("CRITICAL")
    try:
        code = run(arguments)
    finally:
        if service:
            signals.ignore()
    sys.exit(code)
