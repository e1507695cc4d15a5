"""`SQLQueries`: stored queries with named parameters, as far as the Service Layer takes SQL.

One table, columns by name, conditions joined by `and`, an order, a `top`; tables and columns are allow-listed (Service
Layer guide 4.5.1). An answer without rows is 404 / -2028, as for a query that is not there (public code note).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import ZERO

_COLUMNS: Final = {"OITW": ("ItemCode", "WhsCode", "OnHand", "IsCommited", "OnOrder")}
_QUERY: Final = re.compile(
    r"select\s+(?:top\s+(?P<top>\d+)\s+)?(?P<columns>[\w.,\s]+?)\s+from\s+(?P<table>\w+)(?:\s+(?P<alias>T\d))?"
    r"(?:\s+where\s+(?P<where>.+?))?(?:\s+order\s+by\s+(?P<order>[\w.]+))?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION: Final = re.compile(r"(?P<column>[\w.]+)\s*(?P<operator>=|>)\s*:(?P<name>\w+)\Z")


@dataclass(frozen=True, slots=True)
class _Query:
    top: int | None
    table: str
    columns: Sequence[str]
    conditions: Sequence[tuple[str, str, str]]
    order: str | None


def check_query(db: Database, row: Mapping[str, Any]) -> None:
    """Refuse a query that cannot be stored, or a user that may store none."""
    if not db.rules.may_make_queries:
        raise RefusedError(-6006, "You are not permitted to perform this action", 403)
    _parse(str(row.get("SqlText") or ""))


def run_query(db: Database, code: object, parameters: Mapping[str, str]) -> list[Json]:
    """The rows of a stored query.

    Raises:
        RefusedError: 404 / -2028 where there are none, or no such query; 704 where parameters do not fit.
    """
    if not db.rules.may_run_queries:
        raise RefusedError(-6006, "You are not permitted to perform this action", 403)
    stored = db.masters["SQLQueries"].get(str(code))
    if stored is None:
        raise RefusedError(-2028, "No matching records found (ODBC -2028)", 404)
    query = _parse(stored["SqlText"])
    given = {name: _literal(text) for name, text in parameters.items() if name[:1] != "$"}
    if given.keys() != {name for _, _, name in query.conditions}:
        raise RefusedError(704, "Parameter error")
    rows = [row for row in _rows(db, query.table) if _fits(row, query, given)]
    if query.order is not None:
        rows.sort(key=lambda row: row[query.order or ""])
    rows = [{name: row[name] for name in query.columns} for row in rows[: query.top]]
    if not rows:
        raise RefusedError(-2028, "No matching records found (ODBC -2028)", 404)
    return rows


def _parse(text: str) -> _Query:
    match = _QUERY.match(text.strip())
    if match is None:
        raise RefusedError(701, "Invalid SQL syntax")
    table, alias = match["table"].upper(), match["alias"]
    if table not in _COLUMNS:
        raise RefusedError(702, f"Table '{match['table']}' is not allowed")

    def column(name: str) -> str:
        bare = name.strip().removeprefix(f"{alias}.")
        if bare not in _COLUMNS[table]:
            raise RefusedError(703, f"Column '{name.strip()}' is not allowed")
        return bare

    conditions = []
    for part in re.split(r"\s+and\s+", match["where"], flags=re.IGNORECASE) if match["where"] else ():
        condition = _CONDITION.match(part.strip())
        if condition is None:
            raise RefusedError(701, "Invalid SQL syntax")
        conditions.append((column(condition["column"]), condition["operator"], condition["name"]))
    columns = [column(name) for name in match["columns"].split(",")]
    order = column(match["order"]) if match["order"] else None
    return _Query(int(match["top"]) if match["top"] else None, table, columns, conditions, order)


def _literal(text: str) -> str:
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise RefusedError(704, "Parameter error")
    return text[1:-1].replace("''", "'")


def _fits(row: Json, query: _Query, given: Mapping[str, str]) -> bool:
    return all(
        row[column] == given[name] if operator == "=" else row[column] > given[name]
        for column, operator, name in query.conditions
    )


def _rows(db: Database, _table: str) -> Iterator[Json]:
    for item in db.masters["Items"]:
        for warehouse in db.masters["Warehouses"]:
            place = (str(item), str(warehouse))
            yield {
                "ItemCode": item,
                "WhsCode": warehouse,
                "OnHand": db.stock.get(place, ZERO),
                "IsCommited": db.committed.get(place, ZERO),
                "OnOrder": ZERO,
            }
