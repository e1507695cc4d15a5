"""The vendors' simulators and the till as the demo's input."""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.demo import vendor_ledgers
from lab.demo.inputs import DemoEvidence, StartProcess
from lab.demo.processes import ProcessError, ask_json
from lab.demo.vendors.configuration import CARRIER_CODES, connectors_toml, write_simulator_files
from lab.demo.vendors.names import DISPATCHERS, FAULTS, TILL, VENDORS
from lab.demo.vendors.plan import split_sales
from lab.feed.company import TAX_CODES
from lab.feed.configuration import simulator_config, streams_toml
from lab.feed.feed import Feed
from lab.feed.writer import FeedWriter, written_files

_ACTION_ORDER = ("order", "dispatch", "refund", "count")  # in this order within one step
_MAX_ACTIONS_PER_REQUEST = 200
_READY_S = 60.0
#: Sweeps over Veeqo's stock to wait for at the end: one is under way, the next sees all but what it counts again.
_LAST_SWEEPS = 3
QUIET_S = 8.0  # longer than any poll's interval


class VendorInput:
    """The vendors' simulators and the till, as the demo's `DemoInput`.

    Args:
        made: The sales.
        folder: For configurations, secrets, and the till's files.
        urls: Vendor -> where its simulator is; none: `open` starts them.
    """

    def __init__(self, made: Feed, folder: Path, urls: Mapping[str, str] | None = None) -> None:
        self._made, self._folder = made, folder
        self._plan = split_sales(made)
        self._writer = FeedWriter({TILL: self._plan.till}, folder / "in")
        self._urls = dict(urls or {})
        self._next = 0
        self._ids: dict[str, Any] = {}  # of orders, the vendor's own
        self._mark: int | None = None
        self._quiet: tuple[Mapping[str, int], float] = ({}, 0.0)

    @property
    def about(self) -> str:
        counts = Counter(action.vendor for action in self._plan.actions)
        told = ", ".join(f"{counts[vendor]:,} at {vendor.title()}" for vendor in VENDORS)
        return (
            f"{self._made.first} to {self._made.last} pressed into now: {told}, {len(self._plan.till):,} lines "
            "of the till"
        )

    @property
    def lines(self) -> int:
        return len(self._plan.actions) + len(self._plan.till)

    @property
    def left(self) -> int:
        return len(self._plan.actions) - self._next + self._writer.left

    def moments(self, steps: int) -> list[datetime]:
        return self._made.moments(steps)

    # ---- before

    def prepare(self) -> None:
        """Write the simulators' configurations, the secrets and the till's inbox."""
        (self._folder / "in" / TILL).mkdir(parents=True, exist_ok=True)
        (self._folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        write_simulator_files(self._folder, self._plan)

    async def open(self, start: StartProcess) -> None:
        self.prepare()
        command = [sys.executable, "-m", "lab.simulators"]
        children = [
            await start(vendor, [*command, vendor, "--port", "0", "--config", f"{vendor}.json"]) for vendor in VENDORS
        ]
        for vendor, child in zip(VENDORS, children, strict=True):
            port = await child.wait_for_output(r"listening on (\d+)", _READY_S)
            self._urls[vendor] = f"http://127.0.0.1:{port}"

    def configuration(self, **connection: Any) -> str:
        told = {f"{country}-{rate}": "O1" if Decimal(rate) else "O0" for country, rate in self._plan.countries}
        return streams_toml(
            self._made,
            tax_codes=TAX_CODES | told,
            carriers=CARRIER_CODES,
            partners=connectors_toml(self._urls),
            **connection,
        )

    def simulator(self, **b1: Any) -> dict[str, object]:
        stock: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for (sku, code), units in self._plan.opening.items():
            stock[self._made.items.get(sku, sku), code] += units
        warehouses: Any = self._made.master["Warehouses"]
        master = {
            **self._made.master,
            "Warehouses": [*warehouses, {"WarehouseCode": "VEQ1", "WarehouseName": "Veeqo"}],
            "stock": [
                {"item": item, "warehouse": code, "quantity": str(units)}
                for (item, code), units in sorted(stock.items())
                if units
            ],
        }
        return simulator_config(replace(self._made, master=master), **b1)

    async def connect(self, url: str) -> None:
        """Veeqo's first sweep is the baseline: what changes before it is nobody's. Then things begin to go wrong."""
        for vendor in ("shopify", "seko"):
            await self._ask(vendor, "webhooks", {"url": f"{url}/{vendor}"})
        deadline = time.monotonic() + _READY_S
        while not await self._sweeps():
            if time.monotonic() > deadline:
                raise ProcessError(f"Veeqo's stock was not read in {_READY_S:.0f} s; see connect.log")
            await asyncio.sleep(0.2)
        for vendor, rates in FAULTS.items():
            await self._ask(vendor, "faults", rates)

    # ---- meanwhile

    async def write(self, until: datetime) -> None:
        self._writer.write(until)
        actions, at = self._plan.actions, self._next
        while at < len(actions) and actions[at].at < until:
            at += 1
        due = actions[self._next : at]
        for kind in _ACTION_ORDER:
            await asyncio.gather(
                *(self._do(vendor, [a.body for a in due if (a.vendor, a.kind) == (vendor, kind)]) for vendor in VENDORS)
            )
        self._next = at

    async def _do(self, vendor: str, actions: Sequence[Mapping[str, Any]]) -> None:
        for at in range(0, len(actions), _MAX_ACTIONS_PER_REQUEST):
            some = actions[at : at + _MAX_ACTIONS_PER_REQUEST]
            if vendor == "seko":  # it knows orders by what the shop calls them
                some = [
                    {**action, "order": self._ids[action["order"]]} if "order" in action else action for action in some
                ]
            answers = await self._ask(vendor, "actions", some)
            self._ids |= {
                action["number"]: answer for action, answer in zip(some, answers, strict=True) if "number" in action
            }

    async def missing(self, received: Mapping[str, int]) -> str:
        sweeps = await self._sweeps()
        self._mark = sweeps if self._mark is None else self._mark
        for flow, count in self._plan.expected.items():
            if received.get(flow, 0) < count:
                return f"{count - received.get(flow, 0):,} of {flow}"
        if sweeps < self._mark + _LAST_SWEEPS:
            return "a sweep over Veeqo's stock"
        now = time.monotonic()
        if received != self._quiet[0]:
            self._quiet = dict(received), now
        return "" if now - self._quiet[1] >= QUIET_S else "a moment without new events"

    async def evidence(self) -> DemoEvidence:
        ledgers = {vendor: await self._ask(vendor, "ledger") for vendor in VENDORS}
        for vendor, ledger in ledgers.items():
            (self._folder / f"{vendor}-ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
        told = {
            vendor: list(vendor_ledgers.READERS[vendor](ledger, dispatches=vendor in DISPATCHERS))
            for vendor, ledger in ledgers.items()
        }
        return DemoEvidence(written_files(self._folder / "in"), told, vendor_ledgers.shelves(ledgers["veeqo"]))

    async def _sweeps(self) -> int:
        return int((await self._ask("veeqo", "counters")).get("sweeps", 0))

    async def _ask(self, vendor: str, what: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        return await ask_json(vendor, self._urls[vendor], method, f"/_simulator/{what}", body)
