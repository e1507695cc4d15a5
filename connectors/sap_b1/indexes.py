"""Indexes of our user fields: what a look-up of an order costs B1, and keys that make it a seek.

Documents are looked up by `U_STREAMS_ORDER` and `U_STREAMS_KEY`, and B1 makes no index for a user field: each first
touch of an order reads four document tables. SAP documents user keys for user tables; its Service Layer sample has one
on a system table, not unique (OHEM; guide, read 2026-11-21). So keys are tried, a refusal changes nothing, and what a
look-up takes is measured either way.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from connectors.base.clock import Clock
from connectors.base.doctor import Finding, of_error
from connectors.sap_b1.change_set import decimal_of
from connectors.sap_b1.claims import insist
from connectors.sap_b1.order import ENTITY_SETS, queries
from connectors.sap_b1.service_layer import ServiceLayer, UnavailableError, describe, quote_literal, read_rows

TABLES = ("ORDR", "ODLN", "OINV", "ORIN")
#: Column -> name of its key; names of keys are short in B1.
KEYS: Mapping[str, str] = {"STREAMS_KEY": "STRKEY", "STREAMS_ORDER": "STRORD"}
SLOW_LOOK_UP_MS = 250.0  # four seeks and a round trip take some 20 ms; four scans of a million rows take seconds
_NOBODY = f"order_placed-{'A' * 26}"


async def missing_keys(service_layer: ServiceLayer) -> list[tuple[str, str]]:
    """(table, column) of each key that `install_keys` would make.

    Raises:
        NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
    """
    paths = [f"UserKeysMD?$filter=TableName eq {quote_literal(table)}" for table in TABLES]
    there = {
        (table, column)
        for table, rows in zip(TABLES, await read_rows(service_layer, paths), strict=True)
        for row in rows
        if (column := _first_column(row)) is not None
    }
    return [(table, column) for table in TABLES for column in KEYS if (table, column) not in there]


async def install_keys(service_layer: ServiceLayer) -> str:
    """Make the keys where they are missing; why B1 refused one, else "". B1 changes its tables: nobody should post.

    Raises:
        NotSentError, UnavailableError, AnswerUnknownError, FatalError: As `ServiceLayer`.
    """
    for table, column in await missing_keys(service_layer):
        body = {
            "TableName": table,
            "KeyName": KEYS[column],
            "Unique": "tNO",
            "UserKeysMD_Elements": [{"ColumnAlias": column}],
        }
        answer = await insist(partial(service_layer.post, "UserKeysMD", body))
        if not answer.ok:
            return f"{table}.U_{column}: {describe(answer)}"
    return ""


async def examine(service_layer: ServiceLayer, clock: Clock, *, install: bool) -> Finding:
    """What a look-up costs, with the keys there or not; with `install` they are made first.

    Raises:
        NotSentError, AnswerUnknownError, FatalError: As `ServiceLayer`.
    """
    try:
        refused = await install_keys(service_layer) if install else ""
        lacking = await missing_keys(service_layer)
        look_up_ms, documents = await _measured(service_layer, clock)
    except UnavailableError as error:  # a B1 that does not list keys can post all the same
        return of_error("indexes", error)
    cost = f"a look-up of one order takes {look_up_ms:.0f} ms over {documents:,} documents"
    if not lacking:
        return Finding("indexes", True, f"keys on our user fields are there; {cost}")
    names = ", ".join(f"{table}.U_{column}" for table, column in lacking)
    detail = f"no key on {names}; {cost}" + (f"; B1 refuses one: {refused}" if refused else "")
    if look_up_ms <= SLOW_LOOK_UP_MS:
        return Finding("indexes", True, detail)
    remedy = "run streams doctor --install with a superuser of B1 while nobody posts"
    if refused:
        remedy = (
            "have the database's administrator index these columns (not unique), in agreement with your SAP partner"
        )
    return Finding("indexes", False, detail, remedy)


async def _measured(service_layer: ServiceLayer, clock: Clock) -> tuple[float, int]:
    """How long it takes to find that an order is not there (the second try, ms), and among how many documents."""
    took_ms = 0.0
    for _ in range(2):  # the first one warms B1's session up
        started = clock.monotonic()
        await read_rows(service_layer, queries([_NOBODY]))
        took_ms = (clock.monotonic() - started) * 1000
    answers = await service_layer.read([f"{entity}/$count" for entity in ENTITY_SETS])
    return took_ms, sum(int(decimal_of((answer.body or {}).get("value")) or 0) for answer in answers)


def _first_column(row: Mapping[str, Any]) -> str | None:
    elements: Sequence[Mapping[str, Any]] = row.get("UserKeysMD_Elements") or ()
    return str(elements[0].get("ColumnAlias", "")).removeprefix("U_") if elements else None
