"""What must hold, whatever went wrong. Reads the history, the ledger and what lies in Kafka; never the core's memory.

The numbers (I1 ...) are those of the invariants that every run is held to: complete, single, balance, serial, order,
claims, offsets, live, chain. The chain rule is walked here a second time, by code of its own.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lab.simulators.sap_b1.state.company import Company
from schemas.codec import Codec
from streams.kafka.log import Committed
from tests.simulation.broker import Broker, Place
from tests.simulation.history import Fact
from tests.simulation.invariants.chains import check_chains
from tests.simulation.invariants.claims import check_claims
from tests.simulation.invariants.companies import check_companies, check_keys
from tests.simulation.invariants.counts import check_counts
from tests.simulation.invariants.ends import check_order_events
from tests.simulation.invariants.letters import check_letters
from tests.simulation.invariants.offsets import check_commit
from tests.simulation.invariants.progress import undrained
from tests.simulation.invariants.stock import check_stock
from tests.simulation.invariants.view import View


class Checker:
    """Watches commits while the run goes on (`committing`), says when it has drained, judges the end (`judge`)."""

    def __init__(
        self, broker: Broker, companies: Mapping[str, Company], codec: Codec, facts: Mapping[tuple[str, int, int], Fact]
    ) -> None:
        self._view = View(broker, companies, codec, facts)

    @property
    def violations(self) -> list[str]:
        return self._view.violations

    def report(self, what: str) -> None:
        self._view.report(what)

    def committing(self, offsets: Mapping[Place, Committed]) -> None:
        check_commit(self._view, offsets)

    def undrained(self) -> str | None:
        """Why the run is not over: None when nothing more can happen by itself."""
        return undrained(self._view)

    def judge(self, *, drained: bool) -> None:
        self._view.look()
        documents: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for name, company in self._view.companies.items():
            ledger, own = company.ledger(), defaultdict[str, list[Mapping[str, Any]]](list)
            for document in ledger["documents"]:
                own[document.get("U_STREAMS_KEY") or "-"].append({**document, "company": name})
            check_claims(self._view, ledger, own)
            for k, lying in own.items():
                documents[k] += lying
        check_chains(self._view)
        check_companies(self._view, documents)
        check_keys(self._view)
        if not drained:
            return
        posted = check_order_events(self._view, documents)
        posted["stock_adjusted"] = check_stock(self._view, documents)
        check_counts(self._view, posted)
        check_letters(self._view)
