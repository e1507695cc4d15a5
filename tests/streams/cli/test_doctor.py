from typing import Any

import pytest

from connectors.sap_b1 import doctor
from connectors.sap_b1.doctor import Diagnosis, Finding
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World

GOOD = Finding("claim_table", True, "all there")
BAD = Finding("claim_table", False, "missing: U_STREAMS_CLAIM", "run streams doctor --install")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every time B1 was examined: whether it was to install."""
    asked: list[bool] = []

    async def run(_service_layer: Any, _settings: Any, install: bool) -> Diagnosis:
        asked.append(install)
        return Diagnosis((GOOD if install else BAD,), "claim" if install else None)

    monkeypatch.setattr(doctor, "run", run)
    return asked


def test_a_finding_is_exit_1_with_its_remedy(streams: Streams, world: World, asked: list[bool]) -> None:
    ran = streams("doctor")
    assert ran.code == 1
    assert "streams doctor --install" in ran.out
    assert asked == [False]


def test_install_mends_and_is_exit_0(streams: Streams, world: World, asked: list[bool]) -> None:
    ran = streams("doctor", "--install", "--json")
    assert (ran.code, ran.data["ok"]) == (0, True)
    assert set(ran.data["findings"]) == {"kafka", "registry", "acme", "connectors.shop", "connectors.warehouse"}
    assert asked == [True]


def test_kafka_away_is_a_finding_and_b1_is_examined_all_the_same(
    streams: Streams, world: World, asked: list[bool]
) -> None:
    world.log.away = "could not connect"
    ran = streams("doctor", "--install", "--json")
    assert ran.code == 1
    assert [finding["ok"] for finding in ran.data["findings"]["kafka"]] == [False]
    assert asked == [True]


def test_what_could_not_be_asked_is_said_as_that(
    streams: Streams, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_service_layer: Any, _settings: Any, install: bool) -> Diagnosis:
        return Diagnosis((Finding("tier", None, "not proven", "again later"),), None)

    monkeypatch.setattr(doctor, "run", run)
    ran = streams("doctor")
    assert ran.code == 1
    assert "could not ask" in ran.out
    ran = streams("doctor", "--json")
    assert (ran.data["ok"], ran.data["findings"]["acme"][0]["ok"]) == (False, None)
