"""docs/kafka-acls.md says what each command needs: no command uses more."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import FACTS, READINGS, TOPICS
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World
from tests.streams.fakes import MemoryLog

ROOT = Path(__file__).parents[3]
NAMES = {topic.name for topic in TOPICS}
GROUPS = {
    "facts": set(FACTS),
    "letters": {name for name in NAMES if name.endswith("-dead-letter")},
    "readings": set(READINGS),
}
DESCRIBES = frozenset({"bounds", "offset_for_time"})


def table() -> dict[str, tuple[set[str], set[str], str]]:
    """By command: topics read, topics written, and the rest in words."""
    text = (ROOT / "docs/kafka-acls.md").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            who, reads, writes, rest = (cell.strip() for cell in line.strip("|").split("|"))
            for command in re.findall(r"`([^`]+)`", who):
                found[command] = _topics(reads), _topics(writes), rest
    return found


def _topics(cell: str) -> set[str]:
    names = {name.strip() for name in cell.split(",") if name.strip() and not name.strip().startswith("as ")}
    return {topic for name in names for topic in GROUPS.get(name, {name})}


def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What is asked of the broker from now on, by what is done: topics, or nothing where it is of no topic."""
    used: defaultdict[str, set[str]] = defaultdict(set)

    def watch(name: str) -> None:
        original = getattr(MemoryLog, name)

        def asked(log: MemoryLog, *arguments: Any, **named: Any) -> Any:
            first = arguments[0] if arguments else ""
            topics = [record.topic for record in first] if name == "send_many" else [first]
            used[name] |= {topic if topic in NAMES else "" for topic in topics if isinstance(topic, str)} or {""}
            return original(log, *arguments, **named)

        monkeypatch.setattr(MemoryLog, name, asked)

    for name in (*DESCRIBES, "read", "send_many", "committed", "describe", "create_topics", "configure"):
        watch(name)
    return used


def test_every_name_in_the_table_is_a_topic() -> None:
    for command, (reads, writes, _) in table().items():
        assert reads | writes <= NAMES, command


@pytest.mark.parametrize(
    "line",
    [
        *(
            "status",
            "order 1001",
            "dlq list",
            "dlq group",
            "dlq show x",
            "shadow report",
            "audit",
            "audit verify",
            "topics check",
        ),
        *("topics apply", "topics accept order-placed/0 --why x", "check --live", "connect retire old"),
        *("company retire gone", "dlq discard x --why y --yes", "dlq release x", "dlq retry-now x", "dlq plan x"),
    ],
)
def test_a_command_uses_no_more_than_the_table_says(
    streams: Streams, world: World, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    rows, used = table(), watched(monkeypatch)
    reads, writes, rest = rows[next(name for name in rows if line == name or line.startswith(f"{name} "))]
    streams(*line.split())
    assert used["read"] | used["bounds"] | used["offset_for_time"] <= reads
    assert used["send_many"] <= writes
    assert not used.get("committed") or "group `b1-streams`" in rest
    assert not used.get("describe") or "DESCRIBE_CONFIGS" in rest
    assert not used.get("create_topics") or "CREATE" in rest
