"""B1 without HTTP: the simulator's ledger behind the poster's own port, with what goes wrong said by the test."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.sap_b1.service_layer import AnswerUnknownError, B1Answer, B1Request, UnavailableError
from lab.simulators.sap_b1.state import messages
from lab.simulators.sap_b1.state.company import Company
from tests.streams.virtual import Clock

MASTER_DATA: dict[str, Any] = {
    "BusinessPartners": [{"CardCode": "C-WEB", "CardName": "Web", "CardType": "cCustomer"}],
    "Warehouses": [{"WarehouseCode": "LON1"}],
    "VatGroups": [{"Code": "O1", "Rate": "20"}],
    "Items": [{"ItemCode": code} for code in "ABCDEFGH"],
    "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Freight"}],
    "ChartOfAccounts": [{"Code": code, "Name": code} for code in ("4900", "5100")],
    "stock": [{"item": code, "warehouse": "LON1", "quantity": "100"} for code in "ABCDEFGH"],
}


class B1:
    """A `ServiceLayer`. A change set takes `seconds`; `before` and `after` may raise what the client is to see.

    Attributes:
        change_sets: Every change set that arrived.
        in_flight: The items of those under way; the most at once are in `most`.
    """

    def __init__(self, seconds: float = 0.1, now: Callable[[], datetime] | None = None) -> None:
        self.company = Company("SBO_ACME", clock=now or Clock().now, with_claims=True, master_data=MASTER_DATA)
        self.seconds, self.away = seconds, False
        self.before: Callable[[Sequence[B1Request]], None] = lambda _: None
        self.after: Callable[[Sequence[B1Request]], None] = lambda _: None
        self.change_sets: list[Sequence[B1Request]] = []
        self.in_flight: list[frozenset[str]] = []
        self.most, self.clashes, self.closed = 0, list[frozenset[str]](), 0

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("HTTP 503")

    async def change_set(self, requests: Sequence[B1Request]) -> list[B1Answer]:
        self._check()
        sent = [messages.Request(one.method, one.path, _exact(one.body)) for one in requests]
        items = self.company.work(sent).items
        self.clashes += [shared for other in self.in_flight if (shared := other & items)]
        self.in_flight.append(items)
        self.most = max(self.most, len(self.in_flight))
        try:
            self.change_sets.append(requests)
            self.before(requests)
            await asyncio.sleep(self.seconds)
            answers = self.company.apply(sent)
            self.after(requests)
        finally:
            self.in_flight.remove(items)
        return [B1Answer(one.status, one.body, one.headers) for one in answers]

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        self._check()
        await asyncio.sleep(0.01)
        answers = [self.company.read(path) for path in paths]
        return [B1Answer(one.status, one.body, one.headers) for one in answers]

    async def post(self, path: str, body: Mapping[str, Any]) -> B1Answer:
        self._check()
        (answer,) = self.company.apply([messages.Request("POST", path, _exact(body))])
        return B1Answer(answer.status, answer.body, answer.headers)

    async def ping(self) -> bool:
        return not self.away

    async def close(self) -> None:
        self.closed += 1

    # ---- what is there

    def documents(self, entity: str) -> list[dict[str, Any]]:
        return [one for one in self.company.ledger()["documents"] if one["entity"] == entity]

    def on_hand(self, item: str) -> Decimal:
        return self.company.on_hand(item, "LON1")


def lose_answer(times: int = 1) -> Callable[[Sequence[B1Request]], None]:
    """The next answers are lost; it happened."""
    left = [times]

    def lost(_: Sequence[B1Request]) -> None:
        if left[0]:
            left[0] -= 1
            raise AnswerUnknownError("the connection was cut")

    return lost


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _exact(member) for name, member in value.items()}
    return [_exact(member) for member in value] if isinstance(value, list | tuple) else value
