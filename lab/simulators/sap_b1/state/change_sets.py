"""Change sets: each applied whole or not at all."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.simulators.sap_b1.state.actions import act
from lab.simulators.sap_b1.state.changes import patch_document
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.documents import create_document
from lab.simulators.sap_b1.state.drafts import keep_draft, preview
from lab.simulators.sap_b1.state.guard import refuse_probe, refuse_second
from lab.simulators.sap_b1.state.kinds import KIND_BY_ENUM, KINDS
from lab.simulators.sap_b1.state.locks import refuse_locked, work_of
from lab.simulators.sap_b1.state.master_data import create_master, patch_master
from lab.simulators.sap_b1.state.messages import (
    DraftedError,
    Json,
    Key,
    LedgerAnswer,
    NodeDiedError,
    RefusedError,
    Request,
)
from lab.simulators.sap_b1.state.metadata import MASTERS
from lab.simulators.sap_b1.state.paths import key_text, resolve_reference, split_path
from lab.simulators.sap_b1.state.services import call_service
from lab.simulators.sap_b1.state.user_tables import create_row
from lab.simulators.sap_b1.state.views import view_of, view_of_master


def apply(db: Database, requests: Sequence[Request], holder: str | None = None) -> list[LedgerAnswer]:
    """Run one change set (or one request on its own), atomically unless `Rules.atomic_change_sets` says otherwise.

    Args:
        db: The company.
        requests: in order; a later one may name an earlier one's entity as `$<content_id>`.
        holder: who asks; an item locked by another makes the set fail as locked.

    Returns:
        One answer per request, or, if one failed, exactly one answer: its refusal. Then nothing has happened (but
        for the draft that an approval procedure may leave, see `Rules.approval_keeps_draft`).
    """
    counters = db.counters
    counters["calls"] += 1
    counters["change_sets"] += 1
    documents = counters["documents"]
    db.today = db.clock().date()
    answers: list[LedgerAnswer] = []
    made: dict[str, str] = {}
    try:
        if db.locks:
            refuse_locked(db, work_of(db, requests), holder)
        for request in requests:
            answer = _run(db, request, made, alone=len(requests) == 1)
            answers.append(answer)
            if not db.rules.atomic_change_sets:
                db.journal.clear()
            if request.content_id is not None and (place := answer.headers.get("Location")):
                made[request.content_id] = place
    except RefusedError as error:
        db.rollback()
        counters["refused"] += 1
        if isinstance(error, DraftedError) and (len(requests) == 1 or db.rules.approval_keeps_draft):
            keep_draft(db, error.entity, error.body)
            db.journal.clear()
        return [error.answer()]
    except BaseException:
        db.rollback()
        raise
    db.journal.clear()
    counters["document_sets"] += counters["documents"] > documents
    return answers


def _run(db: Database, request: Request, made: Mapping[str, str], *, alone: bool) -> LedgerAnswer:
    path = request.path
    if path.lstrip("/").startswith("$") or "/$" in path:
        path = resolve_reference(path, made)
    entity, key, tail = split_path(path)
    method = (
        request.headers.get("x-http-method-override", request.method) if request.method == "POST" else request.method
    )
    body = request.body if request.body is not None else {}
    if not isinstance(body, Mapping):
        raise RefusedError(-1000, "Invalid JSON body")
    if key is not None:
        _match_etag(db, entity, key, request.headers)
    if method == "POST":
        if tail is not None:
            return act(db, entity, key, tail)
        if key is None:
            return _create(db, entity, body, request.headers, alone=alone)
    elif method in ("PATCH", "MERGE") and key is not None and tail is None:
        _patch(db, entity, key, body, request.headers)
        return LedgerAnswer(204)
    elif method == "DELETE" and key is not None and tail is None:
        _delete(db, entity, key)
        return LedgerAnswer(204)
    elif method == "GET":
        raise RefusedError(-1000, "GET is not allowed in a change set")
    raise RefusedError(-5006, "The requested action is not supported for this object.")


def _match_etag(db: Database, entity: str, key: Key, headers: Mapping[str, str]) -> None:
    wanted = headers.get("if-match")
    if wanted not in (None, "*", db.etag(entity, key)):
        text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
        raise RefusedError(-2039, text, 412)


def _create(
    db: Database, entity: str, body: Mapping[str, Any], headers: Mapping[str, str], *, alone: bool
) -> LedgerAnswer:
    silent = "return-no-content" in headers.get("prefer", "")
    place: str
    row: Json | None
    if entity in KINDS:
        kind = KINDS[entity]
        if entity in db.rules.approval:
            preview(db, kind, body)
            if not silent:
                raise DraftedError(entity, body)
            keep_draft(db, entity, body)
            return LedgerAnswer(204, None, {"Preference-Applied": "return-no-content"})
        row = create_document(db, kind, body)
        _notify(db, entity, body, alone=alone)
        if db.rules.guard:
            refuse_second(db, entity, row)
        place, row = f"{entity}({row['DocEntry']})", None if silent else view_of(db, entity, row)
        etag = db.etag(entity, db.numbers[entity])
    elif entity in db.tables:
        code = create_row(db, entity, body)
        place, row, etag = f"{entity}('{code}')", dict(db.tables[entity][code]), db.etag(entity, code)
    elif entity in MASTERS:
        key = create_master(db, entity, body)
        place, row, etag = (
            f"{entity}({key_text(entity, key)})",
            view_of_master(db, entity, key),
            db.etag(entity, key),
        )
    elif entity == "Drafts":
        if db.rules.guard:
            refuse_probe(body)
        entry = keep_draft(db, KIND_BY_ENUM[body["DocObjectCode"]].entity, body)
        place, row, etag = f"Drafts({entry})", {"DocEntry": entry}, db.etag("Drafts", entry)
    else:
        return call_service(db, entity, body)
    result = {"Location": place, "ETag": etag}
    if silent:
        return LedgerAnswer(204, None, {**result, "Preference-Applied": "return-no-content"})
    return LedgerAnswer(
        201, {"@odata.context": f"$metadata#{entity}/$entity", "@odata.etag": etag, **(row or {})}, result
    )


def _notify(db: Database, entity: str, body: Mapping[str, Any], *, alone: bool) -> None:
    """What the customer's notification procedure says to a document that B1 itself would take."""
    for rule in db.rules.notification:
        if rule.entity == entity and (not rule.contains or rule.contains in _text_of(body)):
            if rule.breaks and not alone:
                raise NodeDiedError
            raise RefusedError(-5002, f"({rule.number}) {rule.text}")


def _text_of(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(_text_of(member) for member in value.values())
    return "\n".join(map(_text_of, value)) if isinstance(value, list) else str(value)


def _patch(db: Database, entity: str, key: Key, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    if entity in KINDS:
        patch_document(db, KINDS[entity], key, body, headers)
    elif entity in db.tables:
        row = db.found(entity, key)
        db.check(entity, body)
        for name, value in body.items():
            if name != "Code":
                db.set(row, name, value)
    elif entity in MASTERS and entity not in ("UserTablesMD", "UserFieldsMD", "UserKeysMD"):
        patch_master(db, entity, key, body)
    else:
        raise RefusedError(-5006, "The requested action is not supported for this object.")
    db.touch(entity, key)


def _delete(db: Database, entity: str, key: Key) -> None:
    row = db.found(entity, key)
    if entity == "Drafts" and row["DocumentStatus"] == "bost_Open":
        db.remove(db.documents["Drafts"], key)
        for name in row:
            db.reindex("Drafts", row, name, None)
    elif entity in db.tables:
        db.remove(db.tables[entity], key)
    else:
        raise RefusedError(-5006, "The requested action is not supported for this object.")
