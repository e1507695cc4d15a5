"""One company database: what its Service Layer accepts, refuses and books. Pure, synchronous, no I/O.

Written from the Service Layer user guide (v1.22 of 2021, v1.29 of 2026), SAP's metadata and published live notes, read
2026-11. Where public sources are silent, the choice is a switch in `Rules` and says so. Answers have the shape of
`/b1s/v2`; `wire` turns them into `/b1s/v1`.

Bodies are plain JSON dictionaries; numbers are `int` or `Decimal` (or text, as SAP's samples send them), never floats.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state import change_sets, history, locks, queries
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.documents import pay_invoice
from lab.simulators.sap_b1.state.master_data import install_claims, load_master_data
from lab.simulators.sap_b1.state.messages import Json, Key, LedgerAnswer, RefusedError, Request
from lab.simulators.sap_b1.state.rules import Rules
from lab.simulators.sap_b1.state.values import ZERO


class Company:
    """One company database.

    Fill it with `load`, post with `apply`, query with `read`; `ledger` is its history for a checker. One thread.
    """

    def __init__(
        self,
        name: str = "SBO_DEMO",
        *,
        clock: Callable[[], datetime],
        rules: Rules | None = None,
        with_claims: bool = False,
        master_data: Mapping[str, Any] | None = None,
    ) -> None:
        """Make an empty company.

        Args:
            name: Its CompanyDB.
            clock: The company's local time, read for default dates and time stamps.
            rules: Its settings; may be replaced at any time by assigning `rules`.
            with_claims: Whether the table `U_STREAMS_CLAIM` and our user fields exist from the start.
            master_data: Loaded at once, see `load`.
        """
        self._db = Database(name, clock, rules or Rules())
        if with_claims:
            install_claims(self._db)
        if master_data is not None:
            load_master_data(self._db, master_data)

    @property
    def name(self) -> str:
        """Its CompanyDB."""
        return self._db.name

    @property
    def clock(self) -> Callable[[], datetime]:
        """The company's local time."""
        return self._db.clock

    @property
    def rules(self) -> Rules:
        """Its settings."""
        return self._db.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._db.rules = rules

    @property
    def counters(self) -> dict[str, int | float]:
        """Calls, change sets, documents, waits for locks, logins; whoever serves the company adds to them."""
        return self._db.counters

    def load(self, data: Mapping[str, Any]) -> None:
        """Add or change master data, past every rule; see `master_data.load_master_data`."""
        load_master_data(self._db, data)

    def pay(self, doc_entry: int) -> None:
        """A person books the payment of an invoice: it is closed, its lines keep their open quantities."""
        pay_invoice(self._db, doc_entry)

    def backup(self) -> Mapping[str, Any]:
        """The whole company as it is now, for `restore`."""
        return self._db.backup()

    def restore(self, image: Mapping[str, Any]) -> None:
        """Bring a backup back: what was posted since is gone, its numbers are given again."""
        self._db.restore(image)

    # Locks: who serves the company takes them around `apply`.

    def lock(self, item: str, holder: str) -> bool:
        """Take an item; False if another holds it. A person's holder name begins with `people:`."""
        return self._db.locks.setdefault(item, holder) == holder

    def unlock(self, item: str, holder: str) -> None:
        """Give an item back; harmless if the holder does not hold it."""
        if self._db.locks.get(item) == holder:
            del self._db.locks[item]

    def holder(self, item: str) -> str | None:
        """Who holds an item."""
        return self._db.locks.get(item)

    def locked_error(self) -> RefusedError:
        """The refusal for a locked record, as `Rules.locked_code` has it."""
        return locks.locked_error(self._db)

    def work(self, requests: Sequence[Request]) -> locks.Work:
        """What a change set will occupy while it is in service; never refuses."""
        return locks.work_of(self._db, requests)

    # Requests.

    def apply(self, requests: Sequence[Request], holder: str | None = None) -> list[LedgerAnswer]:
        """Run one change set (or one request on its own), atomically; see `change_sets.apply`."""
        return change_sets.apply(self._db, requests, holder)

    def read(
        self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> LedgerAnswer:
        """Answer a GET; see `queries.read`."""
        return queries.read(self._db, path, params or {}, headers or {})

    # For a checker.

    def on_hand(self, item: str, warehouse: str) -> Decimal:
        """What is in stock, in inventory units."""
        return self._db.stock.get((item, warehouse), ZERO)

    def rows(self, entity: str) -> Mapping[Key, Json]:
        """The rows of an entity set or user table as they are kept, by key; not to be changed."""
        return self._db.rows(entity)

    @property
    def sequence(self) -> int:
        """Documents committed so far: the `sequence` of the last one."""
        return self._db.numbers.get("sequence", 0)

    def documents(self, after: int, limit: int) -> list[Json]:
        """So many documents that were committed after the one with that `sequence`, in this order."""
        return history.documents_after(self._db, after, limit)

    def ledger(self, *, with_documents: bool = True) -> Json:
        """The company's history, as JSON: every quantity and amount is decimal text."""
        return history.ledger(self._db, with_documents=with_documents)
