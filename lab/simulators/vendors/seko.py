"""SEKO as a vendor that can be told to dispatch and count, and that sends webhooks."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any, Final

import httpx

from lab.simulators.seko import app as seko
from lab.simulators.seko.state import AVAILABLE as SEKO_AVAILABLE
from lab.simulators.vendors.actions import Action, App, BaseVendor, Json

#: SEKO's codes are each client's own; these are this one's.
ADJUSTMENT_CODES: Final = {"damaged": "DMG", "lost": "LST", "found": "FND", "count": "CC"}


class SekoVendor(BaseVendor):
    """`data`: `seed`, `key`, `secret`, `dcs`, `cadence_s`, `lag_s`, `stock` [[dc, sku, units]].

    It is told of parcels, not of orders: one that leaves in two is two of SEKO's orders with the same reference.
    """

    _RATES = frozenset(
        {"lost", "twice", "reorder", "no_answer", "throttle", "down", "html", "drop", "refused", "lost_answer"}
    )

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        known = {name: data[name] for name in ("key", "secret", "dcs") if name in data}
        random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self.hub = seko.Hub(clock=clock, random=random, **known)
        self.hub.cadence_s = float(data.get("cadence_s", 900))
        self.hub.lag_s = float(data.get("lag_s", 0))
        for dc, sku, units in data.get("stock", ()):
            self.hub.stock[dc, SEKO_AVAILABLE, sku, ""] = int(units)
        self.app: App = self.hub

    def order(self, _action: Action) -> object:
        raise ValueError("it sells nothing")

    def dispatch(self, action: Action) -> object:
        self.counters["parcels"] += 1
        number = f"W-{self.counters['parcels']}"
        units: Counter[str] = Counter()
        for sku, quantity in action["lines"]:
            units[sku] += int(quantity)
        self.hub.load_order(number, units, reference=str(action["order"]), dc=action["place"])
        self.hub.dispatch(number, courier=action["carrier"], tracking=action["tracking"])
        return number

    def count(self, action: Action) -> object:
        code = ADJUSTMENT_CODES.get(action["reason"], "OTH")
        self.hub.adjust(
            action["sku"], int(action["delta"]), dc=action["place"], code=code, description=action["reason"]
        )
        return code

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._RATES:
            raise ValueError(f"SEKO knows no {min(unknown)}; write one of {', '.join(sorted(self._RATES))}")
        self.hub.faults.rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        ends = Counter(f"messages_{each.ended or 'waiting'}" for each in self.hub.messages)
        return self.counters | ends

    def ledger(self) -> Json:
        now = [
            {"sku": sku, "place": dc, "level": units}
            for (dc, kind, sku, _), units in self.hub.stock.items()
            if kind == SEKO_AVAILABLE
        ]
        return {
            "messages": [{"service": each.service, "dc": each.dc, **each.row} for each in self.hub.messages],
            "stock": now,
            "orders": [
                {"number": each.number, "reference": each.reference, "guid": each.record_id, "dc": each.dc}
                | {"status": each.status, "body": each.body}
                for each in self.hub.orders.values()
            ],
            "products": list(self.hub.products.records.values()),
        }

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        async def post(headers: Mapping[str, str], body: bytes) -> int:
            self.counters["webhooks"] += 1
            try:
                return (await client.post(url, headers=dict(headers), content=body)).status_code
            except httpx.HTTPError as error:
                self.counters["webhooks_unanswered"] += 1
                raise ConnectionError(str(error)) from error

        await self.hub.push(post)
