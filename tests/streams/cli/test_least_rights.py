"""A command needs the secrets that it uses, and no right to write where it only reads."""

from pathlib import Path

import pytest

from connectors.base.log import Outgoing
from streams.kafka.client import KafkaLog
from streams.kafka.connection import Connection
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World

READERS = (
    "status",
    "order 1001",
    "dlq list",
    "dlq group",
    "audit",
    "audit verify",
    "topics check",
    "dlq retry-now --reason item_locked",
)


@pytest.fixture
def _vendors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of secret there is, and none of them set."""
    with (folder / "streams.toml").open("a") as file:
        file.write(
            """
[connectors.veeqo]
kind = "veeqo"
company = "acme"
api_key = "env:VEEQO_KEY"
reads = ["orders"]
[connectors.seko]
kind = "seko"
company = "acme"
push_auth = "basic"
push_secrets = ["env:SEKO_PUSH"]
[notices.targets.on-call]
webhook = "env:ON_CALL_HOOK"
"""
        )
    monkeypatch.delenv("ACME_B1_PASSWORD")


@pytest.mark.usefixtures("_vendors")
@pytest.mark.parametrize("command", READERS)
def test_who_only_looks_into_kafka_needs_nobodys_secret(streams: Streams, world: World, command: str) -> None:
    ran = streams(*command.split())
    assert ran.code != 2, ran.err
    assert "not set" not in ran.err


@pytest.mark.usefixtures("_vendors")
@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("check", {"ACME_B1_PASSWORD", "VEEQO_KEY", "SEKO_PUSH", "ON_CALL_HOOK"}),
        ("doctor", {"ACME_B1_PASSWORD", "VEEQO_KEY", "SEKO_PUSH", "ON_CALL_HOOK"}),
        ("up", {"ACME_B1_PASSWORD", "VEEQO_KEY", "SEKO_PUSH", "ON_CALL_HOOK"}),
        ("worker", {"ACME_B1_PASSWORD", "ON_CALL_HOOK"}),
        ("connect", {"VEEQO_KEY", "SEKO_PUSH"}),
        ("connect backfill veeqo --from 2026-10-01 --to 2026-11-01", {"VEEQO_KEY"}),
        ("dlq plan --reason erp_refused", {"ACME_B1_PASSWORD"}),
    ],
)
def test_what_is_used_is_missed_before_anything_starts(streams: Streams, command: str, needed: set[str]) -> None:
    ran = streams(*command.split())
    assert ran.code == 2
    names = ("ACME_B1_PASSWORD", "VEEQO_KEY", "SEKO_PUSH", "ON_CALL_HOOK")
    assert {name for name in names if name in ran.out + ran.err} == needed


async def test_a_producer_is_opened_when_something_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Client:
        async def start(self) -> None:
            return None

        close = stop = flush = start

    def opens(kind: str) -> object:
        async def open_client(_self: Connection, *_arguments: object) -> object:
            opened.append(kind)
            if kind == "producer":
                raise TimeoutError
            return Client()

        return open_client

    for kind in ("producer", "consumer", "admin"):
        monkeypatch.setattr(Connection, kind, opens(kind))
    log = KafkaLog("127.0.0.1:9")
    await log.start()
    assert "producer" not in opened
    with pytest.raises(TimeoutError):
        await log.send_many([Outgoing(topic="t", key=None, value=b"x")])
    assert "producer" in opened
    await log.stop()
