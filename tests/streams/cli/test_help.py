"""What a person asks for before anything runs: help, the version, completion. None of it may wait for heavy imports."""

import os
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from tests.streams.cli.conftest import Streams
from tests.streams.fakes import ROOT

#: Packages that only running commands need. Not pydantic: Typer itself reads the options of a command with it.
HEAVY = frozenset(
    {
        "aiokafka",
        "faust",
        "fastavro",
        "httpx",
        "lab",
        "prometheus_client",
        "starlette",
        "structlog",
        "uvicorn",
    }
)


def python(script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", **environ}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("status", "--help"),
        ("check", "--help"),
        ("doctor", "--help"),
        ("up", "--help"),
        ("worker", "--help"),
        ("order", "--help"),
        ("connect", "--help"),
        ("connect", "backfill", "--help"),
        ("connect", "try", "--help"),
        ("dlq", "list", "--help"),
        ("dlq", "show", "--help"),
        ("topics", "apply", "--help"),
        ("topics", "accept", "--help"),
        ("demo", "--help"),
    ],
)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys, atexit\n"
        "from streams import cli\n"
        f"heavy = {set(HEAVY)!r}\n"
        "atexit.register(lambda: print('HEAVY', *sorted(heavy & {name.partition('.')[0] for name in sys.modules})))\n"
        "cli.main()\n"
    )
    ran = python(script, *arguments)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "HEAVY"


def test_help_takes_a_few_times_what_python_itself_takes() -> None:
    """A ratio, so that a slow machine is no failure.

    About 8 on an idle machine (0.2 s), 34 before commands imported late.
    """

    def seconds(script: str) -> float:
        started = time.perf_counter()
        assert python(script, "--help").returncode == 0
        return time.perf_counter() - started

    bare = min(seconds("pass") for _ in range(5))
    assert min(seconds("from streams.cli import main; main()") for _ in range(5)) < 20 * bare


def test_the_version_is_the_distributions(streams: Streams) -> None:
    ran = streams("--version")
    assert (ran.code, ran.out) == (0, f"streams {version('b1-streams')}\n")


def test_a_shell_completes_commands_and_their_options() -> None:
    main = "from streams.cli import main; main()"
    asked = {"_STREAMS_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert python(main, COMP_WORDS="streams st", **asked).stdout.split() == ["status"]
    nested = {**asked, "COMP_CWORD": "2"}
    assert python(main, COMP_WORDS="streams dlq s", **nested).stdout.split() == ["show"]
    assert "--install-completion" in python(main, "--help").stdout
