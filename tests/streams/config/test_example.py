"""The example configuration holds, also with every vendor's part taken in."""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from connectors.registry import KINDS
from streams.config.load import parse
from streams.config.problems import ConfigError
from tests.streams.fakes import ENVIRON, ROOT

TEXT = (ROOT / "streams.example.toml").read_text(encoding="utf-8")
SECRETS = {name: "canary-5ecret" for name in re.findall(r'"env:([A-Z_0-9]+)"', TEXT)}
WHOLE = tomllib.loads(re.sub(r"(?m)^# (?!----)", "", "# ----" + TEXT.partition("# ---- Vendors")[2]))


def whole() -> dict[str, Any]:
    data = tomllib.loads(TEXT)
    for section in ("companies", "connectors"):
        for name, table in copy.deepcopy(WHOLE[section]).items():
            if section == "companies":
                data[section][name]["warehouses"] |= table["warehouses"]
            else:
                data[section][name] = data[section].get(name, {}) | table
    return data


def test_the_example_is_valid_as_it_stands() -> None:
    assert parse(tomllib.loads(TEXT), ROOT, ENVIRON)


def test_the_mappings_that_it_shows_are_valid(tmp_path: Path) -> None:
    start, end = TEXT.index("# [connectors.warehouse.csv.despatches]"), TEXT.index("# ---- Vendors")
    shown = TEXT[:start] + re.sub(r"(?m)^# ", "", TEXT[start:end])
    warehouse = parse(tomllib.loads(shown), tmp_path, ENVIRON).connectors["warehouse"]
    assert set(warehouse.csv) == {"adjustments", "despatches", "stock"}  # type: ignore[attr-defined]  # it is an ims


def test_with_every_vendor_taken_in_it_is_valid_and_has_every_kind(tmp_path: Path) -> None:
    config = parse(whole(), tmp_path, ENVIRON | SECRETS)
    assert {each.kind for each in config.connectors.values()} == set(KINDS)


@pytest.mark.parametrize("code", ["SHP1", "VQ1"])
def test_a_warehouse_that_its_owner_counts_cannot_take_returns_by_refund(tmp_path: Path, code: str) -> None:
    data = whole()
    data["companies"]["acme"]["warehouses"][code]["returns_by"] = "refund"
    with pytest.raises(ConfigError) as caught:
        parse(data, tmp_path, ENVIRON | SECRETS)
    (problem,) = caught.value.problems
    assert problem.path == f"companies.acme.warehouses.{code}.returns_by"
    assert problem.remedy == 'write returns_by = "adjustment"'
    data["companies"]["acme"]["flows"] = {"refund_issued": "off"}
    assert parse(data, tmp_path, ENVIRON | SECRETS)


def test_an_owner_that_reports_movements_may_leave_returns_to_refunds(tmp_path: Path) -> None:
    data = whole()
    data["companies"]["acme"]["warehouses"]["SEK1"]["returns_by"] = "refund"
    data["connectors"]["veeqo"]["reads"] = ["orders", "dispatches"]
    data["companies"]["acme"]["warehouses"]["VQ1"]["returns_by"] = "refund"
    assert parse(data, tmp_path, ENVIRON | SECRETS)
