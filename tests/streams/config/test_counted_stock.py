"""A warehouse with counts and dispatches: whoever brings both must say whether the counts contain the dispatches."""

import copy
from typing import Any

import pytest

from streams.config.load import parse
from streams.config.problems import ConfigError, ConfigProblem
from tests.streams.fakes import ENVIRON, ROOT, example

COUNTS = {
    "files": "stock-*.csv",
    "event": "stock_adjusted",
    "columns": {"sku": "SKU", "level": "Qty"},
    "templates": {
        "event_id": "{file}",
        "location": "MAIN",
        "reason": "count",
        "occurred_at": "{modified}",
        "sequence": "{modified_ms}",
    },
}
DISPATCHES = {
    "files": "out-*.csv",
    "event": "dispatch_confirmed",
    "timezone": "Europe/London",
    "columns": {
        "shipment_id": "Ref",
        "order_id": "Order",
        "location": "Whse",
        "occurred_at": "When",
        "lines.sku": "Item",
        "lines.quantity": "Qty",
    },
}
PATH = "connectors.warehouse.levels_include_dispatches"


def problems(warehouse: dict[str, Any], **changes: Any) -> list[ConfigProblem]:
    data = copy.deepcopy(example())
    data["connectors"]["warehouse"].pop("levels_include_dispatches", None)
    data["connectors"]["warehouse"] |= warehouse
    data["connectors"] |= changes.pop("connectors", {})
    data["companies"]["acme"] |= changes
    try:
        parse(data, ROOT, ENVIRON)
    except ConfigError as error:
        return list(error.problems)
    return []


BOTH = {"csv": {"stock": COUNTS, "out": DISPATCHES}}
TPL = {"kind": "ims", "company": "acme", "inbox": "in/tpl", "csv": {"out": DISPATCHES}}


def test_it_is_demanded_where_one_warehouse_has_both() -> None:
    (problem,) = problems(BOTH)
    assert problem.path == PATH
    assert "counts and dispatches of LON1" in problem.message
    assert "write true where a count falls with each dispatch" in problem.remedy


@pytest.mark.parametrize("said", [True, False])
def test_either_answer_is_taken(said: bool) -> None:
    assert problems(BOTH | {"levels_include_dispatches": said}) == []


@pytest.mark.parametrize("only", ["stock", "out"])
def test_it_is_not_demanded_where_there_is_one_of_them(only: str) -> None:
    assert problems({"csv": {only: BOTH["csv"][only]}}) == []


def test_dispatches_of_another_connector_cannot_be_taken_off() -> None:
    (problem,) = problems({"csv": {"stock": COUNTS}, "levels_include_dispatches": True}, connectors={"tpl": TPL})
    assert problem.path == PATH
    assert "dispatches of tpl, of which warehouse does not know" in problem.message
    (problem,) = problems({"csv": {"stock": COUNTS}}, connectors={"tpl": TPL | {"locations": {"L": "LON1"}}})
    assert problem.path == PATH
    assert problems({"csv": {"stock": COUNTS}, "levels_include_dispatches": False}, connectors={"tpl": TPL}) == []


def test_counts_fall_with_dispatches_but_nothing_books_those() -> None:
    (problem,) = problems(BOTH | {"levels_include_dispatches": True}, flows={"dispatch_confirmed": "off"})
    assert problem.path == PATH
    assert problem.remedy.startswith("write false")
