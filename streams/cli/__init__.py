"""The command `streams`: one file per command; `commands.py` has them all (contract section 5).

Nothing heavy is imported here, so that a service that is asked to end while it still imports ends as if it had run.
"""

import importlib
import sys
from collections.abc import Sequence

from streams.cli import signals

_SERVICES = ("up", "worker", "connect")


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0 done, 1 the answer is no, 2 wrong use or configuration."""
    code: int = importlib.import_module("streams.cli.commands").run(arguments)
    return code


def serves(arguments: Sequence[str]) -> bool:
    """Whether this command runs until SIGTERM: also `connect` does, without a command of its own after it."""
    return bool(arguments) and arguments[0] in _SERVICES and all(word.startswith("-") for word in arguments[1:2])


def main() -> None:
    """The entry point of the `streams` script."""
    arguments = sys.argv[1:]
    if serves(arguments):
        signals.remember()
    # A person reads stderr: errors arrive there in our words, not as a library's lines. Services turn their logs on.
    importlib.import_module("streams.telemetry.logs").configure("CRITICAL")
    sys.exit(run(arguments))
