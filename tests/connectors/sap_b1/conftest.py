"""One company of the simulator, its Service Layer without sockets, and a clock that a test moves."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connectors.base.settings import Secret
from connectors.sap_b1.client import HttpServiceLayer
from lab.simulators.sap_b1.app import ServiceLayerApp, build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from tests.connectors.wire import Wire

START = datetime(2026, 11, 2, 9, tzinfo=UTC)


@dataclass
class ManualClock:
    """Time that stands still until a test, or a sleep, moves it."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class RecordingWire(Wire):
    """Keeps what was asked, answered or not."""

    def __init__(self, app: ServiceLayerApp) -> None:
        super().__init__(app)
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await super().handle_async_request(request)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def company(clock: ManualClock) -> Company:
    return Company(
        "SBO_ACME",
        clock=clock.now,
        with_claims=True,
        master_data={
            "BusinessPartners": [
                {"CardCode": "C-WEB", "CardName": "Web", "CardType": "cCustomer", "EmailAddress": "web@example.com"},
                {"CardCode": "S-1", "CardName": "Maker", "CardType": "cSupplier", "EmailAddress": "web@example.com"},
            ],
            "Warehouses": [{"WarehouseCode": "LON1", "WarehouseName": "London"}],
            "VatGroups": [{"Code": "O1", "Name": "20 %", "Rate": "20"}],
            "Items": [{"ItemCode": "A1", "ItemName": "Red"}, {"ItemCode": "A/B#1 ?%+\\'ü", "ItemName": "Odd"}],
            "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Freight"}],
            "stock": [{"item": "A1", "warehouse": "LON1", "quantity": "100"}],
        },
    )


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def simulator(company: Company, clock: ManualClock, faults: FaultPlan) -> ServiceLayerApp:
    return build_app(
        company,
        users={"streams": "right"},
        clock=clock.now,
        random=random.Random(1),
        faults=faults,
        settings=ServiceLayerSettings(speed=0, lock_wait_s=0),
    )


@pytest.fixture
def transport(simulator: ServiceLayerApp) -> RecordingWire:
    return RecordingWire(simulator)


@pytest.fixture
async def service_layer(transport: RecordingWire, clock: ManualClock) -> AsyncIterator[HttpServiceLayer]:
    layer = HttpServiceLayer(
        "https://b1.example:50000/b1s/v2",
        "SBO_ACME",
        "streams",
        Secret("env:B1", "right"),
        transport=transport,
        clock=clock,
        random=random.Random(1),
        sleep=clock.sleep,
    )
    yield layer
    await layer.close()
