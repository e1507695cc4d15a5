"""`searchCriteria`: filters, sort and pages, as strict as the shop and with its habits."""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from lab.simulators.magento.faults import MagentoHabits
from lab.simulators.magento.prices import Fields
from lab.simulators.magento.wire import encoded, message

_FILTER = re.compile(
    r"searchCriteria\[(?:filter_groups|filterGroups)\]\[(\d+)\]\[filters\]\[(\d+)\]"
    r"\[(field|value|condition_type|conditionType)\]"
)
_SORT = re.compile(r"searchCriteria\[(?:sortOrders|sort_orders)\]\[(\d+)\]\[(field|direction)\]")
_CONDITIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "neq": lambda a, b: bool(a != b),
    "gt": lambda a, b: bool(a > b),
    "gteq": lambda a, b: bool(a >= b),
    "from": lambda a, b: bool(a >= b),
    "lt": lambda a, b: bool(a < b),
    "lteq": lambda a, b: bool(a <= b),
    "to": lambda a, b: bool(a <= b),
}
_COLUMNS = ("entity_id", "increment_id", "order_id", "store_id", "state", "status", "created_at", "updated_at")


def search(
    rows: list[Fields],
    params: Sequence[tuple[str, str]],
    habits: MagentoHabits,
    random: Random,
    columns: Sequence[str] = _COLUMNS,
) -> bytes:
    groups: dict[int, dict[int, dict[str, str]]] = {}
    sorts: dict[int, dict[str, str]] = {}
    numbers: dict[str, int] = {}
    for name, value in params:
        if filtered := _FILTER.fullmatch(name):
            key = "condition_type" if filtered[3] == "conditionType" else filtered[3]
            groups.setdefault(int(filtered[1]), {}).setdefault(int(filtered[2]), {})[key] = value
        elif ordered := _SORT.fullmatch(name):
            sorts.setdefault(int(ordered[1]), {})[ordered[2]] = value
        elif name in ("searchCriteria[pageSize]", "searchCriteria[currentPage]") and value.isdigit():
            numbers[name[15:-1]] = int(value)
        else:
            raise message(400, "One or more input exceptions have occurred.")
    for group in groups.values():
        rows = [row for row in rows if any(_fits(row, each, columns) for each in group.values())]
    random.shuffle(rows)
    for _, sort in sorted(sorts.items(), reverse=True):
        if sort.get("field") not in columns:
            raise message(500, "Internal Error. Details are available in Magento log file. Report ID: webapi-1")
        rows.sort(key=lambda row: row.get(sort["field"]) or "", reverse=sort.get("direction", "DESC") != "ASC")
    told = [{**row, **row.get("_as", {})} for row in _page(rows, numbers, habits)]
    return encoded({"items": told, "search_criteria": {}, "total_count": len(rows)})


def _page(rows: list[Fields], numbers: Mapping[str, int], habits: MagentoHabits) -> list[Fields]:
    size, page = numbers.get("pageSize"), max(1, numbers.get("currentPage", 1))
    if size is None:
        return rows
    if habits.page_limit is not None and size > habits.page_limit:
        raise message(400, "Maximum SearchCriteria pageSize is %max", max=str(habits.page_limit))
    last = max(1, -(-len(rows) // size))
    if page > last:
        if not habits.repeat_last_page:
            return []
        page = last
    return rows[(page - 1) * size : page * size]


def _fits(row: Fields, condition: Mapping[str, str], columns: Sequence[str]) -> bool:
    name, how, wanted = condition.get("field", ""), condition.get("condition_type", "eq"), condition.get("value", "")
    if name not in columns:
        raise message(500, "Internal Error. Details are available in Magento log file. Report ID: webapi-2")
    value = row.get(name)
    if how in ("null", "notnull"):
        return (value is None) == (how == "null")
    if value is None:
        return False
    number = isinstance(value, int)
    if name == "sku":  # the database compares without regard to case
        value, wanted = str(value).lower(), wanted.lower()
    if how in ("in", "nin"):
        among = [int(each) if number else each for each in wanted.split(",")]
        return (value in among) == (how == "in")
    if how not in _CONDITIONS:
        raise message(400, "Invalid condition type %1")
    return _CONDITIONS[how](value, int(wanted) if number else wanted)
