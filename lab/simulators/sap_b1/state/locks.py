"""Which rows a change set occupies, and who waits for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KIND_BY_NUMBER, KINDS, DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError, Request
from lab.simulators.sap_b1.state.paths import split_path


@dataclass(frozen=True, slots=True)
class Work:
    """What a change set will occupy: items whose rows it writes, keys of claim rows, lines, documents, other writes."""

    items: frozenset[str]
    keys: frozenset[str]
    lines: int
    documents: int
    rows: int


def lock_cause(name: str, owner: str) -> Literal["own", "people", "claim"]:
    """Why somebody waits: for our own other request, for a person, or for the key of a claim row."""
    if owner.startswith("people:"):
        return "people"
    return "claim" if name.startswith("U_") and "/" in name else "own"


def work_of(db: Database, requests: Sequence[Request]) -> Work:
    """What a change set will occupy while it is in service; never refuses."""
    items: set[str] = set()
    keys: set[str] = set()
    lines = documents = rows = 0
    for request in requests:
        body = request.body if isinstance(request.body, Mapping) else {}
        try:
            entity, key, tail = split_path(request.path)
        except RefusedError:
            continue
        kind = KINDS.get(entity)
        if kind is None:
            rows += 1
            if entity in db.tables and request.method == "POST":
                keys.add(f"{entity}/{body.get('Code')}")
            continue
        documents += 1
        if key is None:
            sent = body.get(kind.lines)
            for line in sent if isinstance(sent, list) else ():
                lines += 1
                if isinstance(line, Mapping) and (item := _moved_item(db, kind, line)) is not None:
                    items.add(item)
            continue
        document = db.documents[kind.entity].get(key) if isinstance(key, int) else None
        if document is not None and (tail or kind.lines in body):
            lines += len(document[kind.lines])
            if kind.number != 17 or db.rules.orders_lock_items:
                items.update(line["ItemCode"] for line in document[kind.lines] if line.get("ItemCode"))
    return Work(frozenset(items), frozenset(keys), lines, documents, rows)


def _moved_item(db: Database, kind: DocumentKind, line: Mapping[str, Any]) -> str | None:
    base: Json | None = None
    number = line.get("BaseType")
    if number in (13, 15, 17) and not kind.transfer:
        entry, index = line.get("BaseEntry"), line.get("BaseLine")
        document = db.documents[KIND_BY_NUMBER[number].entity].get(entry) if isinstance(entry, int) else None
        if document is not None and isinstance(index, int) and 0 <= index < len(document["DocumentLines"]):
            base = document["DocumentLines"][index]
    if kind.number == 17 and not db.rules.orders_lock_items:
        return None
    if (kind.number == 13 and number == 15) or line.get("WithoutInventoryMovement") == "tYES":
        return None
    item = line.get("ItemCode") or (base or {}).get("ItemCode")
    return item if isinstance(item, str) else None


def locked_error(db: Database) -> RefusedError:
    """The refusal for a locked record, as `Rules.locked_code` has it."""
    if db.rules.locked_code == -2035:
        return RefusedError(-2035, "Object locked by another user (ODBC -2035)")
    text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
    return RefusedError(db.rules.locked_code, text)


def refuse_locked(db: Database, work: Work, holder: str | None) -> None:
    for name in (*work.items, *work.keys):
        owner = db.locks.get(name)
        if owner is not None and owner != holder:
            db.counters[f"lock_refusals_{lock_cause(name, owner)}"] += 1
            raise locked_error(db)
