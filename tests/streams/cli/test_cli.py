from pathlib import Path

import pytest

from tests.streams.cli.conftest import Streams
from tests.streams.facts import World

COMMANDS = [
    "check",
    "doctor",
    "topics",
    "up",
    "worker",
    "connect",
    "company",
    "status",
    "order",
    "dlq",
    "audit",
    "demo",
]


def test_help_names_every_command(streams: Streams) -> None:
    ran = streams("--help")
    assert ran.code == 0
    assert all(name in ran.out for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "topics apply", "topics check", "dlq list", "dlq show"])
def test_every_command_explains_itself(streams: Streams, command: str) -> None:
    ran = streams(*command.split(), "--help")
    assert ran.code == 0
    assert "Usage: streams" in ran.out


@pytest.mark.parametrize("arguments", [["chek"], ["status", "--jsn"], ["order"], ["dlq", "list", "--reason", "none"]])
def test_wrong_use_is_exit_2_with_words(streams: Streams, arguments: list[str]) -> None:
    ran = streams(*arguments)
    assert ran.code == 2
    assert ran.err


@pytest.mark.parametrize("arguments", [["status"], ["topics", "check"], ["dlq", "list"], ["order", "1"], ["worker"]])
def test_a_faulty_configuration_is_exit_2_for_every_command(streams: Streams, arguments: list[str]) -> None:
    Path("streams.toml").write_text("[kafka]\nreplication_factor = 0\n[connectors.shop]\nkind = 'ims'\n")
    ran = streams(*arguments)
    assert ran.code == 2
    for path in ("kafka.replication_factor", "companies", "connectors.shop.company", "connectors.shop.inbox"):
        assert path in ran.err
    assert "problems" in ran.err


def test_a_missing_file_says_how_to_name_one(streams: Streams) -> None:
    ran = streams("status", "-c", "nowhere.toml")
    assert ran.code == 2
    assert "STREAMS_CONFIG" in ran.err


def test_the_file_may_be_named_by_the_environment(
    streams: Streams, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "streams.toml").rename(folder / "other.toml")
    monkeypatch.setenv("STREAMS_CONFIG", "other.toml")
    assert streams("check").code == 0


@pytest.mark.parametrize("arguments", [["status"], ["topics", "apply"], ["dlq", "list"], ["order", "1"]])
def test_a_broker_that_is_away_is_exit_1_with_the_next_step(
    streams: Streams, world: World, arguments: list[str]
) -> None:
    world.log.away = "could not connect"
    ran = streams(*arguments)
    assert ran.code == 1
    assert "could not connect" in ran.err
    assert "kafka.bootstrap_servers" in ran.err
    assert ran.out == ""
