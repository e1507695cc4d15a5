"""From dead letters to closed ones, as a person does it: real processes, Kafka and a simulated B1."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_readme_commands import (
    _ANNOUNCED,
    ORDER,
    STREAMS,
    environ,
    folder,
    is_ready,
    put,
    running,
    wait_for,
)

pytestmark = pytest.mark.kafka
__all__ = ["environ", "folder"]


def order(order_id: str, code: str) -> str:
    lines = [{**ORDER["lines"][0], "tax_code": code}]  # type: ignore[index]
    return json.dumps({**ORDER, "order_id": order_id, "lines": lines})


class Person:
    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.environ = folder, environ

    def runs(self, *words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [*STREAMS, *words, "--json"],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return json.loads(done.stdout)

    @contextmanager
    def up(self) -> Iterator[None]:
        with running([*STREAMS, "up"], self.folder, self.environ) as (process, log):
            url = wait_for("an address", lambda: re.search(_ANNOUNCED, log.read_text(encoding="utf-8")), log)[1]  # type: ignore[index]
            wait_for("a worker that is ready", lambda: is_ready(url), log, 120)
            yield
            process.terminate()
            assert process.wait(40) == 0, log.read_text(encoding="utf-8")[-3000:]

    def letters(self, *selection: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.runs("dlq", "list", *selection)
        return found


def test_a_mapping_is_fixed_and_what_was_dead_is_replayed_or_discarded(folder: Path, environ: dict[str, str]) -> None:
    person = Person(folder, environ)
    person.runs("topics", "apply")
    person.runs("doctor", "--install")
    with person.up():
        put(folder, "orders.jsonl", [order(str(number), "XX-9") for number in range(1, 6)])
        wait_for("five dead letters", lambda: len(person.letters("--state", "dead")) == 5)
        person.runs("dlq", "plan", "-o", "before.json")
        plan = json.loads((folder / "before.json").read_text(encoding="utf-8"))
        assert {letter["would"] for letter in plan["letters"]} == {"fail"}
        discarded = person.runs("dlq", "discard", "--order", "5", "--why", "keyed by hand", "--yes")
        assert discarded == {"discarded": 1, "already_there": 0, "failed": 0, "waiting": 0}
    text = (folder / "streams.toml").read_text(encoding="utf-8")
    (mapped,) = re.findall(r'^"GB-20" = .*$', text, re.M)
    (folder / "streams.toml").write_text(text.replace(mapped, mapped + "\n" + mapped.replace("GB-20", "XX-9")))
    with person.up():
        person.runs("dlq", "plan", "-o", "plan.json")
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        assert [letter["would"] for letter in plan["letters"]] == ["post"] * 4
        replayed = person.runs("dlq", "replay", "plan.json", "--yes")
        assert replayed == {"replayed": 4, "posted": 4, "already_there": 0, "failed": 0, "waiting": 0}
        again = person.runs("dlq", "replay", "plan.json", "--yes")
        assert again == {"replayed": 4, "posted": 0, "already_there": 4, "failed": 0, "waiting": 0}
        assert person.letters() == []
        assert [letter["order_id"] for letter in person.letters("--state", "discarded")] == ["5"]
        flow = person.runs("status")["flows"]["order_placed"]
        assert (flow["received"], flow["posted"], flow["no_op"], flow["dead"]) == (5, 4, 1, 0)
    records = person.runs("audit")
    assert [record["action"] for record in records] == ["dlq discard"] * 2 + ["dlq replay"] * 4
    assert person.runs("audit", "verify")["whole"] is True
