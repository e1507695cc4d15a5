"""PATCH of documents and of their lines."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.amounts import freight_rows, set_amounts, set_totals
from lab.simulators.sap_b1.state.base_documents import close_line, close_when_done
from lab.simulators.sap_b1.state.database import MISSING, Database
from lab.simulators.sap_b1.state.items import find_item, find_warehouse, read_quantity
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.lines import item_line
from lab.simulators.sap_b1.state.messages import Json, Key, RefusedError
from lab.simulators.sap_b1.state.metadata import ALWAYS_OPEN, DOCUMENT_DATES, PARTS, READ_ONLY
from lab.simulators.sap_b1.state.stock import commit
from lab.simulators.sap_b1.state.values import column, day_stamp, read_day, read_integer, read_number


def patch_document(
    db: Database, kind: DocumentKind, key: Key, body: Mapping[str, Any], headers: Mapping[str, str]
) -> None:
    document = db.found(kind.entity, key)
    db.check(kind.type_name, body)
    _refuse_mixed_closing(document, kind, body)
    changeable = kind.number == 17 and document["DocumentStatus"] == "bost_Open"
    for name, value in body.items():
        if name in READ_ONLY[kind.type_name] or name in PARTS[kind.type_name]:
            continue
        if not changeable and name not in ALWAYS_OPEN and not name.startswith("U_"):
            raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029)  [O{kind.table}.{name}]")
        db.reindex(kind.entity, document, name, value)
        if name in DOCUMENT_DATES and value is not None:
            value = day_stamp(read_day(value, name))  # noqa: PLW2901 - the date in B1's form
        db.set(document, name, value)
    sent = body.get(kind.lines)
    if sent is None and "DocumentAdditionalExpenses" not in body and "DiscountPercent" not in body:
        return
    if not changeable:
        raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029)  [{kind.table}1.LineNum]")
    day, rate = date.fromisoformat(document["DocDate"][:10]), document["DocRate"]
    discount = read_number(document.get("DiscountPercent") or 0, "DiscountPercent")
    if sent is not None:
        whole = headers.get("b1s-replacecollectionsonpatch", "").lower() == "true"
        _patch_lines(db, kind, document, sent, day, rate, discount, replace_all=whole)
    if "DocumentAdditionalExpenses" in body:
        shadow = {**document, "DocumentAdditionalExpenses": body["DocumentAdditionalExpenses"]}
        db.set(document, "DocumentAdditionalExpenses", freight_rows(db, kind, shadow, day, rate))
    set_totals(db, document, rate, discount, lambda name, value: db.set(document, name, value))
    close_when_done(db, kind, document)


def _refuse_mixed_closing(document: Json, kind: DocumentKind, body: Mapping[str, Any]) -> None:
    """A PATCH that closes open lines holds nothing else, in these lines, in others or in the header (live note)."""
    sent = body.get(kind.lines)
    if not isinstance(sent, list):
        return
    open_lines = {line["LineNum"] for line in document[kind.lines] if line["LineStatus"] == "bost_Open"}
    closing = [
        number
        for change in sent
        if change.get("LineStatus") in ("bost_Close", "C")
        and change.get("LineNum") is not None
        and (number := read_integer(change["LineNum"], "LineNum")) in open_lines
    ]
    more = body.keys() - {kind.lines} or any(change.keys() - {"LineNum", "LineStatus"} for change in sent)
    if closing and more:
        text = "Document rows cannot be closed concurrently with the other document modifications you have made"
        raise RefusedError(-5002, text + column("DocumentLines", "LineStatus", closing[0]))


def _patch_lines(
    db: Database,
    kind: DocumentKind,
    document: Json,
    sent: Sequence[Mapping[str, Any]],
    day: date,
    rate: Decimal,
    discount: Decimal,
    *,
    replace_all: bool,
) -> None:
    lines = document["DocumentLines"]
    by_number = {line["LineNum"]: line for line in lines}
    named: set[int] = set()
    for change in sent:
        number = change.get("LineNum")
        line = None if number is None else by_number.get(read_integer(number, "LineNum"))
        if line is None:
            fresh = item_line(db, kind, document, change, max(by_number) + 1, day)
            set_amounts(db, kind, document, fresh, change, day, rate, discount)
            db.append(lines, fresh)
            by_number[fresh["LineNum"]] = fresh
            named.add(fresh["LineNum"])
        else:
            named.add(line["LineNum"])
            _patch_line(db, kind, document, line, change, day, rate, discount)
    if replace_all and (gone := [line for line in lines if line["LineNum"] not in named]):
        for line in gone:
            if line["RemainingOpenQuantity"] != line["Quantity"]:
                raise RefusedError(-1029, "Field cannot be updated (ODBC -1029)  [RDR1.LineNum]")
            close_line(db, kind, line)
        db.set(document, "DocumentLines", [line for line in lines if line["LineNum"] in named])


def _patch_line(
    db: Database,
    kind: DocumentKind,
    document: Json,
    line: Json,
    change: Mapping[str, Any],
    day: date,
    rate: Decimal,
    discount: Decimal,
) -> None:
    number = line["LineNum"]
    changed = {name: value for name, value in change.items() if name not in READ_ONLY["DocumentLine"]}
    changed.pop("LineNum", None)
    status = changed.pop("LineStatus", None)
    same = all(line.get(name) == value for name, value in changed.items())
    if line["LineStatus"] != "bost_Open":
        # A closed line may be named unchanged, as clients that send all lines do.
        if status in (None, "bost_Close") and (same or all(name.startswith("U_") for name in changed)):
            for name, value in changed.items():
                db.set(line, name, value)
            return
        raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029){column('RDR1', 'LineStatus', number)}")
    if not same:
        _change_line(db, kind, document, line, changed, day, rate, discount)
    if status == "bost_Close" or not line["RemainingOpenQuantity"]:
        close_line(db, kind, line)


def _change_line(
    db: Database,
    kind: DocumentKind,
    document: Json,
    line: Json,
    changed: Json,
    day: date,
    rate: Decimal,
    discount: Decimal,
) -> None:
    number, drawn = line["LineNum"], line["Quantity"] - line["RemainingOpenQuantity"]
    if drawn and changed.get("ItemCode", line["ItemCode"]) != line["ItemCode"]:
        raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029){column('RDR1', 'ItemCode', number)}")
    merged = {**line, **changed}
    if "Quantity" in changed:
        merged["Quantity"] = read_quantity(db, changed, line["Quantity"], "RDR1", number)
        if merged["Quantity"] < drawn:
            text = f"Quantity is below what was already delivered{column('RDR1', 'Quantity', number)}"
            raise RefusedError(-10, text)
    item = find_item(db, merged["ItemCode"], "RDR1", number, day) if merged.get("ItemCode") else None
    if item is not None:
        merged["WarehouseCode"] = find_warehouse(db, merged["WarehouseCode"], "RDR1", number)
    # B1 keeps the price and derives the total anew, unless the totals come along.
    basis = {"UnitPrice": line["UnitPrice"], "DiscountPercent": line["DiscountPercent"], **changed}
    if line.get("TaxCode") and "TaxCode" not in changed:
        basis["TaxCode"] = line["TaxCode"]
    elif line.get("VatGroup") and "VatGroup" not in changed:
        basis["VatGroup"] = line["VatGroup"]
    money = {"UnitPrice", "Price", "DiscountPercent", "LineTotal", "TaxTotal", "VatGroup", "TaxCode", "Quantity"}
    if money & changed.keys():
        if "Quantity" not in changed and not {"UnitPrice", "Price", "DiscountPercent", "LineTotal"} & changed.keys():
            basis["LineTotal"] = line["RowTotalFC"] if rate != 1 else line["LineTotal"]
        set_amounts(db, kind, document, merged, basis, day, rate, discount)
    merged["RemainingOpenQuantity"] = merged["Quantity"] - drawn
    merged["InventoryQuantity"] = merged["Quantity"]
    commit(db, line, -line["RemainingOpenQuantity"])
    for name, value in merged.items():
        if line.get(name, MISSING) != value:
            db.set(line, name, value)
    commit(db, line, line["RemainingOpenQuantity"])
