"""The sales split among vendors: all of it, each thing once, and what their ledgers say is what happened there."""

import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from lab.demo import vendor_ledgers
from lab.demo.vendors import names
from lab.demo.vendors import source as vendor_source
from lab.demo.vendors.plan import split_sales, vendor_of
from lab.demo.vendors.source import VendorInput
from lab.feed.build import build_feed
from lab.feed.rows import read_rows
from lab.simulators.vendors.registry import build_vendor
from lab.simulators.vendors.server import to_json
from streams.config.load import load

TODAY = date(2026, 11, 21)
URLS = {name: f"http://127.0.0.1:{number}" for number, name in enumerate(names.VENDORS, 1)}


@pytest.fixture(scope="module")
def made():
    return build_feed([row for row in read_rows() if row["InvoiceDate"] < "2011-10-26"], TODAY)


@pytest.fixture(scope="module")
def plan(made):
    return split_sales(made)


def events(made):
    lines = dict.fromkeys(entry.line for entry in (*made.shop, *made.warehouse))
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_everything_happens_once_somewhere(made, plan):
    sold = Counter(event["type"] for event in events(made))
    till = Counter(
        "unreadable" if not entry.line.endswith("}") else json.loads(entry.line)["type"] for entry in plan.till
    )
    kinds = Counter((action.kind, action.vendor in names.SHOPS) for action in plan.actions)
    assert kinds["order", True] == sold["order_placed"] == plan.expected["order_placed"]
    assert kinds["dispatch", True] == sold["dispatch_confirmed"] == plan.expected["dispatch_confirmed"]
    assert sum(action.kind == "count" for action in plan.actions) == sold["stock_adjusted"]
    assert plan.expected["refund_issued"] + till["refund_issued"] >= sold["refund_issued"] > till["refund_issued"] > 0
    assert set(till) == {"refund_issued", "unreadable"}
    assert till["unreadable"] == 2
    assert {action.vendor for action in plan.actions} == set(names.VENDORS)


def test_whose_an_order_is_follows_from_its_number_and_a_refunded_one_is_of_a_shop_that_refunds(made, plan):
    owners = {action.body["number"]: action.vendor for action in plan.actions if action.kind == "order"}
    refunded = {event["order_id"] for event in events(made) if event["type"] == "refund_issued" and "order_id" in event}
    assert all(owner == vendor_of(number, refunded=number in refunded) for number, owner in owners.items())
    assert all(owners[number] != "veeqo" for number in refunded)
    assert min(Counter(owners.values()).values()) * 5 > len(owners)


def test_what_the_shops_send_is_a_parcel_of_the_warehouse(plan):
    sent = Counter(action.vendor for action in plan.actions if action.kind == "dispatch")
    assert sent["seko"] == sent["magento"] + sent["shopify"] > 0
    assert plan.expected["dispatch_confirmed"] == sent["seko"] + sent["veeqo"]


def test_the_opening_stock_covers_all_that_leaves(plan):
    left = Counter()
    for action in plan.actions:
        if action.vendor == "seko":
            rows = (
                action.body["lines"]
                if action.kind == "dispatch"
                else [[action.body["sku"], str(-Decimal(action.body["delta"]))]]
            )
            for sku, units in rows:
                left[action.body["place"], sku] += max(Decimal(units), 0)
    codes = {place: code for code, place in names.VENDOR_PLACES["seko"].items()}
    assert all(plan.opening[sku, codes[place]] >= units for (place, sku), units in left.items() if place in codes)


def played(made, plan, tmp_path):
    """The whole plan, in process."""
    source = VendorInput(made, tmp_path, URLS)
    source.prepare()
    there = {
        name: build_vendor(name, json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")))
        for name in names.VENDORS
    }
    ids = {}
    for kind in ("order", "dispatch", "refund", "count"):
        for action in (action for action in plan.actions if action.kind == kind):
            body = dict(action.body)
            if action.vendor == "seko" and "order" in body:
                body["order"] = ids[body["order"]]
            answer = getattr(there[action.vendor], kind)(body)
            if kind == "order":
                ids[body["number"]] = answer
    return there, ids


def test_the_vendors_ledgers_say_what_happened_there(made, plan, tmp_path):
    there, ids = played(made, plan, tmp_path)
    by_vendor = {
        name: list(
            vendor_ledgers.READERS[name](
                json.loads(json.dumps(to_json(stage.ledger()))), dispatches=name in ("veeqo", "seko")
            )
        )
        for name, stage in there.items()
    }
    flows = Counter(event["type"] for one in by_vendor.values() for event in one)
    assert {flow: flows[flow] for flow in plan.expected} == plan.expected
    orders = {
        event["order_id"]: event for one in by_vendor.values() for event in one if event["type"] == "order_placed"
    }
    totals = {event["order_id"]: event["grand_total"] for event in events(made) if event["type"] == "order_placed"}
    # Veeqo taxes the sum, the shop of the data each line: pennies.
    off = [abs(Decimal(totals[number]) - Decimal(orders[str(ids[number])]["grand_total"])) for number in totals]
    assert len(orders) == len(totals)
    assert max(off) < 1
    assert sum(1 for each in off if not each) * 2 > len(off)
    assert sum(Decimal(line["quantity"]) for event in orders.values() for line in event["lines"]) == sum(
        Decimal(line["quantity"])
        for event in events(made)
        if event["type"] == "order_placed"
        for line in event["lines"]
    )
    moved = Counter()
    for event in by_vendor["veeqo"]:
        for line in event["lines"] if event["type"] == "dispatch_confirmed" else ():
            moved[line["sku"]] -= Decimal(line["quantity"])
        if event["type"] == "stock_adjusted":
            moved[event["sku"]] += Decimal(event["delta"])
    shelves = vendor_ledgers.shelves(to_json(there["veeqo"].ledger()))
    assert all(units == plan.opening[sku, "VEQ1"] + moved[sku] >= 0 for (sku, _), units in shelves.items())


def test_the_real_loader_takes_the_configuration_and_no_secret_is_in_it(made, tmp_path):
    source = VendorInput(made, tmp_path, URLS)
    source.prepare()
    (tmp_path / "password").write_text("secret", encoding="utf-8")
    text = source.configuration(
        bootstrap_servers="127.0.0.1:1", service_layer_url="http://127.0.0.1:1/b1s/v2", password="file:password"
    )
    (tmp_path / "streams.toml").write_text(text, encoding="utf-8")
    config = load(tmp_path / "streams.toml", {})
    assert set(config.connectors) == {*names.VENDORS, "till"}
    for path in (tmp_path / "secrets").iterdir():
        assert path.read_text(encoding="utf-8") not in text
    b1 = source.simulator(password="secret")
    stock = b1["companies"]["SBO_ACME"]["master_data"]["stock"]
    assert {row["warehouse"] for row in stock} == {"LON1", "WEB1", "VEQ1"}


class Answering(VendorInput):
    """Vendors that answer at once; `asked` is what they were asked."""

    def __init__(self, made, folder):
        super().__init__(made, folder, URLS)
        self.asked = []
        self.sweeps = 0

    async def _ask(self, vendor, what, body=None):
        self.asked.append((vendor, what, body))
        if what == "counters":
            return {"sweeps": self.sweeps}
        return [f"{vendor}-{action.get('number')}" for action in body]


async def test_orders_come_before_their_parcels_and_each_act_is_asked_for_once(made, plan, tmp_path):
    source = Answering(made, tmp_path)
    (tmp_path / "in" / "till").mkdir(parents=True)
    left = source.left
    assert left == source.lines == len(plan.actions) + len(plan.till)
    moments = made.moments(4)
    await source.write(moments[1])
    assert 0 < source.left < left
    for until in moments:
        await source.write(until)
    assert source.left == 0
    asked = [(vendor, action) for vendor, _, actions in source.asked for action in actions]
    assert len(asked) == len(plan.actions)
    parcels = [action["order"] for vendor, action in asked if vendor == "seko" and action["action"] == "dispatch"]
    assert all(order.startswith(("magento-", "shopify-")) for order in parcels)


async def test_it_waits_for_every_event_for_sweeps_and_for_silence(made, plan, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(vendor_source.time, "monotonic", lambda: now[0])
    source = Answering(made, tmp_path)
    received = dict(plan.expected)
    fewer = received | {"order_placed": received["order_placed"] - 2}
    assert await source.missing(fewer) == "2 of order_placed"
    assert "sweep" in await source.missing(received)
    source.sweeps = 3
    assert "without new events" in await source.missing(received)
    now[0] += 20
    assert await source.missing(received) == ""
    assert "without new events" in await source.missing(received | {"stock_adjusted": 1})
