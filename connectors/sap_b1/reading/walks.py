"""The queries: pages of one entity set by key, so that what comes and goes meanwhile shifts nothing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.base.errors import FatalError
from connectors.sap_b1.reading.rows import Row
from connectors.sap_b1.service_layer import quote_literal

#: A line of a document is some 7 kB, an item with ten warehouses 33 kB (live): a page stays near a megabyte.
DOCUMENTS_PER_PAGE = 20
ITEMS_PER_PAGE = 40
#: Of items without their stock, some 3 kB each.
BARE_ITEMS_PER_PAGE = 200
#: So many codes keep a query's URL under 2 kB.
CODES_PER_QUERY = 20
#: Changes become visible when their transaction ends, and carry the time at which it began. B1 waits less for a lock.
OVERLAP = timedelta(minutes=3)
#: Documents that move stock, or what is committed and ordered. Each is new when it moves any: a cancellation is a
#: document of its own.
MOVING = (
    "InventoryGenEntries",
    "InventoryGenExits",
    "StockTransfers",
    "Invoices",
    "CreditNotes",
    "Returns",
    "PurchaseOrders",
    "PurchaseDeliveryNotes",
    "PurchaseInvoices",
    "PurchaseReturns",
    "PurchaseCreditNotes",
)


@dataclass(slots=True)
class Walk:
    """A walk over one entity set, by key.

    Attributes:
        page_rows: A page with fewer rows is the last one.
        after: The key behind which the next page begins; None: at the first.
    """

    entity: str
    fields: str
    condition: str = ""
    page_rows: int = DOCUMENTS_PER_PAGE
    after: str | int | None = None

    @property
    def key(self) -> str:
        return "ItemCode" if self.entity == "Items" else "DocEntry"

    def path(self) -> str:
        """The query of the next page."""
        conditions = [f"({self.condition})"] if self.condition else []
        if self.after is not None:
            after = quote_literal(self.after) if isinstance(self.after, str) else self.after
            conditions.append(f"{self.key} gt {after}")
        where = f"&$filter={' and '.join(conditions)}" if conditions else ""
        return f"{self.entity}?$select={self.fields}{where}&$orderby={self.key}&$top={self.page_rows}"

    def take(self, rows: Sequence[Row], *, is_cut: bool = False) -> bool:
        """Go on behind these rows; whether there may be more. `is_cut`: B1 named a next page.

        Raises:
            FatalError: B1 does not go on where it was told to: it would be asked the same for ever.
        """
        keys = [row[self.key] for row in rows]
        if self.after in keys or len(set(keys)) < len(keys):
            raise FatalError(f"B1 repeats rows of {self.entity} although it was asked for those after the last one")
        self.after = keys[-1] if keys else self.after
        return bool(rows) and (is_cut or len(rows) >= self.page_rows)


def changed_since(mark: datetime, *, items: bool = False) -> str:
    """What was changed or made since a moment of the company's local time, less the overlap.

    Date and time are two fields, and a time is compared to the minute (SAP's user guide). What was never changed has no
    update date in some builds.
    """
    since = mark - OVERLAP
    day, minute = f"'{since:%Y-%m-%d}'", f"'{since:%H:%M}'"
    fields = (("UpdateDate", "UpdateTime"), ("CreateDate", "CreateTime") if items else ("CreationDate", "DocTime"))
    return " or ".join(f"{date} gt {day} or ({date} eq {day} and {time} ge {minute})" for date, time in fields)


def with_keys(entity: str, fields: str, keys: Sequence[str] | Sequence[int]) -> list[str]:
    """The queries for these keys."""
    name = "ItemCode" if entity == "Items" else "DocEntry"
    literals = [quote_literal(key) if isinstance(key, str) else str(key) for key in keys]
    chunks = [literals[start : start + CODES_PER_QUERY] for start in range(0, len(literals), CODES_PER_QUERY)]
    return [
        f"{entity}?$select={fields}&$filter={' or '.join(f'{name} eq {each}' for each in chunk)}&$orderby={name}"
        f"&$top={CODES_PER_QUERY}"
        for chunk in chunks
    ]


def newest(entity: str) -> str:
    """The query for the newest document of a set."""
    return f"{entity}?$select=DocEntry&$orderby=DocEntry desc&$top=1"


def after(entity: str, entry: int) -> str:
    """The query for the documents of a set that came after one."""
    lines = "StockTransferLines" if entity == "StockTransfers" else "DocumentLines"
    return f"{entity}?$select=DocEntry,{lines}&$filter=DocEntry gt {entry}&$orderby=DocEntry&$top={DOCUMENTS_PER_PAGE}"
