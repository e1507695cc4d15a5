"""Magento as a vendor that can be told to sell, dispatch and refund."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from lab.simulators.magento.app import build_app
from lab.simulators.magento.faults import IntegrationCredentials, MagentoFaultKind, MagentoHabits
from lab.simulators.magento.prices import CartItem
from lab.simulators.magento.state import MagentoShop
from lab.simulators.vendors.actions import Action, App, BaseVendor, Json

LATE_COMMIT_S: Final = 1.0


class MagentoVendor(BaseVendor):
    """Its `data`, all optional.

    `seed`, `credentials` (of IntegrationCredentials), `late` (share of orders that show up later), `products`
    [[sku, price, {source code: quantity}]].
    """

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self._late = float(data.get("late", 0))
        self.shop = MagentoShop(clock)
        credentials = IntegrationCredentials(**data.get("credentials", {}))
        self._api = build_app(self.shop, credentials=credentials, random=self._random, settings=MagentoHabits(rates={}))
        for sku, price, quantities in data.get("products", ()):
            self._api.catalogue.add(sku, price=price)
            for source, quantity in quantities.items():
                self._api.catalogue.sources.add(source)
                self._api.catalogue.quantities[sku, source] = (Decimal(quantity), 1)
        self.app: App = self._api

    def order(self, action: Action) -> object:
        cart = [
            CartItem(
                sku=line["sku"],
                quantity=Decimal(line["quantity"]),
                price=Decimal(line["price"]),
                rate=Decimal(line["rate"]),
            )
            for line in action["lines"]
        ]
        # Its transaction is committed later than it was begun, and meanwhile nobody sees it.
        late = self._random.random() < self._late
        order_id = self.shop.place(
            *cart,
            shipping=Decimal(action["shipping"]),
            shipping_rate=Decimal(action["rate"]),
            country=action["country"],
            increment_id=action["number"],
            visible_at=self._clock() + timedelta(seconds=LATE_COMMIT_S) if late else None,
        )
        self.counters["late"] += late
        self.shop.invoice(order_id)
        self._numbers[action["number"]] = order_id
        return order_id

    def dispatch(self, action: Action) -> object:
        tracks = [(action["tracking"], action["carrier"], "custom")]
        rows = self._rows(action)
        return self.shop.ship(self._numbers[action["order"]], rows, tracks=tracks, source_code=action["place"])

    def refund(self, action: Action) -> object:
        rows, shipping = self._rows(action), Decimal(action["shipping"])
        return self.shop.refund(self._numbers[action["order"]], rows, shipping=shipping)

    def _rows(self, action: Action) -> dict[int, Decimal]:
        items = self.shop.order(self._numbers[action["order"]])["items"]
        return {items[at]["item_id"]: Decimal(quantity) for at, quantity in action["lines"]}

    def fail(self, rates: Mapping[str, float]) -> None:
        self._api.settings.rates = {MagentoFaultKind(kind): rate for kind, rate in rates.items()}

    def ledger(self) -> Json:
        catalogue = self._api.catalogue
        return {
            **{name: list(rows.values()) for name, rows in self.shop.lists.items()},
            "products": list(catalogue.products.values()),
            "stock": [
                {"sku": sku, "place": source, "level": quantity, "status": status}
                for (sku, source), (quantity, status) in catalogue.quantities.items()
            ],
            "written": [
                {"what": what, "subject": subject, "times": times} for (what, subject), times in catalogue.done.items()
            ],
            "notified": {str(order): times for order, times in catalogue.notified.items()},
        }
