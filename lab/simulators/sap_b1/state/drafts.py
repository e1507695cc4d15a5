"""Previews, and drafts that an approval procedure makes."""

from collections.abc import Mapping
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.documents import create_document
from lab.simulators.sap_b1.state.kinds import KINDS, DocumentKind
from lab.simulators.sap_b1.state.messages import Json
from lab.simulators.sap_b1.state.views import view_of


def preview(db: Database, kind: DocumentKind, body: Mapping[str, Any]) -> Json:
    mark = len(db.journal)
    shown = view_of(db, kind.entity, create_document(db, kind, body))
    db.rollback(mark)
    shown["DocEntry"] = shown["DocNum"] = 0
    return shown


def keep_draft(db: Database, entity: str, body: Mapping[str, Any]) -> int:
    """Make a draft; its DocEntry."""
    kind = KINDS[entity]
    entry = db.numbers.get("Drafts", 0) + 1
    draft = preview(db, kind, body)
    draft.update(
        DocEntry=entry,
        DocNum=entry,
        DocObjectCode=kind.enum,
        DocumentStatus="bost_Open",
        AuthorizationStatus="dasPending",
        _sent=dict(body),
    )
    db.set(db.numbers, "Drafts", entry)
    db.set(db.documents["Drafts"], entry, draft)
    db.touch("Drafts", entry)
    db.index_document("Drafts", draft)
    return entry
