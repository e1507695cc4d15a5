"""The rows of a company: one place for all state, with a journal that takes a failed change set back."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from lab.simulators.sap_b1.state.kinds import KINDS
from lab.simulators.sap_b1.state.messages import Json, Key, RefusedError
from lab.simulators.sap_b1.state.metadata import INDEXED, LENGTHS, MASTERS, PARTS, READ_ONLY, property_names
from lab.simulators.sap_b1.state.rules import Period, Rules
from lab.simulators.sap_b1.state.values import day_stamp, utf16_units

MISSING: Final = object()
#: What `$select` answers with instead of an ETag (live note, 2511).
WRONG_ETAG: Final = f'W/"{hashlib.sha1(b"", usedforsecurity=False).hexdigest().upper()}"'
_BACKED_UP: Final = (
    "documents",
    "tables",
    "masters",
    "stock",
    "committed",
    "batches",
    "serials",
    "numbers",
    "versions",
    "movements",
    "index",
    "properties",
    "lengths",
    "valid_values",
    "defaults",
    "periods",
    "rates",
    "frozen",
)


class Database:
    """All that a company knows.

    Change rows through `set`, `remove` and `append` only: each leaves an entry in the journal, and `rollback` takes the
    changes back. Whoever has finished a change set clears the journal.
    """

    def __init__(self, name: str, clock: Callable[[], datetime], rules: Rules) -> None:
        self.name = name
        self.clock = clock
        self.rules = rules
        self.periods: list[Period] = []
        self.frozen: set[tuple[str, str]] = set()  # (item, warehouse): in a stock count with Freeze
        self.rates: dict[str, list[tuple[date, Decimal]]] = {}
        self.counters: dict[str, int | float] = dict.fromkeys(
            (
                "calls",
                "reads",
                "change_sets",
                "document_sets",
                "previews",
                "refused",
                "documents",
                "lock_waits_own",
                "lock_waits_people",
                "lock_waits_claim",
                "lock_wait_own_s",
                "lock_wait_people_s",
                "lock_wait_claim_s",
                "lock_refusals_own",
                "lock_refusals_people",
                "lock_refusals_claim",
                "logins",
                "login_failures",
                "logouts",
                "sessions_open",
                "sessions_high_water",
            ),
            0,
        )
        self.documents: dict[str, dict[int, Json]] = {entity: {} for entity in (*KINDS, "Drafts")}
        self.tables: dict[str, dict[str, Json]] = {}
        self.masters: dict[str, dict[Key, Json]] = {entity: {} for entity in MASTERS}
        self.stock: dict[tuple[str, str], Decimal] = {}
        self.committed: dict[tuple[str, str], Decimal] = {}
        self.batches: dict[tuple[str, str, str], Decimal] = {}
        self.serials: dict[tuple[str, str], str | None] = {}
        self.numbers: dict[str, int] = {}
        self.versions: dict[tuple[str, Key], int] = {}
        self.movements: list[tuple[str, str, Decimal, int, int, int, str | None, str | None, str]] = []
        self.index: dict[tuple[str, str, str], dict[int, None]] = {}
        self.properties: dict[str, frozenset[str]] = dict(property_names())
        self.lengths: dict[str, dict[str, int]] = {name: dict(sizes) for name, sizes in LENGTHS.items()}
        self.valid_values: dict[str, dict[str, frozenset[str]]] = {}
        self.defaults: dict[str, Json] = {}
        self.locks: dict[str, str] = {}
        self.journal: list[tuple[Any, Any, Any]] = []
        self.today = clock().date()

    def rows(self, entity: str) -> Mapping[Key, Json]:
        """The rows of an entity set or user table, by key."""
        rows: Mapping[Any, Json] | None = (
            self.documents.get(entity) or self.tables.get(entity) or self.masters.get(entity)
        )
        if rows is None and entity not in self.documents and entity not in self.tables and entity not in MASTERS:
            raise RefusedError(-1000, f"Unrecognized resource path '{entity}'", 404)
        return rows or {}

    def found(self, entity: str, key: Key) -> Json:
        """A row that has to be there."""
        row = self.rows(entity).get(key)
        if row is None:
            raise RefusedError(-2028, f"Entity with value('{key}') does not exist", 404)
        return row

    def check(self, type_name: str, body: Mapping[str, Any]) -> None:
        """Refuse what the type does not have, what is too long, what is not in a list of valid values."""
        allowed = self.properties[type_name]
        if not body.keys() <= allowed:
            name = next(name for name in body if name not in allowed)
            raise RefusedError(-1000, f"Property '{name}' of '{type_name}' is invalid")
        lengths = self.lengths.get(type_name)
        if lengths:
            for name in lengths.keys() & body.keys():
                value = body[name]
                if value is not None and (not isinstance(value, str) or utf16_units(value) > lengths[name]):
                    what = "Value too long in" if isinstance(value, str) else "Text expected in"
                    raise RefusedError(-1003, f"{what} property '{name}' of '{type_name}'")
        valid = self.valid_values.get(type_name)
        if valid:
            for name in valid.keys() & body.keys():
                if body[name] not in valid[name]:
                    raise RefusedError(-1004, f"'{body[name]}' is not a valid value for field '{name}'")
        for part, part_type in PARTS.get(type_name, {}).items():
            if part in body:
                members = body[part]
                if members is None:
                    continue
                for member in members if isinstance(members, list) else [members]:
                    if not isinstance(member, Mapping):
                        raise RefusedError(-1000, f"Invalid value of property '{part}' of '{type_name}'")
                    self.check(part_type, member)

    def with_defaults(self, type_name: str, sent: Mapping[str, Any]) -> Json:
        """What was sent without what is read-only, on top of the user fields' defaults."""
        read_only = READ_ONLY[type_name]
        fresh = dict(self.defaults.get(type_name, ()))
        fresh.update((name, value) for name, value in sent.items() if name not in read_only)
        return fresh

    def etag(self, entity: str, key: Key) -> str:
        """The ETag of a row: it changes with every change."""
        version = str(self.versions.get((entity, key), 0)).encode()
        return f'W/"{hashlib.sha1(version, usedforsecurity=False).hexdigest().upper()}"'

    def touch(self, entity: str, key: Key) -> None:
        """A row has changed: it gets another ETag, and a document or an item the date and time of it."""
        self.set(self.versions, (entity, key), self.versions.get((entity, key), 0) + 1)
        if entity in KINDS or entity == "Items":
            now, row = self.clock(), self.rows(entity)[key]
            self.set(row, "UpdateDate", day_stamp(now.date()))
            # SAP's type of a transfer has no time of a change
            if entity != "StockTransfers":
                self.set(row, "UpdateTime", now.strftime("%H:%M:%S"))

    def index_document(self, entity: str, document: Json) -> None:
        """Put a document into the index of its reference fields."""
        for name, value in document.items():
            if value is not None and (name in INDEXED or name.startswith("U_")):
                self._put(entity, name, str(value), document["DocEntry"])

    def reindex(self, entity: str, document: Json, name: str, value: object) -> None:
        """A reference field of an indexed document gets another value, or none."""
        if name in INDEXED or name.startswith("U_"):
            slot = self.index.get((entity, name, str(document.get(name))))
            if slot is not None and document["DocEntry"] in slot:
                self.remove(slot, document["DocEntry"])
            if value is not None:
                self._put(entity, name, str(value), document["DocEntry"])

    def _put(self, entity: str, name: str, value: str, entry: int) -> None:
        slot = self.index.get((entity, name, value))
        if slot is None:
            slot = {}
            self.set(self.index, (entity, name, value), slot)
        self.set(slot, entry, None)

    def set(self, mapping: Any, key: Any, value: Any) -> None:
        """`mapping[key] = value`, in a way that can be taken back."""
        self.journal.append((mapping, key, mapping.get(key, MISSING)))
        mapping[key] = value

    def remove(self, mapping: Any, key: Any) -> None:
        """`del mapping[key]`, in a way that can be taken back."""
        self.journal.append((mapping, key, mapping[key]))
        del mapping[key]

    def append(self, rows: list[Any], row: Any) -> None:
        """`rows.append(row)`, in a way that can be taken back."""
        self.journal.append((rows, MISSING, None))
        rows.append(row)

    def rollback(self, mark: int = 0) -> None:
        """Take back every change since the journal had `mark` entries."""
        journal = self.journal
        while len(journal) > mark:
            target, key, old = journal.pop()
            if key is MISSING:
                target.pop()
            elif old is MISSING:
                del target[key]
            else:
                target[key] = old

    def backup(self) -> Mapping[str, Any]:
        """The whole company as it is now, for `restore`."""
        return copy.deepcopy({name: getattr(self, name) for name in _BACKED_UP})

    def restore(self, image: Mapping[str, Any]) -> None:
        """Bring a backup back: what was posted since is gone, its numbers are given again."""
        for name, value in copy.deepcopy(dict(image)).items():
            setattr(self, name, value)
        self.journal.clear()
