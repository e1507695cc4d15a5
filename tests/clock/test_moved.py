import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.clock.__main__ import DAYS, environ

ROOT = Path(__file__).parents[2]
#: What a process that has loaded the suite's conftest says of its clock, and what a child of its says.
ASK = """
import subprocess, sys, time
import tests.conftest
child = "from datetime import UTC, datetime; print(datetime.now(UTC).isoformat(), time.localtime().tm_hour)"
child = "import time; " + child
exec(child, {})
sys.stdout.flush()
subprocess.run([sys.executable, "-c", child], check=True, cwd="/")
"""


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.name)
def test_a_run_on_another_day_moves_the_clock_of_every_process(day):
    given = {name: text for name, text in environ(day).items() if name != "TEST_CLOCK_OFFSET_S"}
    command = [sys.executable, "-c", ASK]
    told = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 2
    for line in told:
        instant, hour = line.split()
        late = datetime.fromisoformat(instant) - datetime.fromisoformat(day.begins)
        assert timedelta(0) <= late < timedelta(seconds=60)
        assert int(hour) == datetime.fromisoformat(instant).astimezone(_zone(day.zone)).hour


def _zone(name):
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


@pytest.mark.skipif("TEST_CLOCK" not in os.environ, reason="the clock of this run is the real one")
def test_this_run_is_on_the_day_that_it_was_given():
    began = datetime.fromisoformat(os.environ["TEST_CLOCK"])
    for now in (datetime.now(UTC), datetime.fromtimestamp(time.time(), UTC)):
        assert began <= now < began + timedelta(hours=2)
    assert date.today() in {began.astimezone().date(), (began + timedelta(hours=2)).astimezone().date()}  # noqa: DTZ011
