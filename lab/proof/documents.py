"""Documents of the ledger, and what the proof looks at on them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO

#: All that is looked at on a document; the rest would only fill memory.
_DOCUMENT_FIELDS = frozenset(
    {
        "entity",
        "object",
        "DocEntry",
        "DocNum",
        "DocDate",
        "DocTotal",
        "NumAtCard",
        "TrackingNumber",
        "Cancelled",
        "CancelStatus",
        "U_STREAMS_KEY",
        "U_STREAMS_ORDER",
    }
)
_LINE_FIELDS = frozenset(
    {
        "ItemCode",
        "WarehouseCode",
        "FromWarehouseCode",
        "Quantity",
        "LineTotal",
        "TaxTotal",
        "BaseType",
        "BaseEntry",
        "BaseLine",
        "AccountCode",
    }
)
_LINE_LISTS = ("DocumentLines", "StockTransferLines")


def read_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of the ledger, with what the proof looks at."""
    kept = {name: value for name, value in document.items() if name in _DOCUMENT_FIELDS}
    for name in _LINE_LISTS:
        if name in document:
            kept[name] = [{key: line[key] for key in line.keys() & _LINE_FIELDS} for line in document[name]]
    return kept


def by_number(documents: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for document in documents:
        found[str(document.get("NumAtCard"))].append(document)
    return found


def units_of(document: Mapping[str, Any]) -> dict[tuple[str, str], Decimal]:
    units: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for line in document["DocumentLines"]:
        units[line["ItemCode"], line["WarehouseCode"]] += Decimal(line["Quantity"])
    return units
