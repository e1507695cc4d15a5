"""Base documents: what one document draws from the open quantities of another, and gives back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KIND_BY_NUMBER, DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.stock import commit
from lab.simulators.sap_b1.state.values import ZERO, column, read_integer


def find_base(
    db: Database, kind: DocumentKind, document: Json, sent: Mapping[str, Any], number: int
) -> tuple[DocumentKind, Json, Json] | None:
    named = [sent.get(name) for name in ("BaseType", "BaseEntry", "BaseLine")]
    if all(value in (None, -1) for value in named):
        return None
    if any(value is None for value in named):
        raise RefusedError(-5002, "Internal error (-5002) occurred")
    where = kind.table + "1"
    base_type, entry, index = (read_integer(value, name) for value, name in zip(named, ("BaseType",) * 3, strict=True))
    allowed = kind.bases if db.rules.credit_on_delivery or kind.number != 14 else kind.bases - {15}
    base_kind = KIND_BY_NUMBER.get(base_type)
    if base_kind is None or base_type not in allowed:
        raise RefusedError(-5002, f"Invalid base document type{column(where, 'BaseType', number)}")
    base = db.documents[base_kind.entity].get(entry)
    if base is None or not 0 <= index < len(base["DocumentLines"]):
        raise RefusedError(-2028, f"No matching records found (ODBC -2028){column(where, 'BaseEntry', number)}")
    if base["CardCode"] != document["CardCode"]:
        raise RefusedError(-5002, f"Base document belongs to another partner{column(where, 'BaseEntry', number)}")
    line = base["DocumentLines"][index]
    if base["DocumentStatus"] != "bost_Open" or base["Cancelled"] == "tYES" or line["LineStatus"] != "bost_Open":
        text = f"One of the base documents has already been closed{column(where, 'BaseEntry', number)}"
        raise RefusedError(db.rules.base_closed_code, text)
    return base_kind, base, line


def draw(
    db: Database, kind: DocumentKind, base: tuple[DocumentKind, Json, Json], quantity: Decimal, number: int
) -> None:
    """Take a quantity from a base line; it closes at zero, its document when all its lines are closed."""
    base_kind, document, line = base
    left = line["RemainingOpenQuantity"] - quantity
    if left < 0:
        if db.rules.over_delivery == "refuse":
            text = "Quantity exceeds the open quantity of the base document"
            raise RefusedError(-10, text + column(kind.table + "1", "Quantity", number))
        left = ZERO
    taken = line["RemainingOpenQuantity"] - left
    db.set(line, "RemainingOpenQuantity", left)
    if base_kind.number == 17:
        commit(db, line, -taken)
    if not left:
        db.set(line, "LineStatus", "bost_Close")
        close_when_done(db, base_kind, document)
    db.touch(base_kind.entity, document["DocEntry"])


def close_when_done(db: Database, kind: DocumentKind, document: Json) -> None:
    if all(line["LineStatus"] == "bost_Close" for line in document[kind.lines]):
        db.set(document, "DocumentStatus", "bost_Close")


def base_line(db: Database, line: Json) -> Json | None:
    kind = KIND_BY_NUMBER.get(line.get("BaseType", -1)) if isinstance(line.get("BaseType"), int) else None
    if kind is None or line.get("BaseEntry") is None:
        return None
    found: Json = db.documents[kind.entity][int(line["BaseEntry"])]["DocumentLines"][int(line["BaseLine"])]
    return found


def give_back(db: Database, line: Json, base: Json) -> None:
    kind = KIND_BY_NUMBER[line["BaseType"]]
    document = db.documents[kind.entity][int(line["BaseEntry"])]
    drawn_empty = not base["RemainingOpenQuantity"]
    db.set(base, "RemainingOpenQuantity", base["RemainingOpenQuantity"] + line["Quantity"])
    if drawn_empty:
        db.set(base, "LineStatus", "bost_Open")
        db.set(document, "DocumentStatus", "bost_Open")
    if kind.number == 17 and base["LineStatus"] == "bost_Open":
        commit(db, base, base["RemainingOpenQuantity"] if drawn_empty else line["Quantity"])
    db.touch(kind.entity, document["DocEntry"])


def close_line(db: Database, kind: DocumentKind, line: Json) -> None:
    """Close a line by hand; it keeps its open quantity, its status says that it no longer counts."""
    if line["LineStatus"] == "bost_Open":
        db.set(line, "LineStatus", "bost_Close")
        if kind.number == 17:
            commit(db, line, -line["RemainingOpenQuantity"])


def require_open(db: Database, document: Json) -> None:
    if document["DocumentStatus"] != "bost_Open" or document["Cancelled"] == "tYES":
        raise RefusedError(-10, "Document is already closed or cancelled  [ORDR.DocStatus]")
