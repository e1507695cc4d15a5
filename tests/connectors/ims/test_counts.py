"""Counts in files beside dispatches in files, through the runtime.

Restarts, crashes, repeats and files that come again.
"""

import asyncio
import json
from decimal import Decimal

import pytest

from connectors.base.cursors import Cursors
from connectors.base.dead_letters import DeadLetters
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource
from connectors.runtime import Runtime
from lab.conformance.memory import Immediately
from schemas.events import StockAdjusted

TOPIC = "connector-cursors"


class StopWhenIdle(NoMetrics):
    def __init__(self, stop):
        self._stop = stop

    def looked(self, connector, idle):
        if idle:
            self._stop.set()


def level(sequence, quantity, minute, sku="A"):
    fields = {"event_id": f"l{sequence}", "sku": sku, "location": "MAIN", "level": str(quantity), "reason": "count"}
    return {"type": "stock_adjusted", **fields, "sequence": sequence, "occurred_at": f"2026-11-21T09:{minute:02}:00Z"}


def dispatch(shipment, quantity, minute, sku="A"):
    lines = [{"sku": sku, "quantity": str(quantity)}]
    fields = {"shipment_id": shipment, "order_id": "1", "location": "MAIN", "lines": lines}
    return {"type": "dispatch_confirmed", **fields, "occurred_at": f"2026-11-21T09:{minute:02}:00Z"}


class Warehouse:
    """An inbox, and the processes that read it one after another."""

    def __init__(self, folder, broker, codec, clock, **changes):
        table = {"kind": "ims", "company": "acme", "inbox": "in", "levels_include_dispatches": True} | changes
        self.settings = ImsSettings.model_validate(table, context={"folder": folder, "environ": {}})
        self.settings.inbox.mkdir(exist_ok=True)
        self.broker, self.codec, self.clock = broker, codec, clock

    def write(self, name, *lines):
        text = "\n".join(json.dumps(line) for line in lines)
        (self.settings.inbox / f"{name}.jsonl").write_text(text)

    async def run(self):
        stop = asyncio.Event()
        cursors = Cursors("wms", self.broker, self.codec, self.clock, topic=TOPIC, partition=0)
        runtime = Runtime(
            ImsSource("wms", self.settings, self.clock),
            cursors=cursors,
            publisher=Publisher(self.broker, self.codec, self.clock, str),
            letters=DeadLetters(self.broker, self.codec, self.clock, str, lambda _company: 0),
            metrics=StopWhenIdle(stop),
            poll_interval_s=0.01,
            random=Immediately(),
        )
        await runtime.run(stop)

    def changes(self):
        """The deltas by their identity; the same twice is one."""
        found = {}
        for record in self.broker.all("stock-adjusted"):
            event = self.codec.decode(record.value, StockAdjusted)
            assert found.setdefault((event.event_id, event.sku), event.delta) == event.delta
        return found


@pytest.fixture
def warehouse(tmp_path, broker, codec, clock):
    return lambda **changes: Warehouse(tmp_path, broker, codec, clock, **changes)


async def test_what_a_dispatch_took_is_not_booked_with_the_count_as_well(warehouse):
    wms = warehouse()
    wms.write("1", level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20), dispatch("d2", 1, 25), level(3, 94, 30))
    await wms.run()
    assert wms.changes() == {("l3", "A"): Decimal(-1)}


async def test_counts_that_know_nothing_of_dispatches_are_taken_as_they_are(warehouse):
    wms = warehouse(levels_include_dispatches=False)
    wms.write("1", level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20))
    await wms.run()
    assert wms.changes() == {("l2", "A"): Decimal(-4)}


async def test_it_holds_over_restarts_and_for_files_that_come_again(warehouse):
    wms = warehouse()
    reports = [level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20), level(3, 95, 30), dispatch("d2", 2, 40)]
    for number, report in enumerate([*reports, level(4, 93, 50)]):
        wms.write(f"{number}", report)
        await wms.run()
    wms.write("all-again", dispatch("d1", 4, 10), dispatch("d2", 2, 40), dispatch("d1", 4, 10))
    await wms.run()
    wms.write("z", level(5, 92, 55))
    await wms.run()
    assert wms.changes() == {("l3", "A"): Decimal(-1), ("l5", "A"): Decimal(-1)}


async def test_what_happened_before_the_start_is_not_netted(warehouse):
    wms = warehouse(start_at="2026-11-21T09:15:00Z")
    wms.write("1", level(1, 100, 0), dispatch("d1", 4, 10), dispatch("d2", 3, 16), level(2, 93, 20))
    await wms.run()
    assert wms.changes() == {("l2", "A"): Decimal(-4)}


async def test_it_holds_wherever_the_process_dies(tmp_path, make_broker, codec, clock, crash):
    reports = [level(1, 100, 0), dispatch("d1", 4, 10), level(2, 95, 20), dispatch("d2", 2, 15), level(3, 95, 30)]
    reports += [dispatch("d3", 1, 31), level(4, 90, 40), dispatch("d1", 4, 10)]
    expected = {("l2", "A"): Decimal(-1), ("l3", "A"): Decimal(2), ("l4", "A"): Decimal(-4)}
    for moment in ("before", "after"):
        for fatal in range(100):
            folder = tmp_path / f"{moment}-{fatal}"
            folder.mkdir()
            wms = Warehouse(folder, make_broker(), codec, clock)
            wms.write("1", *reports[:4])
            wms.write("2", *reports[4:])
            sends = iter(range(1000))

            def die(what, sends=sends, fatal=fatal):
                if what.startswith("send") and next(sends) == fatal:
                    raise crash

            setattr(wms.broker, moment, die)
            try:
                await wms.run()
                assert fatal > 5
                break
            except crash:
                setattr(wms.broker, moment, lambda _what: None)
                await wms.run()
            assert wms.changes() == expected, (moment, fatal)


@pytest.mark.parametrize(("said", "warnings"), [(None, 1), (True, 0), (False, 0)])
async def test_a_place_with_both_is_warned_of_once_while_nobody_has_said_how_they_go_together(
    warehouse, capsys, said, warnings
):
    wms = warehouse(levels_include_dispatches=said)
    wms.write("1", level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20), dispatch("d2", 4, 30))
    await wms.run()
    assert capsys.readouterr().out.count("levels_beside_dispatches") == warnings
