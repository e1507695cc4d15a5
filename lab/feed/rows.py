"""Rows of the Online Retail data set (`data/README.md`)."""

import csv
import io
import lzma
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from lab.feed.company import ZONE

SLICE = Path(__file__).parent / "data" / "online-retail-week.csv.xz"


COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


CARRIAGE = frozenset({"POST", "DOT", "C2"})


NO_ITEMS = frozenset({"D", "M", "S", "B", "CRUK", "PADS", "BANK CHARGES", "AMAZONFEE"})


VOUCHER = "GIFT_"


@dataclass(frozen=True, slots=True)
class Row:
    invoice: str
    code: str
    text: str
    quantity: Decimal
    at: datetime  # aware, Europe/London, as in the data
    price: Decimal  # net, GBP
    customer: str  # "" is a guest
    country: str

    @property
    def is_carriage(self) -> bool:
        return self.code.upper() in CARRIAGE

    @property
    def is_item(self) -> bool:
        code = self.code.upper()
        return not (code in CARRIAGE or code in NO_ITEMS or code.startswith(VOUCHER))

    @property
    def item(self) -> str:
        """The ItemCode: one item, however it was spelled."""
        return self.code.upper()


def read_rows(path: Path = SLICE) -> list[dict[str, str]]:
    """The rows of a `.csv` or `.csv.xz` with the data set's columns.

    Raises:
        ValueError: A column is missing.
    """
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as raw:
        reader = csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path.name}: no column {', '.join(missing)}; it needs those of the Online Retail data set"
            )
        return list(reader)


def sorted_rows(rows: Iterable[Mapping[str, str]]) -> list[Row]:
    """By time; the sort is stable, so the rows of an invoice keep their order."""
    return sorted(
        (
            Row(
                invoice=row["InvoiceNo"],
                code=row["StockCode"].strip(),
                text=row["Description"].strip(),
                quantity=Decimal(row["Quantity"]),
                at=datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=ZONE),
                price=Decimal(row["UnitPrice"]),
                customer=row["CustomerID"],
                country=row["Country"],
            )
            for row in rows
        ),
        key=lambda row: row.at.replace(tzinfo=None),
    )


def kind_of_code(code: str) -> str:
    return "gift voucher" if code.upper().startswith(VOUCHER) else code.upper()
