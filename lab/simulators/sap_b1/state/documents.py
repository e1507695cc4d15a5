"""Documents: made, completed and saved."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from lab.simulators.sap_b1.state.amounts import freight_rows, set_amounts, set_totals
from lab.simulators.sap_b1.state.currencies import set_currency
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KIND_BY_NUMBER, REFERENCE_TYPES, DocumentKind
from lab.simulators.sap_b1.state.lines import item_line, service_line, transfer_line
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.partners import check_partner
from lab.simulators.sap_b1.state.periods import set_dates
from lab.simulators.sap_b1.state.values import column, day_stamp, read_integer, read_number


def pay_invoice(db: Database, doc_entry: int) -> None:
    """A person books the payment of an invoice: it is closed, its lines keep their open quantities."""
    document = db.documents["Invoices"][doc_entry]
    document["DocumentStatus"] = "bost_Close"
    document["PaidToDate"] = document["DocTotal"]
    db.touch("Invoices", doc_entry)
    db.journal.clear()


def create_document(db: Database, kind: DocumentKind, body: Mapping[str, Any]) -> Json:
    db.check(kind.type_name, body)
    document = db.with_defaults(kind.type_name, body)
    entry = db.numbers.get(kind.entity, 0) + 1
    db.set(db.numbers, kind.entity, entry)
    document["DocEntry"] = entry
    # A series starts at a number of its own, so that DocNum is never mistaken for DocEntry.
    document["DocNum"] = kind.number * 100_000 + entry
    document["DocObjectCode"] = kind.enum
    document["DocumentStatus"] = "bost_Open"
    document["Cancelled"] = "tNO"
    document["CancelStatus"] = "csNo"
    set_dates(db, kind, document)
    document["CreationDate"] = day_stamp(db.today)
    if not kind.transfer:
        document["DocTime"] = db.clock().strftime("%H:%M:%S")
    if kind.partner:
        check_partner(db, kind, document)
    _check_references(db, document)
    sent = body.get(kind.lines)
    if not isinstance(sent, list) or not sent:
        raise RefusedError(-5002, f"Document must have at least one line{column('O' + kind.table, 'DocEntry')}")
    if kind.transfer:
        document[kind.lines] = [transfer_line(db, kind, document, line, n) for n, line in enumerate(sent)]
        _require_branch(db, document, "BPLID", kind, document[kind.lines])
        document["DocumentStatus"] = "bost_Close"
    else:
        _complete(db, kind, document, sent)
    save_document(db, kind, document)
    db.counters["documents"] += 1
    db.journal.append((db.counters, "documents", db.counters["documents"] - 1))
    return document


def save_document(db: Database, kind: DocumentKind, document: Json) -> None:
    """Save a document; its place in the order of commits is for the checker only."""
    sequence = db.numbers.get("sequence", 0) + 1
    db.set(db.numbers, "sequence", sequence)
    document["_sequence"], document["_committed_at"] = sequence, db.clock().isoformat()
    db.set(db.documents[kind.entity], document["DocEntry"], document)
    db.touch(kind.entity, document["DocEntry"])
    db.index_document(kind.entity, document)


def _complete(db: Database, kind: DocumentKind, document: Json, sent: Sequence[Mapping[str, Any]]) -> None:
    """Currency, lines, freight, totals and stock of a marketing document."""
    rate = set_currency(db, kind, document)
    day = date.fromisoformat(document["DocDate"][:10])
    service = document.setdefault("DocType", "dDocument_Items") == "dDocument_Service"
    if service and not kind.partner:
        raise RefusedError(-5002, f"Invalid document type{column('O' + kind.table, 'DocType')}")
    discount = read_number(document.get("DiscountPercent") or 0, "DiscountPercent")
    lines: list[Json] = []
    document["DocumentLines"] = lines
    for number, line in enumerate(sent):
        if service:
            made = service_line(db, kind, document, line, number)
        else:
            made = item_line(db, kind, document, line, number, day)
        set_amounts(db, kind, document, made, line, day, rate, discount)
        lines.append(made)
    _require_branch(db, document, "BPL_IDAssignedToInvoice", kind, lines)
    document["DocumentAdditionalExpenses"] = freight_rows(db, kind, document, day, rate)
    set_totals(db, document, rate, discount)
    if kind.number in (59, 60):
        document["DocumentStatus"] = "bost_Close"


def _check_references(db: Database, document: Json) -> None:
    for reference in document.get("DocumentReferences") or ():
        kind_name, entry = reference.get("RefObjType"), reference.get("RefDocEntr")
        number = REFERENCE_TYPES.get(str(kind_name))
        if number is None:
            if kind_name in ("rot_ExternalDocument", None):
                continue
            number = int(kind_name) if str(kind_name).isdigit() else 0
        kind = KIND_BY_NUMBER.get(number)
        if kind is None:
            raise RefusedError(-1000, f"Enumeration value '{kind_name}' of 'RefObjType' is invalid")
        if read_integer(entry, "RefDocEntr") not in db.documents[kind.entity]:
            raise RefusedError(-2028, "No matching records found (ODBC -2028)  [DocumentReferences.RefDocEntr]")


def _require_branch(db: Database, document: Json, name: str, kind: DocumentKind, lines: Iterable[Json]) -> None:
    if not db.rules.multi_branch:
        return
    branch = document.get(name)
    if branch is None:
        raise RefusedError(-5002, f"Specify an active branch{column('O' + kind.table, 'BPLId')}")
    for number, line in enumerate(lines):
        for place in ("WarehouseCode", "FromWarehouseCode"):
            code = line.get(place)
            if code and db.masters["Warehouses"][code]["BusinessPlaceID"] != read_integer(branch, name):
                text = f"Warehouse '{code}' is not assigned to the document's branch"
                raise RefusedError(-5002, text + column(kind.table + "1", "WhsCode", number))
