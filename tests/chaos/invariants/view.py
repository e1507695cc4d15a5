"""A run as the invariants look at it: facts, letters, claims, documents, lines."""

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.chaos.evidence import FACTS, STATES, Evidence, Record, decode
from tests.chaos.generator import Line
from tests.chaos.invariants.verdict import Discrepancy

COMPANY = "acme"
ZERO = Decimal(0)
OPEN_STATES = {"dead": "dead", "parked": "parked", "held": "parked"}
#: What a state counts as, where that is not for B1's books to say: `posted` and `replayed` are looked for there.
COUNTED_AS = {**OPEN_STATES, "no_op": "no_op", "discarded": "no_op"}
ENDS = ("posted", "no_op", "parked", "dead")
Fact = tuple[str, int, int]


def key_of(kind: str, source: str, *parts: str) -> str:
    """K by the design's words (section 3)."""
    text = json.dumps(["v1", COMPANY, kind, source, *parts], ensure_ascii=False, separators=(",", ":"))
    return f"{kind}-{base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:26]}"


@dataclass(slots=True)
class AcceptedEpoch:
    offset: int
    partition: int
    body: dict[str, Any]


@dataclass(slots=True)
class LetterSeen:
    """One dead letter, as the records of `dead-letter-state` tell it."""

    first_offset: int
    state: dict[str, Any]
    written: int = 0


@dataclass(slots=True)
class LineSeen:
    """The facts of one token."""

    line: Line
    written: int = 0
    facts: list[Fact] = field(default_factory=list)


def first_offset(letter: LetterSeen | None) -> int | None:
    return None if letter is None else letter.first_offset


def token_of(event: Mapping[str, Any]) -> str:
    return str(event.get("note") or event.get("reason") if "shipment_id" not in event else event["tracking_numbers"][0])


def identity_of(place: Fact, event: Mapping[str, Any]) -> tuple[str, ...]:
    own: tuple[str, ...]
    match place[0]:
        case "order-placed":
            own = (event["order_id"],)
        case "dispatch-confirmed":
            own = (event["shipment_id"],)
        case "refund-issued":
            own = (event["refund_id"],)
        case "stock-adjusted":
            own = (event["event_id"], event["sku"], event["location"])
        case _:
            own = (event["event_id"],)
    return (place[0], event["source"], *own)


def place_name(place: Fact) -> str:
    return "/".join(map(str, place))


class View:
    """Everything that the invariants read, and what they have found (`report`)."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.wrong: list[Discrepancy] = []
        self.ends: dict[str, Counter[str]] = defaultdict(Counter)
        self.end_of_fact: dict[Fact, str] = {}
        ledger = evidence.ledger
        # Of several attempts (K, K.1, ...) the one that stands
        mine = [claim for claim in ledger["claims"] if claim.get("U_KIND") != "proof"]
        rows = sorted(mine, key=lambda claim: claim.get("U_STATE") != "void")
        self.claims = {claim["Code"].partition(".")[0]: claim for claim in rows}
        self.documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for document in ledger["documents"]:
            if document.get("CancelStatus") != "csCancellation":
                self.documents[str(document.get("U_STREAMS_KEY") or "")].append(document)
        self.letters: dict[str, LetterSeen] = {}
        for record in evidence.records[STATES]:
            if not record.value:  # withdrawn, or the mark with which a poster begins
                self.letters.pop(record.key.decode(), None)
                continue
            state = decode("letter_state", record.value)
            letter = self.letters.setdefault(state["id"], LetterSeen(record.offset, state))
            letter.state = state
        self.letter_of_fact = {
            (one.state["topic"], one.state["partition"], one.state["offset"]): one
            for one in self.letters.values()
            if one.state["event_type"] != "stock_batch"
        }
        self.letter_of_k: dict[str, list[LetterSeen]] = defaultdict(list)
        for one in self.letters.values():
            if one.state["k"]:
                self.letter_of_k[one.state["k"]].append(one)
        self.facts: dict[Fact, dict[str, Any]] = {
            (record.topic, record.partition, record.offset): decode(topic.replace("-", "_"), record.value)
            for topic in FACTS
            for record in evidence.records[topic]
        }
        self.lines: dict[str, LineSeen] = {}
        for line in evidence.lines:
            self.lines.setdefault(line.token, LineSeen(line)).written += 1
        self.invoices = {
            key_of("dispatch_confirmed", event["source"], event["shipment_id"]): key_of(
                "invoice", event["source"], event["shipment_id"]
            )
            for place, event in self.facts.items()
            if place[0] == "dispatch-confirmed"
        }
        self.expected_ks: set[str] = set()
        self.epochs: dict[int, list[AcceptedEpoch]] = {}  # that the chain accepts, by partition
        self.queued: dict[tuple[int, int, int], str] = {}  # partition, offset and index of a batch -> K
        self.stock_ks: dict[str, list[Record]] = defaultdict(list)
        self.standing: dict[str, list[str]] = defaultdict(list)  # K of a batch -> documents in B1
        self.members: dict[tuple[int, int], tuple[dict[str, Any], str | None]] = {}
        self.skipped: dict[tuple[int, int], dict[str, Any]] = {}
        self.moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)

    def report(self, invariant: str, where: str, expected: object, found: object) -> None:
        self.wrong.append(Discrepancy(invariant, where, str(expected), str(found)))
