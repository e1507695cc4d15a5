"""Our block of the notification procedure (`docs/guard-procedure.md`), as B1 would run it: one document a key."""

from collections.abc import Mapping
from typing import Any, Final

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KINDS
from lab.simulators.sap_b1.state.messages import Json, RefusedError

_SECOND: Final = "(20201) b1-streams guard: a document of this U_STREAMS_KEY exists"
_WITHDRAWN: Final = "(20202) b1-streams guard: the claim of this U_STREAMS_KEY is withdrawn"
_PROBE: Final = "(20203) b1-streams guard: at work"


def refuse_second(db: Database, entity: str, document: Json) -> None:
    """Refuse a new document whose key another one of its entity sets carries, or whose claims are all withdrawn."""
    key = document.get("U_STREAMS_KEY")
    if key is None:
        return
    stock = KINDS[entity].partner is False
    for other in [name for name, kind in KINDS.items() if kind.partner is False] if stock else [entity]:
        for entry in db.index.get((other, "U_STREAMS_KEY", key), {}):
            row = db.documents[other][entry]
            if row is not document and row.get("CancelStatus") != "csCancellation":
                raise RefusedError(-5002, _SECOND)
    states = [
        row.get("U_STATE")
        for code, row in db.tables.get("U_STREAMS_CLAIM", {}).items()
        if code == key or code.startswith(f"{key}.")
    ]
    if states and not any(state in ("posted", "intent") for state in states):
        raise RefusedError(-5002, _WITHDRAWN)


def refuse_probe(draft: Mapping[str, Any]) -> None:
    """Refuse the draft by which the doctor asks whether the block is there."""
    if str(draft.get("U_STREAMS_KEY")).startswith("proof-"):
        raise RefusedError(-5002, _PROBE)
