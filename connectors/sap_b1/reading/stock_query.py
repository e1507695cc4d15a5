"""The stored query by which stock is swept where B1 has it: some 60 bytes a level, where an item has 33 kB.

Facts (Service Layer user guide 4.5.1; public code notes, read 2026-11-30): tables and columns are allow-listed, OITW is
in the list; making a query needs the right "Modify SQL Queries in Service Layer", running it an authorisation for it;
names of parameters are case-sensitive; B1's own paging of queries skips and repeats rows, so ours go by key; a query
without rows and one that is not there are answered alike, with 404 / -2028.
"""

from functools import partial

from connectors.sap_b1.claims import insist
from connectors.sap_b1.reading.walks import Walk
from connectors.sap_b1.service_layer import ServiceLayer, describe, quote_literal

STOCK_ROWS = 500
CODE = "B1STREAMS_STOCK"
TEXT = (
    f"select top {STOCK_ROWS} ItemCode, WhsCode, OnHand, IsCommited, OnOrder from OITW "  # noqa: S608 -- a constant
    "where WhsCode = :whs and ItemCode > :after order by ItemCode"
)
_PATH = f"SQLQueries('{CODE}')"


class StockWalk(Walk):
    """The stock of one warehouse, item by item."""

    def __init__(self, warehouse: str) -> None:
        super().__init__("OITW", "", warehouse, STOCK_ROWS)

    @property
    def key(self) -> str:
        return "ItemCode"

    def path(self) -> str:
        return f"{_PATH}/List?whs={quote_literal(self.condition)}&after={quote_literal(str(self.after or ''))}"


async def is_installed(b1: ServiceLayer) -> bool:
    """Whether B1 has the query as it is here; one that somebody changed is not used."""
    (answer,) = await b1.read([_PATH])
    found = answer.body.get("SqlText") if answer.ok and answer.body else None
    return isinstance(found, str) and found.split() == TEXT.split()


async def install(b1: ServiceLayer) -> str:
    """Make the query where it is missing; in words, what came of it.

    Raises:
        ConnectorError: B1 cannot be asked.
    """
    if await is_installed(b1):
        return "is there"
    body = {"SqlCode": CODE, "SqlName": "b1-streams: stock", "SqlText": TEXT}
    answer = await insist(partial(b1.post, "SQLQueries", body))
    return "made" if answer.ok else f"B1 refused to make it: {describe(answer)}"
