"""Veeqo as a vendor that can be told to sell, dispatch and count."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from random import Random
from time import monotonic
from typing import Any, Final

from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour, VeeqoFault
from lab.simulators.veeqo.state import Account, Line
from lab.simulators.vendors.actions import Action, App, BaseVendor, Json

#: As Veeqo numbers them.
CARRIER_NUMBERS: Final = {"royal mail": 1, "dpd": 4, "dhl": 9}


class VeeqoVendor(BaseVendor):
    """Its `data`, all optional.

    `seed`, `key`, `warehouses` {id: name}, `products` [[sku, {warehouse id: level}]], `behaviour` (of the server).
    """

    _KINDS = frozenset({"throttle", "html_500", "html_503", "drop", "lost", "cut"})

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self._rates: Mapping[str, float] = {}
        self.account = Account(clock)
        for number, name in data.get("warehouses", {}).items():
            self.account.add_warehouse(int(number), name)
        self._opening: list[Json] = []
        for sku, levels in data.get("products", ()):
            self.account.add_product(sku, {int(number): level for number, level in levels.items()})
            self._opening += [{"sku": sku, "place": number, "level": level} for number, level in levels.items()]
        self._entries = {
            (sellable["sku_code"], entry["warehouse_id"]): entry
            for product in self.account.products
            for sellable in product["sellables"]
            for entry in sellable["stock_entries"]
        }
        self._counts: list[Json] = []
        self._swept = False
        behaviour = Behaviour(**data.get("behaviour", {}))
        self._api = VeeqoServer(self.account, frozenset({data.get("key", "veeqo-key")}), monotonic, behaviour)
        self.app: App = self._api

    def order(self, action: Action) -> object:
        lines = [
            Line(line["sku"], int(line["quantity"]), line["price"], str(Decimal(line["rate"]) / 100))
            for line in action["lines"]
        ]
        address = {
            "first_name": "Mia",
            "last_name": "Odum",
            "company": None,
            "address1": "4 Lime Row",
            "address2": None,
            "city": "Leeds",
            "state": "",
            "zip": "LS1 4XX",
            "country": action["country"],
            "phone": None,
            "email": "mia@example.test",
        }
        order_id = self.account.place_order(
            *lines, number=f"P-{action['number']}", delivery_cost=Decimal(action["shipping"]), deliver_to=address
        )
        self._numbers[action["number"]] = order_id
        return order_id

    def dispatch(self, action: Action) -> object:
        order = self.account.orders[self._numbers[action["order"]]]
        units: Counter[str] = Counter()
        for at, quantity in action["lines"]:
            units[order["line_items"][at]["sellable"]["sku_code"]] += int(quantity)
        carrier = CARRIER_NUMBERS.get(action["carrier"].replace("-", " ").casefold(), 3)
        return self.account.dispatch(
            order["id"], int(action["place"]), units, carrier=carrier, tracking=action["tracking"]
        )

    def count(self, action: Action) -> object:
        place, delta = int(action["place"]), Decimal(action["delta"])
        level = self._entries[action["sku"], place]["physical_stock_level"] + delta
        self.account.set_stock(action["sku"], place, level)
        count = {
            "sku": action["sku"],
            "place": place,
            "delta": delta,
            "reason": action["reason"],
            "at": self.account.now(),
        }
        self._counts.append(count)
        return level

    def before(self, path: str) -> None:
        super().before(path)
        # Whoever has swept over all stock looks at the orders next.
        self.counters["sweeps"] += self._swept and path.startswith("/orders")
        self._swept = path.startswith("/products")
        kind = next((kind for kind, rate in self._rates.items() if self._random.random() < rate), None)
        if kind is not None:
            self._api.faults.append(VeeqoFault(kind))  # type: ignore[arg-type]  # checked by `fail`

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._KINDS:
            raise ValueError(f"Veeqo knows no fault {min(unknown)}; write one of {', '.join(sorted(self._KINDS))}")
        self._rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        return self.counters | Counter(throttled=self._api.throttled)

    def ledger(self) -> Json:
        now = [
            {"sku": sku, "place": place, "level": entry["physical_stock_level"]}
            for (sku, place), entry in self._entries.items()
        ]
        return {
            "orders": list(self.account.orders.values()),
            "counts": self._counts,
            "opening": self._opening,
            "stock": now,
            "products": self.account.products,
        }
