"""A company's B1 as a source, against the simulator in process, with what people do there."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from connectors.base.source import Batch
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.reading.source import SapB1Source
from connectors.sap_b1.settings import CompanySettings
from lab.simulators.sap_b1.app import ServiceLayerApp, build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from schemas.readings import B1Reading, subject_of
from tests.connectors.sap_b1.conftest import ManualClock, RecordingWire

WAREHOUSES = ("LON1", "MAN1")
COMPANY = {
    "service_layer_url": "https://b1.example:50000/b1s/v2",
    "company_db": "SBO_ACME",
    "username": "streams",
    "password": "env:B1",
    "timezone": "Europe/London",
    "currency": "GBP",
    "customers": {"card_code": "C-WEB"},
    "warehouses": {code: {"owner": "wms", "location": code, "sellable_on": ["shop"]} for code in WAREHOUSES},
}
ADDRESS = {
    "ShipToStreet": "1 High St",
    "ShipToCity": "Leeds",
    "ShipToZipCode": "LS1 1AA",
    "ShipToCountry": "GB",
    "ShipToAddress2": "Ann Lee",
    "ShipToAddress3": "Lee Ltd",
}


def settings_of(**table: Any) -> SapB1Settings:
    settings = SapB1Settings.model_validate({"kind": "sap_b1", "company": "acme", **table})
    settings.bind(CompanySettings.model_validate(COMPANY, context={"environ": {"B1": "right"}}))
    return settings


class B1:
    """One company, people at work in it, and sources that read it."""

    def __init__(self, items: int = 2, behind: timedelta = timedelta(), **rules: Any) -> None:
        self.clock = ManualClock()
        self.company = Company(
            "SBO_ACME",
            clock=lambda: self.clock.now() - behind,
            with_claims=True,
            master_data={
                "BusinessPartners": [{"CardCode": "C-WEB", "CardName": "Web shop", "CardType": "cCustomer"}],
                "Warehouses": [{"WarehouseCode": code} for code in (*WAREHOUSES, "QUAR")],
                "Items": [
                    {
                        "ItemCode": f"A{number}",
                        "ItemName": f"Item {number}",
                        "ItemPrices": [{"PriceList": 1, "Price": Decimal("9.99"), "Currency": "GBP"}],
                    }
                    for number in range(1, items + 1)
                ],
                "stock": [
                    {"item": f"A{number}", "warehouse": code, "quantity": "100"}
                    for number in range(1, items + 1)
                    for code in WAREHOUSES
                ],
                "rules": rules,
            },
        )
        self.clock.seconds += 3600  # nothing has changed just now
        self.faults = FaultPlan()
        self.app: ServiceLayerApp = build_app(
            self.company,
            users={"streams": "right"},
            clock=self.clock.now,
            random=random.Random(1),
            faults=self.faults,
            settings=ServiceLayerSettings(speed=0, lock_wait_s=0),
        )
        self.wire = RecordingWire(self.app)

    def source(self, transport: httpx.AsyncBaseTransport | None = None, **table: Any) -> SapB1Source:
        return SapB1Source("b1", settings_of(**table), self.clock, transport=transport or self.wire)

    def do(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request of a person's client."""
        (answer,) = self.company.apply([Request(method, path, body)], "people:ann")
        assert answer.status < 300, answer.text
        return answer.body

    def order(self, item: str = "A1", quantity: int = 3, **fields: Any) -> int:
        body = {
            "CardCode": "C-WEB",
            "DocDueDate": "2026-11-02",
            "AddressExtension": ADDRESS,
            "DocumentLines": [{"ItemCode": item, "Quantity": quantity, "UnitPrice": 5, "WarehouseCode": "LON1"}],
            **fields,
        }
        return int(self.do("POST", "Orders", body)["DocEntry"])

    def deliver(self, order: int, quantity: int = 3, **fields: Any) -> int:
        line = {"BaseType": 17, "BaseEntry": order, "BaseLine": 0, "Quantity": quantity}
        body = {"CardCode": "C-WEB", "DocumentLines": [line], **fields}
        return int(self.do("POST", "DeliveryNotes", body)["DocEntry"])

    def receive(self, item: str, quantity: int, warehouse: str = "LON1") -> None:
        line = {"ItemCode": item, "Quantity": quantity, "WarehouseCode": warehouse}
        self.do("POST", "InventoryGenEntries", {"DocumentLines": [line]})


class Reader:
    """Reads as the runtime does, and keeps what a reader of the topics would know."""

    def __init__(self, source: SapB1Source, cursor: str | None = None) -> None:
        self.source, self.cursor = source, cursor
        self.known: dict[tuple[str, ...], B1Reading] = {}
        self.batches: list[Batch] = []

    async def look(self, most: int = 500) -> list[Any]:
        """Batches until there is nothing more for now; their records."""
        said: list[Any] = []
        for _ in range(most):
            batch = await self.source.read(self.cursor)
            self.acknowledge(batch)
            said += batch.items
            if batch.idle:
                return said
        raise AssertionError("it never rests")

    def acknowledge(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.cursor = batch.cursor
        for record in batch.items:
            assert isinstance(record, B1Reading)
            key = (type(record).__name__, *subject_of(record))
            if key not in self.known or self.known[key].age <= record.age:
                self.known[key] = record

    def level(self, item: str, warehouse: str = "LON1") -> tuple[Decimal, Decimal]:
        found: Any = self.known["StockLevelRead", item, warehouse]
        return found.on_hand, found.committed

    def order(self, entry: int) -> Any:
        return self.known["OrderStatusChanged", str(entry)]

    def delivery(self, entry: int) -> Any:
        return self.known["DeliveryPosted", str(entry)]

    def item(self, code: str) -> Any:
        return self.known["ItemChanged", code]


def kinds(records: list[Any]) -> list[str]:
    return sorted({type(record).__name__ for record in records})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)
