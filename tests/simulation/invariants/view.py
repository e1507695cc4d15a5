"""A run as the invariants look at it: what lies in Kafka, and the ledger."""

from collections import ChainMap, Counter, defaultdict
from collections.abc import Mapping, MutableMapping
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.kinds import KINDS
from lab.simulators.sap_b1.state.metadata import CLAIM_TABLE
from schemas.codec import Codec
from schemas.events import (
    OrderCancelled,
    RefundIssued,
)
from schemas.records import DeadLetterState, Posting, SealedEpoch, StockDocument
from streams.chain.keys import event_key, order_key
from tests.simulation.broker import Broker, Place
from tests.simulation.history import ORDER_SOURCES, Fact
from tests.simulation.invariants.chain import ChainWalk

ENDS = {
    "dead": "dead",
    "parked": "parked",
    "held": "parked",
    "posted": "posted",
    "no_op": "no_op",
    "discarded": "no_op",
}


def units_of(lines: Any) -> Counter[Any]:
    units: Counter[Any] = Counter()
    for line in lines:
        units[line.sku] += line.quantity
    return units


def order_of(event: Any) -> tuple[str, str]:
    """Two companies may have orders of one name; the sources of one have not."""
    return event.company, event.order_id or ""


def item_units_of(document: Mapping[str, Any]) -> Counter[Any]:
    units: Counter[Any] = Counter()
    for line in document["DocumentLines"]:
        units[line["ItemCode"]] += Decimal(line["Quantity"])
    return units


class View:
    """Everything that the invariants read, and what they have found (`report`)."""

    def __init__(
        self, broker: Broker, companies: Mapping[str, Company], codec: Codec, facts: Mapping[tuple[str, int, int], Fact]
    ) -> None:
        self.broker, self.companies, self.codec, self.facts = broker, companies, codec, facts
        self.violations: list[str] = []
        self.read: Counter[Place] = Counter()
        self.queued: set[tuple[str, int, int, int]] = set()
        self.letters: dict[str, DeadLetterState] = {}
        self.letter_ks: set[str] = set()
        self.batch_documents: defaultdict[str, list[StockDocument]] = defaultdict(list)
        self.sealed: dict[int, ChainWalk] = {}
        self.accepted: dict[int, dict[int, SealedEpoch]] = defaultdict(dict)
        self.documents: dict[int, ChainWalk] = {}

    def report(self, what: str) -> None:
        self.violations.append(what)

    def look(self) -> None:
        broker = self.broker
        for place in broker.partitions:
            topic, partition = place
            records = broker.partitions[place].records
            if topic in ("erp-orders", "erp-stock"):
                for record in records[self.read[place] :]:
                    posting = self.codec.decode(record.value or b"", Posting)
                    self.queued.add((posting.topic, posting.partition, posting.offset, posting.index))
                self.read[place] = len(records)
            elif topic == "dead-letter-state":
                for record in records[self.read[place] :]:
                    if record.value is None:
                        self.letters.pop((record.key or b"").decode(), None)
                        continue
                    letter = self.codec.decode(record.value, DeadLetterState)
                    self.letters[letter.id] = letter
                    if letter.k is not None:
                        self.letter_ks.add(letter.k)
                self.read[place] = len(records)
            elif topic == "stock-sealed":
                chain = self.sealed.setdefault(partition, ChainWalk(SealedEpoch))
                if chain.position < len(records):
                    self.accepted[partition].update(chain.walk([record.value for record in records], self.codec))
            elif topic == "erp-documents":
                chain = self.documents.setdefault(partition, ChainWalk(StockDocument))
                if chain.position < len(records):
                    for _, document in chain.walk([record.value for record in records], self.codec):
                        for k in document.batch_ks:
                            self.batch_documents[k].append(document)

    @property
    def claims(self) -> Mapping[str, Mapping[str, Any]]:
        """Of all companies: no two have a K in common."""
        return ChainMap(*(self.claims_of(company) for company in self.companies.values()))

    @staticmethod
    def claims_of(company: Company) -> MutableMapping[str, Any]:
        """By K; of several attempts (K, K.1, ...) the one that stands. An intent counts where its document is there."""
        rows = [row for row in company.rows(CLAIM_TABLE).values() if row["U_KIND"] != "proof"]
        if any(row["U_STATE"] == "intent" for row in rows):
            made = {one.get("U_STREAMS_KEY") for entity in KINDS for one in company.rows(entity).values()}
            rows = [
                {**row, "U_STATE": "posted"} if row["U_STATE"] == "intent" else row
                for row in rows
                if row["U_STATE"] != "intent" or row["Code"].partition(".")[0] in made
            ]
        return {row["Code"].partition(".")[0]: row for row in sorted(rows, key=lambda row: row["U_STATE"] != "void")}

    def is_posted(self, k: str) -> bool:
        return (row := self.claims.get(k)) is not None and row["U_STATE"] == "posted"

    def order_document(self, company: str, order_id: str | None) -> Mapping[str, Any] | None:
        ks = {order_key(company, source, order_id or "") for source in ORDER_SOURCES[company]}
        orders = self.companies[company].rows("Orders").values()
        return next((document for document in orders if document.get("U_STREAMS_KEY") in ks), None)

    def was_cancelled(self, company: str, order_id: str | None) -> bool:
        return any(
            isinstance(fact.event, OrderCancelled)
            and (fact.event.company, fact.event.order_id) == (company, order_id)
            and event_key(fact.event) in self.claims
            for fact in self.facts.values()
        )

    def may_be_nothing(self, event: Any) -> bool:
        """A cancellation of what is cancelled, and a refund of what never left, have nothing to post."""
        if not isinstance(event, OrderCancelled | RefundIssued):
            return False
        order = self.order_document(event.company, event.order_id)
        if order is None:
            return False
        closed = order["Cancelled"] == "tYES" or order["DocumentStatus"] == "bost_Close"
        return closed or (isinstance(event, RefundIssued) and self.was_cancelled(event.company, event.order_id))
