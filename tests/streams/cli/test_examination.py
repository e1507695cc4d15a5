"""`streams doctor`: every part is looked at, and what an install makes is made before it is looked for."""

from dataclasses import replace
from typing import Any

import pytest

from connectors import registry
from connectors.base.doctor import Finding
from connectors.base.errors import RetriableError
from connectors.sap_b1.doctor import Diagnosis
from streams.cli import examination
from streams.config.load import parse
from tests.streams.config.test_load import changed
from tests.streams.fakes import ENVIRON, ROOT


@pytest.mark.parametrize(("install", "away"), [(False, False), (True, False), (True, True)])
async def test_an_install_comes_before_the_look_and_one_that_fails_hides_no_finding(
    monkeypatch: pytest.MonkeyPatch, install: bool, away: bool
) -> None:
    done: list[str] = []

    async def make(_settings: Any, _clock: Any) -> None:
        done.append("made")
        if away:
            raise RetriableError("B1 is away")

    async def look(name: str, *_: Any) -> list[Finding]:
        done.append(f"looked at {name}")
        return [Finding("items", True, "may be read")]

    async def diagnose(*_: Any) -> Diagnosis:
        return Diagnosis((), "claim")

    async def no_kafka(_config: Any) -> list[Finding]:
        return []

    monkeypatch.setitem(registry.KINDS, "sap_b1", replace(registry.KINDS["sap_b1"], install=make, doctor=look))  # type: ignore[arg-type]  # a dictionary
    monkeypatch.setattr(examination.doctor, "run", diagnose)
    monkeypatch.setattr(examination, "_examine_kafka", no_kafka)
    table = {"kind": "sap_b1", "company": "acme"}
    data = changed((("connectors", "b1"), table), (("connectors", "shop", "enabled"), False))
    data["connectors"]["warehouse"]["enabled"] = False
    found = await examination.examine(parse(data, ROOT, ENVIRON), install=install)
    assert done == [*(["made"] if install else []), "looked at b1"]
    assert found["connectors.b1"][0].ok
