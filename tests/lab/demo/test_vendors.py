"""The sales split among vendors: all of it, each thing once, and what their ledgers say is what happened there."""

import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from lab.demo import vendor_ledgers, vendors
from lab.feed import sales as feed
from lab.simulators.vendors.registry import build_vendor
from lab.simulators.vendors.server import to_json
from streams.config.load import load

TODAY = date(2026, 11, 21)
URLS = {name: f"http://127.0.0.1:{number}" for number, name in enumerate(vendors.VENDORS, 1)}


@pytest.fixture(scope="module")
def made():
    return feed.build([row for row in feed.read() if row["InvoiceDate"] < "2011-10-26"], TODAY)


@pytest.fixture(scope="module")
def plan(made):
    return vendors.split(made)


def events(made):
    lines = dict.fromkeys(entry.line for entry in (*made.shop, *made.warehouse))
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_everything_happens_once_somewhere(made, plan):
    sold = Counter(event["type"] for event in events(made))
    till = Counter(
        "unreadable" if not entry.line.endswith("}") else json.loads(entry.line)["type"] for entry in plan.till
    )
    kinds = Counter((act.kind, act.vendor in vendors.SHOPS) for act in plan.acts)
    assert kinds["order", True] == sold["order_placed"] == plan.expected["order_placed"]
    assert kinds["dispatch", True] == sold["dispatch_confirmed"] == plan.expected["dispatch_confirmed"]
    assert sum(act.kind == "count" for act in plan.acts) == sold["stock_adjusted"]
    assert plan.expected["refund_issued"] + till["refund_issued"] >= sold["refund_issued"] > till["refund_issued"] > 0
    assert set(till) == {"refund_issued", "unreadable"}
    assert till["unreadable"] == 2
    assert {act.vendor for act in plan.acts} == set(vendors.VENDORS)


def test_whose_an_order_is_follows_from_its_number_and_a_refunded_one_is_of_a_shop_that_refunds(made, plan):
    owners = {act.body["number"]: act.vendor for act in plan.acts if act.kind == "order"}
    refunded = {event["order_id"] for event in events(made) if event["type"] == "refund_issued" and "order_id" in event}
    assert all(owner == vendors.vendor_of(number, refunded=number in refunded) for number, owner in owners.items())
    assert all(owners[number] != "veeqo" for number in refunded)
    assert min(Counter(owners.values()).values()) * 5 > len(owners)


def test_what_the_shops_send_is_a_parcel_of_the_warehouse(plan):
    sent = Counter(act.vendor for act in plan.acts if act.kind == "dispatch")
    assert sent["seko"] == sent["magento"] + sent["shopify"] > 0
    assert plan.expected["dispatch_confirmed"] == sent["seko"] + sent["veeqo"]


def test_the_opening_stock_covers_all_that_leaves(plan):
    left = Counter()
    for act in plan.acts:
        if act.vendor == "seko":
            rows = (
                act.body["lines"] if act.kind == "dispatch" else [[act.body["sku"], str(-Decimal(act.body["delta"]))]]
            )
            for sku, units in rows:
                left[act.body["place"], sku] += max(Decimal(units), 0)
    codes = {place: code for code, place in vendors.PLACES["seko"].items()}
    assert all(plan.opening[sku, codes[place]] >= units for (place, sku), units in left.items() if place in codes)


def played(made, plan, tmp_path):
    """The whole plan, in process."""
    source = vendors.Vendors(made, tmp_path, URLS)
    source.prepare()
    there = {
        name: build_vendor(name, json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")))
        for name in vendors.VENDORS
    }
    ids = {}
    for kind in ("order", "dispatch", "refund", "count"):
        for act in (act for act in plan.acts if act.kind == kind):
            body = dict(act.body)
            if act.vendor == "seko" and "order" in body:
                body["order"] = ids[body["order"]]
            answer = getattr(there[act.vendor], kind)(body)
            if kind == "order":
                ids[body["number"]] = answer
    return there, ids


def test_the_vendors_ledgers_say_what_happened_there(made, plan, tmp_path):
    there, ids = played(made, plan, tmp_path)
    said = {
        name: list(
            vendor_ledgers.READERS[name](
                json.loads(json.dumps(to_json(stage.ledger()))), dispatches=name in ("veeqo", "seko")
            )
        )
        for name, stage in there.items()
    }
    flows = Counter(event["type"] for one in said.values() for event in one)
    assert {flow: flows[flow] for flow in plan.expected} == plan.expected
    orders = {event["order_id"]: event for one in said.values() for event in one if event["type"] == "order_placed"}
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
    for event in said["veeqo"]:
        for line in event["lines"] if event["type"] == "dispatch_confirmed" else ():
            moved[line["sku"]] -= Decimal(line["quantity"])
        if event["type"] == "stock_adjusted":
            moved[event["sku"]] += Decimal(event["delta"])
    shelves = vendor_ledgers.shelves(to_json(there["veeqo"].ledger()))
    assert all(units == plan.opening[sku, "VEQ1"] + moved[sku] >= 0 for (sku, _), units in shelves.items())


def test_the_real_loader_takes_the_configuration_and_no_secret_is_in_it(made, tmp_path):
    source = vendors.Vendors(made, tmp_path, URLS)
    source.prepare()
    (tmp_path / "password").write_text("secret", encoding="utf-8")
    text = source.configuration(
        bootstrap_servers="127.0.0.1:1", service_layer_url="http://127.0.0.1:1/b1s/v2", password="file:password"
    )
    (tmp_path / "streams.toml").write_text(text, encoding="utf-8")
    config = load(tmp_path / "streams.toml", {})
    assert set(config.connectors) == {*vendors.VENDORS, "till"}
    for path in (tmp_path / "secrets").iterdir():
        assert path.read_text(encoding="utf-8") not in text
    b1 = source.simulator(password="secret")
    stock = b1["companies"]["SBO_ACME"]["master_data"]["stock"]
    assert {row["warehouse"] for row in stock} == {"LON1", "WEB1", "VEQ1"}


class Answering(vendors.Vendors):
    """Vendors that answer at once; `asked` is what they were asked."""

    def __init__(self, made, folder):
        super().__init__(made, folder, URLS)
        self.asked = []
        self.sweeps = 0

    async def _ask(self, vendor, what, body=None):
        self.asked.append((vendor, what, body))
        if what == "counters":
            return {"sweeps": self.sweeps}
        return [f"{vendor}-{act.get('number')}" for act in body]


async def test_orders_come_before_their_parcels_and_each_act_is_asked_for_once(made, plan, tmp_path):
    source = Answering(made, tmp_path)
    (tmp_path / "in" / "till").mkdir(parents=True)
    left = source.left
    assert left == source.lines == len(plan.acts) + len(plan.till)
    moments = made.moments(4)
    await source.write(moments[1])
    assert 0 < source.left < left
    for upto in moments:
        await source.write(upto)
    assert source.left == 0
    asked = [(vendor, act) for vendor, _, acts in source.asked for act in acts]
    assert len(asked) == len(plan.acts)
    parcels = [act["order"] for vendor, act in asked if vendor == "seko" and act["action"] == "dispatch"]
    assert all(order.startswith(("magento-", "shopify-")) for order in parcels)


async def test_it_waits_for_every_event_for_sweeps_and_for_silence(made, plan, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(vendors.time, "monotonic", lambda: now[0])
    source = Answering(made, tmp_path)
    received = dict(plan.expected)
    fewer = received | {"order_placed": received["order_placed"] - 2}
    assert await source.missing(fewer) == "2 of order_placed"
    assert "sweep" in await source.missing(received)
    source.sweeps = 3
    assert "news" in await source.missing(received)
    now[0] += 20
    assert await source.missing(received) == ""
    assert "news" in await source.missing(received | {"stock_adjusted": 1})
