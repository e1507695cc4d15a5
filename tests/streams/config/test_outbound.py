"""Who reads B1 and who is told of it have to fit."""

from typing import Any

import pytest

from connectors.sap_b1.reading.settings import SapB1Settings
from streams.config.load import ConfigError, parse
from tests.streams.config.test_load import SHOP, WAREHOUSE, changed
from tests.streams.fakes import ENVIRON, ROOT

B1: tuple[tuple[str, ...], Any] = (
    ("connectors", "b1"),
    {"kind": "sap_b1", "company": "acme", "price_lists": [1, 4]},
)
OUT = {"outbox": "out/x"}


def problems_of(*changes: tuple[tuple[str, ...], Any]) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(changed(*changes), ROOT, ENVIRON)
    return {problem.path: (problem.message, problem.remedy) for problem in caught.value.problems}


def test_a_reader_of_b1_knows_its_companys_settings() -> None:
    config = parse(changed(B1), ROOT, ENVIRON)
    reader = config.connectors["b1"]
    assert isinstance(reader, SapB1Settings)
    assert reader.b1.service_layer_url == config.companies["acme"].service_layer_url
    assert (reader.poll_interval_s, reader.sweep_interval_s, reader.release.status) == (30, 300, "open")


@pytest.mark.parametrize(("secrets", "has"), [(("connectors",), True), (("connectors.b1",), True), ((), False)])
def test_its_companys_password_is_needed_where_its_own_secrets_are(secrets: tuple[str, ...], has: bool) -> None:
    config = parse(changed(B1), ROOT, ENVIRON, secrets)
    assert config.companies["acme"].password.is_resolved is has
    without = parse(changed(), ROOT, ENVIRON, secrets)
    assert not without.companies["acme"].password.is_resolved


def test_a_company_is_read_by_one_connector() -> None:
    problems = problems_of(B1, (("connectors", "b2"), {"kind": "sap_b1", "company": "acme"}))
    assert problems == {
        "connectors.b2.company": ("is read by b1 already", "keep one connector of kind sap_b1 a company")
    }


def test_its_company_must_be_there() -> None:
    problems = problems_of((B1[0], {**B1[1], "company": "acne"}))
    assert "did you mean acme?" in problems["connectors.b1.company"][1]


def test_it_receives_nothing_itself() -> None:
    problems = problems_of((B1[0], {**B1[1], "out": {"items": True}}))
    assert problems["connectors.b1.out"][1] == "take the table out"


@pytest.mark.parametrize("wants", [{"stock": True}, {"items": True}, {"prices": 1}, {"tracking": True}])
def test_whoever_is_told_something_needs_a_reader_of_its_b1(wants: dict[str, Any]) -> None:
    problems = problems_of(((*SHOP, "out"), {**OUT, **wants}))
    assert 'kind = "sap_b1"' in problems["connectors.shop.out"][1]


@pytest.mark.parametrize(
    ("at", "wants", "path", "word"),
    [
        (SHOP, {"prices": 2}, "connectors.shop.out.prices", "connectors.b1.price_lists (1, 4)"),
        (SHOP, {"orders": True}, "connectors.shop.out.orders", "no warehouse is its own"),
        (WAREHOUSE, {"stock": True}, "connectors.warehouse.out.stock", "no warehouse is sold on it"),
    ],
)
def test_what_is_told_must_exist(at: tuple[str, ...], wants: dict[str, Any], path: str, word: str) -> None:
    assert word in problems_of(B1, ((*at, "out"), {**OUT, **wants}))[path][0]


def test_what_fits_is_taken() -> None:
    out = ((*SHOP, "out"), {**OUT, "stock": True, "prices": 4, "tracking": True})
    assert parse(changed(B1, out, ((*WAREHOUSE, "out"), {"outbox": "out/w", "orders": True})), ROOT, ENVIRON)


def test_what_is_switched_off_is_not_judged() -> None:
    assert parse(changed(((*SHOP, "out"), {**OUT, "mode": "off", "stock": True})), ROOT, ENVIRON)
