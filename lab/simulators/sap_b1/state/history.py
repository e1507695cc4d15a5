"""The company's history for a checker, as JSON: quantities and amounts are decimal text."""

from heapq import nsmallest

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KIND_BY_ENUM, KINDS, DocumentKind
from lab.simulators.sap_b1.state.messages import Json
from lab.simulators.sap_b1.state.metadata import CLAIM_TABLE
from lab.simulators.sap_b1.state.values import plain


def _plain_document(kind: DocumentKind, document: Json) -> Json:
    place = {"sequence": document.get("_sequence"), "committed_at": document.get("_committed_at")}
    return {"entity": kind.entity, "object": kind.number, **place, **plain(document)}


def documents_after(db: Database, after: int, limit: int) -> list[Json]:
    """So many documents that were committed after the one with that `sequence`, in this order, as `ledger` has them."""
    later = [
        (document["_sequence"], kind, document)
        for kind in KINDS.values()
        for document in db.documents[kind.entity].values()
        if document["_sequence"] > after
    ]
    return [_plain_document(kind, document) for _, kind, document in nsmallest(limit, later, key=lambda each: each[0])]


def ledger(db: Database, *, with_documents: bool = True) -> Json:
    """The company's history for a checker, as JSON: every quantity and amount is decimal text."""
    documents = [
        _plain_document(kind, document)
        for kind in KINDS.values()
        for _, document in sorted(db.documents[kind.entity].items())
        if with_documents
    ]
    drafts = [
        _plain_document(KIND_BY_ENUM[draft["DocObjectCode"]], draft)
        for _, draft in sorted(db.documents["Drafts"].items())
    ]
    names = ("item", "warehouse", "quantity", "object", "entry", "line", "batch", "serial", "at")
    return {
        "company": db.name,
        "documents": documents,
        "drafts": drafts,
        "claims": [plain(row) for _, row in sorted(db.tables.get(CLAIM_TABLE, {}).items())],
        "user_tables": {
            table: [plain(row) for _, row in sorted(rows.items())]
            for table, rows in db.tables.items()
            if table != CLAIM_TABLE
        },
        "on_hand": [
            {"item": item, "warehouse": warehouse, "quantity": plain(quantity)}
            for (item, warehouse), quantity in sorted(db.stock.items())
        ],
        "committed": [
            {"item": item, "warehouse": warehouse, "quantity": plain(quantity)}
            for (item, warehouse), quantity in sorted(db.committed.items())
            if quantity
        ],
        "batches": [
            {"item": item, "warehouse": warehouse, "batch": batch, "quantity": plain(quantity)}
            for (item, warehouse, batch), quantity in sorted(db.batches.items())
        ],
        "serials": [
            {"item": item, "serial": serial, "warehouse": warehouse}
            for (item, serial), warehouse in sorted(db.serials.items(), key=lambda entry: entry[0])
        ],
        "movements": [dict(zip(names, (plain(value) for value in movement), strict=True)) for movement in db.movements],
        "numbers": dict(sorted(db.numbers.items())),
        "locks": dict(sorted(db.locks.items())),
        "counters": dict(db.counters),
    }
