"""Close and cancel."""

from lab.simulators.sap_b1.state.base_documents import base_line, close_line, give_back, require_open
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.documents import save_document
from lab.simulators.sap_b1.state.kinds import KINDS, DocumentKind
from lab.simulators.sap_b1.state.messages import Json, Key, LedgerAnswer, RefusedError
from lab.simulators.sap_b1.state.stock import book
from lab.simulators.sap_b1.state.views import view_of


def act(db: Database, entity: str, key: Key | None, action: str) -> LedgerAnswer:
    kind = KINDS.get(entity)
    if kind is None or key is None:
        raise RefusedError(-5006, "The requested action is not supported for this object.")
    document = db.found(entity, key)
    if action == "Close" and not kind.transfer and kind.number not in (59, 60):
        require_open(db, document)
        for line in document["DocumentLines"]:
            close_line(db, kind, line)
        db.set(document, "DocumentStatus", "bost_Close")
    elif action == "Cancel" and kind.number == 17:
        require_open(db, document)
        if any(line["RemainingOpenQuantity"] != line["Quantity"] for line in document["DocumentLines"]):
            raise RefusedError(-10, "Document cannot be cancelled: it was copied to target documents")
        for line in document["DocumentLines"]:
            close_line(db, kind, line)
        db.set(document, "DocumentStatus", "bost_Close")
        db.set(document, "Cancelled", "tYES")
        db.set(document, "CancelStatus", "csYes")
    elif action in ("Cancel", "CreateCancellationDocument") and kind.number != 17:
        mirror = _cancel_posted(db, kind, document)
        if action != "Cancel":
            return LedgerAnswer(200, view_of(db, entity, mirror))
    else:
        raise RefusedError(-5006, "The requested action is not supported for this object.")
    db.touch(entity, key)
    return LedgerAnswer(204)


def _cancel_posted(db: Database, kind: DocumentKind, document: Json) -> Json:
    """Cancel a posted document: a document of its own turns every effect round."""
    if document["Cancelled"] == "tYES" or document["CancelStatus"] == "csCancellation":
        raise RefusedError(-10, "Document is already cancelled")
    if kind.partner:
        require_open(db, document)
        if any(line["RemainingOpenQuantity"] != line["Quantity"] for line in document["DocumentLines"]):
            raise RefusedError(-10, "Document cannot be cancelled: it was copied to target documents")
    entry = db.numbers[kind.entity] + 1
    mirror = {**document, "DocEntry": entry, "DocNum": kind.number * 100_000 + entry}
    mirror.update(CancelStatus="csCancellation", DocumentStatus="bost_Close")
    mirror[kind.lines] = [
        {
            **line,
            "DocEntry": entry,
            "LineStatus": "bost_Close",
            "BaseType": kind.number,
            "BaseEntry": document["DocEntry"],
            "BaseLine": line["LineNum"],
        }
        for line in document[kind.lines]
    ]
    for code, warehouse, change, number, origin, line_number, batch, serial, _ in list(db.movements):
        if number == kind.number and origin == document["DocEntry"]:
            item = db.masters["Items"][code]
            book(db, kind, mirror, item, warehouse, -change, batch, serial, line_number)
    for line in document[kind.lines]:
        base = base_line(db, line) if kind.bases else None
        if base is not None:
            give_back(db, line, base)
        db.set(line, "LineStatus", "bost_Close")
    db.set(db.numbers, kind.entity, entry)
    save_document(db, kind, mirror)
    db.set(document, "Cancelled", "tYES")
    db.set(document, "CancelStatus", "csYes")
    db.set(document, "DocumentStatus", "bost_Close")
    return mirror
