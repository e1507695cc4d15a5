"""What a back-fill of orders, dispatches and cancellations costs B1, at its real pace: calls, and idle sessions.

Sixty thousand events: `pytest -m long -s tests/flows/test_backfill_at_size.py`, which prints the table.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from connectors.sap_b1.sessions import Exchange, SessionPool
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from tests.flows.world import World, cancel, dispatch, order, order_line

ITEMS = ("A", "B", "C", "TS001-R", "85123A", "85123a")
#: Of a real installation: 80 ms a document, 4 ms a line, 28 ms a claim, 5 ms a query.
REAL = ServiceLayerSettings(lock_wait_s=0.2, serialise_sessions=True)


@dataclass
class Calls:
    """Round trips to B1, and for how long its sessions had some."""

    sessions: int
    by_operation: Counter[str] = field(default_factory=Counter)
    busy_s: float = 0.0
    lasted_s: float = 0.0
    _under_way: int = 0
    _began_s: float | None = None
    _since_s: float = 0.0

    def begin(self) -> None:
        """Count from the next call on."""
        self.by_operation.clear()
        self.busy_s, self._began_s = 0.0, None

    def move(self, change: int) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._began_s is None:
            self._began_s = self._since_s = now_s
        # The least busy session takes a call, so none is idle while as many calls are under way
        self.busy_s += min(self._under_way, self.sessions) / self.sessions * (now_s - self._since_s)
        self._since_s, self._under_way, self.lasted_s = now_s, self._under_way + change, now_s - self._began_s

    @property
    def total(self) -> int:
        return sum(self.by_operation.values())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls, send = Calls(sessions=2), SessionPool.send

    async def counted(pool: SessionPool, exchange: Exchange) -> httpx.Response:
        calls.by_operation[exchange.path if exchange.operation == "post" else exchange.operation] += 1
        calls.move(1)
        try:
            return await send(pool, exchange)
        finally:
            calls.move(-1)

    monkeypatch.setattr(SessionPool, "send", counted)
    return calls


def past(events: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a shop and its warehouse have to tell: of ten orders six were sent, one cancelled, the rest is open."""
    random, shop, warehouse = Random(5), list[dict[str, Any]](), list[dict[str, Any]]()
    while len(shop) + len(warehouse) < events:
        name, sku = f"O{len(shop)}", random.choice(ITEMS)
        shop.append(order(name, order_line(sku=sku, quantity="2", price="10.00"), grand_total="24.00"))
        fate = random.random()
        if fate < 0.6:
            warehouse.append(dispatch(f"D{name}", name, {"line_id": "1", "sku": sku, "quantity": "2"}))
        elif fate < 0.7:
            shop.append(cancel(f"X{name}", name))
    return shop, warehouse


@pytest.mark.parametrize(("preview", "most"), [(False, 1.3), (True, 2.2)], ids=["without preview", "with preview"])
@pytest.mark.parametrize("events", [1_500, pytest.param(60_000, marks=pytest.mark.long)])
async def test_a_backfill_takes_few_calls_and_leaves_no_session_idle(
    open_world: Callable[..., Awaitable[World]],
    calls: Calls,
    events: int,
    preview: bool,
    most: float,
) -> None:
    world = await open_world(totals={"preview": preview}, session_limit=calls.sessions)
    world.simulator.server.settings = REAL
    world.b1.load({"stock": [{"item": item, "warehouse": "LON1", "quantity": "1000000"} for item in ITEMS]})
    shop, warehouse = past(events)
    calls.begin()
    world.writes("shop", *shop)
    world.writes("warehouse", *warehouse)
    await world.settled(every_s=60, patience_s=events)
    seen = (await world.status()).flows.values()
    assert sum(flow.posted for flow in seen) == len(shop) + len(warehouse)
    documents = sum(one["CancelStatus"] != "csCancellation" for one in world.b1.ledger()["documents"])
    per_document, busy = calls.total / documents, calls.busy_s / calls.lasted_s
    table = [f"{events:,} events", f"{documents:,} documents", f"{calls.lasted_s:,.0f} s", f"{busy:.1%} busy"]
    table += [f"{per_document:.2f} calls a document", *(f"{n:,} {of}" for of, n in calls.by_operation.items())]
    print(f"\n{' · '.join(table)}")  # noqa: T201
    assert per_document <= most
    assert busy >= 0.95
