"""The independent checker: what went in against what is in the books, record by record.

It shares nothing with the pipeline: it walks the chains, makes the keys and does the sums by itself, from the design's
words. The numbers I1 to I12 are those of the invariants.
"""

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.chaos.evidence import DOCUMENTS, FACTS, ORDERS, SEALED, STATES, STOCK, Evidence, Place, Record, decode
from tests.chaos.generator import ANY, NO_OP, OPENING, POSTED, Line

COMPANY = "acme"
_ZERO = Decimal(0)
_OPEN = {"dead": "dead", "parked": "parked", "held": "parked"}
#: What a state counts as, where that is not for B1's books to say: `posted` and `replayed` are looked for there.
COUNTED_AS = {**_OPEN, "no_op": "no_op", "discarded": "no_op"}
_DOCUMENT_OF = {"order_placed": "Orders", "dispatch_confirmed": "DeliveryNotes", "refund_issued": "CreditNotes"}
_ENDS = ("posted", "no_op", "parked", "dead")
Fact = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """`invariant`: lost, double, end, units, money, claim, document, letter, offsets, sessions, stop, status or chain."""

    invariant: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.where}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ends` are by flow, in source events; `published_again` are facts that a killed connector wrote twice."""

    discrepancies: tuple[Discrepancy, ...]
    ends: Mapping[str, Mapping[str, int]]
    events: int
    published_again: int
    samples: int

    @property
    def ok(self) -> bool:
        return not self.discrepancies

    def count(self, invariant: str) -> int:
        return sum(1 for one in self.discrepancies if one.invariant == invariant)


def check(evidence: Evidence) -> Verdict:
    """Judge a run."""
    return _Check(evidence).run()


def key_of(kind: str, source: str, *parts: str) -> str:
    """K by the design's words (section 3)."""
    text = json.dumps(["v1", COMPANY, kind, source, *parts], ensure_ascii=False, separators=(",", ":"))
    return f"{kind}-{base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:26]}"


@dataclass(slots=True)
class _Epoch:
    offset: int
    partition: int
    body: dict[str, Any]


@dataclass(slots=True)
class _Letter:
    """One letter, as the records of `dead-letter-state` tell it."""

    first_offset: int
    state: dict[str, Any]
    written: int = 0


@dataclass(slots=True)
class _Seen:
    """The facts of one token."""

    line: Line
    written: int = 0
    facts: list[Fact] = field(default_factory=list)


class _Check:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._wrong: list[Discrepancy] = []
        self._ends: dict[str, Counter[str]] = defaultdict(Counter)
        self._end_of_fact: dict[Fact, str] = {}
        ledger = evidence.ledger
        self._claims = {claim["Code"]: claim for claim in ledger["claims"]}
        self._documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for document in ledger["documents"]:
            if document.get("CancelStatus") != "csCancellation":
                self._documents[str(document.get("U_STREAMS_KEY") or "")].append(document)
        self._letters: dict[str, _Letter] = {}
        for record in evidence.records[STATES]:
            if not record.value:  # withdrawn, or the mark with which a poster begins
                self._letters.pop(record.key.decode(), None)
                continue
            state = decode("letter_state", record.value)
            letter = self._letters.setdefault(state["id"], _Letter(record.offset, state))
            letter.state = state
        self._letter_of_fact = {
            (one.state["topic"], one.state["partition"], one.state["offset"]): one
            for one in self._letters.values()
            if one.state["event_type"] != "stock_batch"
        }
        self._letter_of_k: dict[str, list[_Letter]] = defaultdict(list)
        for one in self._letters.values():
            if one.state["k"]:
                self._letter_of_k[one.state["k"]].append(one)
        self._facts: dict[Fact, dict[str, Any]] = {
            (record.topic, record.partition, record.offset): decode(topic.replace("-", "_"), record.value)
            for topic in FACTS
            for record in evidence.records[topic]
        }
        self._lines: dict[str, _Seen] = {}
        for line in evidence.lines:
            self._lines.setdefault(line.token, _Seen(line)).written += 1
        self._invoices = {
            key_of("dispatch_confirmed", event["source"], event["shipment_id"]): key_of(
                "invoice", event["source"], event["shipment_id"]
            )
            for place, event in self._facts.items()
            if place[0] == "dispatch-confirmed"
        }
        self._expected_ks: set[str] = set()
        self._moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)

    def run(self) -> Verdict:
        self._match_facts()
        self._epochs = {
            partition: self._accepted(records) for partition, records in _by_partition(self._evidence.records[SEALED])
        }
        self._batches()
        first = self._first_of_each()
        for place, event in self._facts.items():
            self._end_of(place, event, first)
        again = self._lines_ended()
        self._money()
        self._units()
        self._claims_and_documents()
        self._letters_all_known()
        self._offsets()
        self._sessions()
        self._status()
        events = sum(seen.written for seen in self._lines.values())
        return Verdict(
            tuple(self._wrong), {flow: dict(ends) for flow, ends in self._ends.items()}, events, again,
            len(self._evidence.samples),
        )  # fmt: skip

    def _say(self, invariant: str, where: str, expected: object, found: object) -> None:
        self._wrong.append(Discrepancy(invariant, where, str(expected), str(found)))

    # ---- what arrived

    def _match_facts(self) -> None:
        for place, event in self._facts.items():
            token = _token(event)
            if token not in self._lines:
                self._say("double", _name(place), "an event of the files", f"token {token}")
                continue
            self._lines[token].facts.append(place)

    def _first_of_each(self) -> dict[tuple[str, ...], Fact]:
        """By source and identity, the occurrence that counts: equal identities lie on one partition, in order."""
        first: dict[tuple[str, ...], Fact] = {}
        for place, event in sorted(self._facts.items()):
            first.setdefault(_identity(place, event), place)
        return first

    # ---- chains (I12)

    def _accepted(self, records: Sequence[Record]) -> list[_Epoch]:
        accepted: list[_Epoch] = []
        digest, end = bytes(16), 0
        for record in records:
            body = decode("sealed_epoch", record.value)
            if body["number"] != len(accepted) or body["prev_digest"] != digest:
                continue
            if accepted and body["start"] != end:
                self._say("chain", f"stock-sealed/{record.partition}/{record.offset}", f"start {end}", body["start"])
            digest, end = hashlib.sha256(record.value).digest()[:16], body["end"]
            accepted.append(_Epoch(record.offset, record.partition, body))
        return accepted

    def _batches(self) -> None:
        """Every batch of accepted epochs: where it was queued, and in which document that stands it lies (I2)."""
        self._queued: dict[tuple[int, int, int], str] = {}
        self._stock_ks: dict[str, list[Record]] = defaultdict(list)
        for record in self._evidence.records[STOCK]:
            posting = decode("posting", record.value)
            self._queued[posting["partition"], posting["offset"], posting["index"]] = posting["k"]
            self._stock_ks[posting["k"]].append(record)
        self._standing: dict[str, list[str]] = defaultdict(list)
        digest, number = bytes(16), 0
        for record in self._evidence.records[DOCUMENTS]:
            if record.partition != 0:
                continue
            body = decode("stock_document", record.value)
            if body["number"] != number or body["prev_digest"] != digest:
                continue
            digest, number = hashlib.sha256(record.value).digest()[:16], number + 1
            if self._documents.get(body["k"]):
                self._expected_ks.add(body["k"])
                for k in body["batch_ks"]:
                    self._standing[k].append(body["k"])
        for k, documents in self._standing.items():
            if len(documents) > 1:
                self._say("double", f"stock batch {k}", "1 document", ", ".join(documents))
        self._members: dict[tuple[int, int], tuple[dict[str, Any], str | None]] = {}
        self._skipped: dict[tuple[int, int], dict[str, Any]] = {}
        identities: dict[tuple[str, str, str], int] = Counter()
        for partition, epochs in self._epochs.items():
            for epoch in epochs:
                for index, batch in enumerate(epoch.body["batches"]):
                    k = self._queued.get((partition, epoch.offset, index))
                    for event_id, offset in zip(batch["event_ids"], batch["offsets"], strict=True):
                        if (partition, offset) in self._members:
                            self._say("double", f"stock-adjusted/{partition}/{offset}", "1 batch", "2")
                        self._members[partition, offset] = (batch, k)
                        identities[event_id, batch["sku"], batch["location"]] += 1
                for skip in epoch.body["skipped"]:
                    self._skipped[partition, skip["offset"]] = skip
        for identity, times in identities.items():
            if times > 1:
                self._say("double", "stock event " + "/".join(identity), "a member of 1 batch", times)

    # ---- ends (I1, I2)

    def _end_of(self, place: Fact, event: Mapping[str, Any], first: Mapping[tuple[str, ...], Fact]) -> None:
        flow = place[0].replace("-", "_")
        letter = self._letter_of_fact.get(place)
        state = letter.state["state"] if letter is not None else None
        if flow == "stock_adjusted":
            end = self._stock_end(place)
        elif first[_identity(place, event)] != place:
            end = _OPEN.get(state or "", NO_OP)
            if end != NO_OP and letter is not None and letter.state["reason"] != "id_reuse":
                self._say(
                    "letter", _name(place), "no letter, or id_reuse, for what came before", letter.state["reason"]
                )
            same = _token(event) == _token(self._facts[first[_identity(place, event)]])
            if (end == NO_OP) != same:
                self._say("lost" if same else "double", _name(place), NO_OP if same else "dead: id_reuse", end)
        else:
            posted = self._posted(flow, event)
            end = _OPEN.get(state or "", "")
            if posted and end:
                self._say("double", _name(place), "a document or an open letter", f"both: {end}")
            end = end or (POSTED if posted else COUNTED_AS.get(state or "", ""))
            if state == "posted" and not posted:
                end = ""
        if not end:
            self._say("lost", f"{_name(place)} ({_token(event)})", "an end", "none")
        self._end_of_fact[place] = end
        self._ends[flow][end or "lost"] += 1

    def _posted(self, flow: str, event: Mapping[str, Any]) -> bool:
        """Whether B1 has it: its claim and its documents."""
        source = event["source"]
        own = {"order_placed": "order_id", "dispatch_confirmed": "shipment_id", "refund_issued": "refund_id"}
        k = key_of(flow, source, event[own.get(flow, "event_id")])
        if k not in self._claims:
            return False
        self._expected_ks.add(k)
        if flow == "dispatch_confirmed":
            invoice = key_of("invoice", source, event["shipment_id"])
            self._expected_ks.add(invoice)
            if len(self._documents.get(invoice, ())) != 1:
                self._say(
                    "lost", f"invoice of dispatch {event['shipment_id']}", 1, len(self._documents.get(invoice, ()))
                )
        if flow in _DOCUMENT_OF:
            found = [one for one in self._documents.get(k, ()) if one["entity"] == _DOCUMENT_OF[flow]]
            if len(found) != 1:
                self._say("double" if len(found) > 1 else "lost", f"{flow} {k}", "1 document", len(found))
        return True

    def _stock_end(self, place: Fact) -> str:
        _, partition, offset = place
        here = (partition, offset)
        letter = self._letter_of_fact.get(place)
        if here in self._members:
            batch, k = self._members[here]
            if here in self._skipped or letter is not None:
                self._say("double", _name(place), "a member or skipped", "both")
            if k is None:
                return ""
            letters = [one.state["state"] for one in self._letter_of_k.get(k, ())]
            if any(state in _OPEN for state in letters):
                if self._standing.get(k):
                    self._say("double", f"stock batch {k}", "a document or an open letter", "both")
                return next(_OPEN[state] for state in letters if state in _OPEN)
            if self._standing.get(k):
                return POSTED
            return NO_OP if batch["net"] == 0 else ""
        if here in self._skipped:
            if letter is not None:
                return _OPEN.get(letter.state["state"], NO_OP)
            why = self._skipped[here]["why"]
            return NO_OP if why in ("repeat", "flow_off", "before_start", "returned_by_refund") else ""
        return ""

    def _lines_ended(self) -> int:
        """Each line of the files against what became of it; how many facts came twice for one line."""
        refused = Counter(
            record.value
            for topic, records in self._evidence.records.items()
            if topic.endswith("-dead-letter")
            for record in _once(records)
        )
        again = 0
        for seen in self._lines.values():
            line = seen.line
            where = f"{line.flow} {line.token} ({' '.join(line.identity)})"
            if not line.published:
                if line.expected == NO_OP:
                    self._ends[line.flow][NO_OP] += seen.written
                    if seen.facts:
                        self._say("double", where, "nothing to post", f"{len(seen.facts)} facts")
                    continue
                self._ends[line.flow]["dead"] += seen.written
                if refused[line.text.encode()] != seen.written:
                    self._say("lost", where, f"{seen.written} letters", refused[line.text.encode()])
                continue
            if len(seen.facts) < seen.written:
                self._say("lost", where, f"{seen.written} facts", len(seen.facts))
                continue
            again += len(seen.facts) - seen.written
            place = min(seen.facts)
            end = self._end_of_fact[place]
            letter = self._letter_of_fact.get(place)
            reason = letter.state["reason"] if letter is not None else ""
            expected, _, why = line.expected.partition(":")
            if expected != ANY and (end != expected or (why and why != reason)):
                netted = line.flow == "stock_adjusted" and expected == POSTED and end == NO_OP
                if not netted or not self._nets_to_nothing(place):
                    self._say("end" if end else "lost", where, line.expected, f"{end or 'nothing'} {reason}".strip())
            if end == POSTED or (line.flow == "stock_adjusted" and end == NO_OP):
                for item, warehouse, units in line.moves:
                    self._moves[item, warehouse] += units
        return again

    def _nets_to_nothing(self, place: Fact) -> bool:
        member = self._members.get(place[1:])
        return member is not None and bool(member[0]["net"] == 0)

    # ---- books (I3, I6)

    def _money(self) -> None:
        cancelled = {event["order_id"] for place, event in self._facts.items() if place[0] == "order-cancelled"}
        for seen in self._lines.values():
            line = seen.line
            if line.flow == "order_placed" and cancelled & {*line.identity}:
                continue  # B1 adds up what is left of it
            if line.total is None or not seen.facts or self._end_of_fact.get(min(seen.facts)) != POSTED:
                continue
            for document in self._documents.get(key_of(line.flow, line.connector, *line.identity), ()):
                if Decimal(document["DocTotal"]) != line.total:
                    self._say("money", f"{line.flow} {line.identity[0]}", line.total, document["DocTotal"])

    def _units(self) -> None:
        moved: dict[tuple[str, str], Decimal] = defaultdict(lambda: _ZERO)
        for movement in self._evidence.ledger["movements"]:
            if movement["object"]:
                moved[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
        for item, warehouse in sorted({*moved, *self._moves}):
            expected, found = self._moves[item, warehouse], moved[item, warehouse]
            if expected != found:
                self._say("units", f"{item} in {warehouse}", f"{expected:+f}", f"{found:+f}")
        for row in self._evidence.ledger["on_hand"]:
            expected = OPENING + moved[row["item"], row["warehouse"]]
            if Decimal(row["quantity"]) != expected:
                self._say("units", f"{row['item']} on hand in {row['warehouse']}", f"{expected:f}", row["quantity"])

    def _claims_and_documents(self) -> None:
        for k, claim in self._claims.items():
            documents = self._documents.get(k, [])
            bare = claim.get("U_STATE") in ("void", "discarded") or claim.get("U_KIND") == "order_cancelled"
            if len(documents) != (0 if bare else 1):
                kind = "double" if len(documents) > 1 else "claim"
                self._say(kind, f"claim {k}", "no document" if bare else "1 document", len(documents))
            if k not in self._expected_ks and claim.get("U_STATE") != "void":
                self._say("document", f"claim {k}", "an event of the files", "none")
        for k, documents in self._documents.items():
            if k not in self._claims:
                self._say("claim", f"documents of {k or 'no key'}", "a claim", f"none for {len(documents)}")
        for draft in self._evidence.ledger["drafts"]:
            if draft.get("DocumentStatus") == "bost_Open":
                self._say("document", f"draft {draft['DocEntry']}", "no open draft", draft.get("DocObjectCode"))

    def _letters_all_known(self) -> None:
        """Each letter has its bytes, and is of a fact or a line that there is."""
        written: set[str] = set()
        for topic, records in self._evidence.records.items():
            if topic.endswith("-dead-letter"):
                written |= {record.headers["b1streams.id"].decode() for record in records}
        for identity, letter in self._letters.items():
            state = letter.state
            if identity not in written:
                self._say("letter", f"letter {identity}", "its bytes in a dead-letter topic", "none")
            place = (state["topic"], state["partition"], state["offset"])
            if state["event_type"] != "stock_batch" and state["partition"] >= 0 and place not in self._facts:
                self._say("letter", f"letter {identity}", "a fact", f"{place}")

    # ---- committed offsets (I7)

    def _offsets(self) -> None:
        """Nothing below a committed offset was without its end when it was committed."""
        needs = self._needs()
        reached: dict[Place, int] = {}
        for sample in self._evidence.samples:
            for where, committed in sample.committed.items():
                before = reached.get(where, 0)
                name = f"{where[0]}/{where[1]} at {sample.at_s:.1f} s"
                if committed < before:
                    self._say("offsets", name, f"at least {before}", committed)
                for offset in range(before, committed):
                    need = needs[where].get(offset)
                    if need is None and where[0] == SEALED:
                        continue  # a record that does not count
                    if need is None or not need.met(sample.documents, sample.ends):
                        self._say("offsets", name, f"nothing open below {committed}", f"{offset}: {need}")
                reached[where] = max(before, committed)

    def _needs(self) -> dict[Place, dict[int, "_Need"]]:
        """By partition and offset, what must be there before the offset may be passed."""
        needs: dict[Place, dict[int, _Need]] = defaultdict(dict)
        for record, k in self._queue_records():
            needs[record.topic, record.partition][record.offset] = self._need_of(k)
        routed = {
            (posting["topic"], posting["partition"], posting["offset"]): record.offset
            for record in reversed(self._evidence.records[ORDERS])
            for posting in [decode("posting", record.value)]
        }
        for place in self._facts:
            topic, partition, offset = place
            if topic != "stock-adjusted":
                letter = _first_offset(self._letter_of_fact.get(place))
                needs[topic, partition][offset] = _Need(queue=routed.get(place), letter=letter)
        for partition, epochs in self._epochs.items():
            for epoch in epochs:
                for offset in range(epoch.body["start"], epoch.body["end"]):
                    needs["stock-adjusted", partition][offset] = _Need(sealed=(partition, epoch.offset))
                queued = [
                    min((record.offset for record in self._stock_ks.get(k or "", ())), default=None)
                    for index in range(len(epoch.body["batches"]))
                    for k in [self._queued.get((partition, epoch.offset, index))]
                ]
                last = max((offset for offset in queued if offset is not None), default=-1)
                needs[SEALED, partition][epoch.offset] = _Need(stock=None if None in queued else last)
        return needs

    def _queue_records(self) -> Iterator[tuple[Record, str]]:
        for topic in (ORDERS, STOCK):
            for record in self._evidence.records[topic]:
                yield record, decode("posting", record.value)["k"]

    def _need_of(self, k: str) -> "_Need":
        kind = k.rpartition("-")[0]
        ks = [k]
        if kind == "stock_batch":
            ks = self._standing.get(k, [])
            if not ks and any(member[1] == k and member[0]["net"] == 0 for member in self._members.values()):
                return _Need(documents=0)
        elif kind == "dispatch_confirmed":
            ks = [k, *self._invoice_of(k)]
        elif kind == "order_cancelled" and k in self._claims:
            return _Need(documents=0)  # a claim alone: the ledger does not say when
        sequences = [document["sequence"] for one in ks for document in self._documents.get(one, ())]
        documents = max(sequences) if sequences and len(sequences) >= len(ks) else None
        letters = [_first_offset(letter) for letter in self._letter_of_k.get(k, ())]
        return _Need(documents=documents, letter=min((one for one in letters if one is not None), default=None))

    def _invoice_of(self, k: str) -> list[str]:
        return [self._invoices[k]] if k in self._invoices else []

    # ---- processes (I8)

    def _sessions(self) -> None:
        for user, sessions in self._evidence.sessions.items():
            if sessions["sessions_high_water"] > self._evidence.session_limit:
                most = sessions["sessions_high_water"]
                self._say("sessions", user, f"at most {self._evidence.session_limit} at a time", most)
        for one in self._evidence.ended:
            if one.code != 0 or one.seconds > 30:
                self._say(
                    "stop", f"{one.name} after SIGTERM", "exit 0 within 30 s", f"{one.code} in {one.seconds:.1f} s"
                )
            left = self._evidence.sessions.get(one.user, {}).get("sessions_open", 0)
            if left:
                self._say("sessions", f"{one.name} after SIGTERM", "no open session", left)

    # ---- what the pipeline says of itself

    def _status(self) -> None:
        flows = self._evidence.status.get("flows", {})
        for flow in sorted({*flows, *self._ends}):
            told, ends = flows.get(flow, {}), self._ends.get(flow, Counter[str]())
            for end in _ENDS:
                if told.get(end, 0) != ends[end]:
                    self._say("status", f"{flow} {end}", ends[end], told.get(end, 0))
            received = sum(ends.values())
            if told.get("received", 0) != received:
                self._say("status", f"{flow} received", received, told.get("received", 0))


@dataclass(frozen=True, slots=True)
class _Need:
    """What must be there before an offset may be committed: one of what is named."""

    documents: int | None = None  # the ledger's sequence
    letter: int | None = None  # an offset of `dead-letter-state`
    queue: int | None = None  # of `erp-orders`
    stock: int | None = None  # of `erp-stock`
    sealed: tuple[int, int] | None = None  # partition and offset of `stock-sealed`

    def met(self, documents: int, ends: Mapping[tuple[str, int], int]) -> bool:
        return (
            (self.documents is not None and self.documents <= documents)
            or (self.letter is not None and self.letter < ends[STATES, 0])
            or (self.queue is not None and self.queue < ends[ORDERS, 0])
            or (self.stock is not None and self.stock < ends[STOCK, 0])
            or (self.sealed is not None and self.sealed[1] < ends[SEALED, self.sealed[0]])
        )


def _by_partition(records: Sequence[Record]) -> Iterator[tuple[int, list[Record]]]:
    for partition in sorted({record.partition for record in records}):
        yield partition, [record for record in records if record.partition == partition]


def _once(records: Sequence[Record]) -> Iterator[Record]:
    """Dead letters of lines, each once: written again after a crash it has the same id."""
    seen: set[bytes] = set()
    for record in records:
        if record.headers["b1streams.id"] not in seen:
            seen.add(record.headers["b1streams.id"])
            yield record


def _first_offset(letter: _Letter | None) -> int | None:
    return None if letter is None else letter.first_offset


def _token(event: Mapping[str, Any]) -> str:
    return str(event.get("note") or event.get("reason") if "shipment_id" not in event else event["tracking_numbers"][0])


def _identity(place: Fact, event: Mapping[str, Any]) -> tuple[str, ...]:
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


def _name(place: Fact) -> str:
    return "/".join(map(str, place))
