"""What the proof looks at: ledger, dead letters, terms."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from lab.proof.dead_letters import DeadLetterSeen, flow_of
from lab.proof.terms import Terms


class Evidence:
    """What the proof looks at.

    Attributes:
        ledger: The simulator's ledger.
        documents: Entity set -> documents; cancelled ones and their mirrors are left out.
        letters: All dead letters; `by_bytes` and `by_event` (flow, event id) find them.
        terms: What the company agreed.
    """

    def __init__(self, ledger: Mapping[str, Any], letters: Sequence[DeadLetterSeen], terms: Terms) -> None:
        self.ledger = ledger
        self.letters = letters
        self.terms = terms
        self.by_bytes: dict[bytes, list[DeadLetterSeen]] = defaultdict(list)
        self.by_event: dict[tuple[str, str], list[DeadLetterSeen]] = defaultdict(list)
        for letter in letters:
            self.by_bytes[letter.value.strip()].append(letter)
            for event_id in letter.event_ids:
                self.by_event[flow_of(letter), event_id].append(letter)
        self.documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for document in ledger["documents"]:
            if document.get("Cancelled") != "tYES" and document.get("CancelStatus") != "csCancellation":
                self.documents[document["entity"]].append(document)
        self._zone = ZoneInfo(terms.timezone)

    def place(self, event: Mapping[str, Any], location: str | None) -> str:
        """The WhsCode of a location; where none is named, the connector's default."""
        if location is None:
            return self.terms.default_places.get(event["source"], f"?{event['source']}")
        return self.terms.places.get(location, f"?{location}")

    def day(self, event: Mapping[str, Any]) -> str:
        """The local day on which an event is posted."""
        return datetime.fromisoformat(event["occurred_at"]).astimezone(self._zone).date().isoformat()
