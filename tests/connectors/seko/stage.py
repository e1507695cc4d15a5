"""The facility of the contract suite.

An hour of dispatches, adjustments and movements, found by polling, one of each bad.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from connectors.seko import source as module
from connectors.seko.records import messages
from connectors.seko.source import SekoSource
from connectors.webhooks.body import parse_json
from lab.simulators.seko.app import Hub

CANARY = "canary-5ecret"
ENVIRON = {"SEKO_KEY": CANARY}
SETTINGS = {
    "api_key": "env:SEKO_KEY",
    "locations": {"DCCL01": "LON1"},
    "segregated_types": "QC",
    "held_types": "Quarantine",
    "summary_columns": {"QuantityOnHand": "Available Stock"},
}
FACTS = frozenset(
    {
        ("dispatch-confirmed", "disp-00000006"),
        ("stock-adjusted", "adj:adj-0000000c:line-0000000d", "A", "DCCL01"),
        ("stock-adjusted", "adj:adj-0000000f:line-00000010", "B", "DCCL01"),
        ("stock-adjusted", "mov:#1::", "A", "DCCL01"),
        ("stock-adjusted", "mov:#2::", "B", "DCCL01"),
    }
)
DELTAS = {
    "adj:adj-0000000c:line-0000000d": Decimal(-3),
    "adj:adj-0000000f:line-00000010": Decimal(2),
    "mov:#1::": Decimal(-5),
    "mov:#2::": Decimal(-4),
}


def fill(_folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "BATCH_ITEMS", 2)


def hub_of(clock: Any) -> Hub:
    hub = Hub(clock=lambda: clock.now() - timedelta(hours=1), key=CANARY)
    hub.stock = {("DCCL01", "Available Stock", sku, ""): 100 for sku in "AB"}
    for number in ("W-1", "W-2"):
        hub.load_order(number, {"A": 2, "B": 3})
    bad = hub.dispatch("W-1", tracking=CANARY)
    bad.row["Dispatch"]["DispatchDate"] = CANARY
    hub.dispatch("W-2", {"A": 2, "B": 1})
    hub.adjust("A", -1, code=CANARY).row["List"]["StockAdjustmentLineItem"][0]["Quantity"] = "some"
    hub.adjust("A", -3)
    hub.adjust("B", 2)
    hub.adjust("B", 1, location_type="Quarantine")
    hub.move("A", 5, "Available Stock", "Quarantine")
    hub.move("B", 4, "Available Stock", "QC")
    return hub


def source_of(name: str, settings: Any, clock: Any, _folder: Path) -> SekoSource:
    return SekoSource(name, settings, clock, transport=httpx.ASGITransport(hub_of(clock)))


def letters_of(clock: Any) -> tuple[tuple[str, bytes, str, str], ...]:
    hub = hub_of(clock)

    def kept(at: int) -> bytes:
        (found,) = messages(parse_json(hub.body([hub.messages[at]])))
        return found.raw

    return (
        ("dispatch-confirmed-dead-letter", kept(0), "invalid_event", "seko dispatch"),
        ("stock-adjusted-dead-letter", kept(2), "invalid_event", "seko adjustment"),
    )
