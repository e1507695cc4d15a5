import json
import re
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from lab.feed.build import build_feed
from lab.feed.company import PLACES, SHOP, UNMAPPED, WAREHOUSE
from lab.feed.configuration import streams_toml
from lab.feed.rows import read_rows
from lab.feed.writer import FeedWriter, written_files
from streams.config.load import load

TODAY = date(2026, 11, 20)
_NEW = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


@pytest.fixture(scope="module")
def week():
    return build_feed(read_rows(), TODAY)


def parsed(entries):
    for entry in entries:
        try:
            yield entry, json.loads(entry.line, parse_float=Decimal)
        except ValueError:
            assert entry.line.startswith('{"type"')


def events(made, kind):
    return [event for _, event in parsed((*made.shop, *made.warehouse)) if event["type"] == kind]


def first_of_each(found, key):
    return list({event[key]: event for event in reversed(found)}.values())


def rows(*lines):
    """Invoice, code, text, quantity, time, price, customer, country."""
    return [dict(zip(_NEW, line, strict=True)) for line in lines]


def made_of(*lines, **how):
    return build_feed(rows(*lines), TODAY, mess=False, **how)


def a_line(
    invoice="500001", code="22001", quantity="2", at="2011-10-24T10:00:00", price="3.35", customer="17850", **more
):
    return (
        invoice,
        code,
        more.get("text", "A THING"),
        quantity,
        at,
        price,
        customer,
        more.get("country", "United Kingdom"),
    )


def test_the_same_rows_seed_and_day_give_the_same_bytes(week):
    assert build_feed(read_rows(), TODAY) == week
    assert build_feed(read_rows(), TODAY, seed=2) != week


#: Ordinary days, year's end, a leap day, and the days after both clock changes in London.
DAYS = [date(2026, 11, 30), date(2026, 12, 31), date(2028, 2, 29), date(2026, 3, 30), date(2026, 10, 26)]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_day_of_the_run_moves_the_dates_and_nothing_else(week, day):
    def undated(made):
        lines = [entry.line for file in made.files.values() for entry in file]
        return [re.sub(r'"occurred_at":"[^"]*', "", line) for line in lines if line.endswith("}")]

    other = build_feed(read_rows(), day)
    assert other.counts == week.counts
    assert other.left_out == week.left_out
    assert undated(other) == undated(week)
    assert other.master == week.master


def test_the_week_ends_on_its_own_weekday_within_the_seven_days_before_today(week):
    assert week.last.weekday() == 6
    assert timedelta(days=1) <= TODAY - week.last <= timedelta(days=7)
    for entry in (*events(week, "order_placed"), *events(week, "dispatch_confirmed")):
        assert datetime.fromisoformat(entry["occurred_at"]).date() <= week.last


def test_every_time_is_london_time_with_an_offset(week):
    offsets = {event["occurred_at"][-6:] for _, event in parsed(week.shop)}
    assert offsets <= {"+00:00", "+01:00"}


def test_the_week_has_the_mix_that_the_demo_needs(week):
    for what in ("order_placed", "refund_issued", "stock_adjusted", "dispatch_confirmed", "guest_orders", "repeats"):
        assert week.counts[what] > 0, what
    assert week.counts["refunds of an order"] > 0
    assert week.counts["partial dispatches"] > 0
    assert week.counts["orders_with_carriage"] > 0
    assert {event["reason"] for event in events(week, "stock_adjusted")} >= {
        "damaged",
        "found",
        "lost",
        "count",
        "other",
    }
    assert "85123a" in week.items or len(week.items) > 10


def test_every_row_is_a_line_or_is_counted_as_left_out():
    made = made_of(
        a_line(),
        a_line(code="POST", price="18.00", quantity="1"),
        a_line(code="M", price="1.00"),
        a_line(code="gift_0001_20", price="16.67"),
        a_line(code="BANK CHARGES", price="15.00"),
        a_line("A563185", "B", price="11062.06"),
        a_line("C500002", "D", quantity="-1", price="5.00"),
        a_line("500003", "DOT", price="4.95"),
    )
    assert made.left_out == {
        "no item: M": 1,
        "no item: gift voucher": 1,
        "no item: BANK CHARGES": 1,
        "no item: D": 1,
        "rows of other documents": 1,
        "carriage without goods": 1,
    }


def test_an_order_adds_up_to_the_penny_with_vat_per_line_and_carriage_as_shipping():
    made = made_of(
        a_line(), a_line(code="22002", price="0.85", quantity="7"), a_line(code="POST", price="18.00", quantity="1")
    )
    order = events(made, "order_placed")[0]
    # 6.70 + 1.34, 5.95 + 1.19, 18.00 + 3.60
    assert [line["tax_amount"] for line in order["lines"]] == ["1.34", "1.19"]
    assert (order["shipping"]["amount"], order["shipping"]["tax_amount"]) == ("18.00", "3.60")
    assert (order["tax_total"], order["grand_total"]) == ("6.13", "36.78")


def test_a_half_penny_of_tax_goes_up():
    made = made_of(a_line(quantity="1", price="0.125"))
    line = events(made, "order_placed")[0]
    assert (line["lines"][0]["tax_amount"], line["grand_total"]) == ("0.03", "0.16")  # 0.13 net, 0.026 tax


def test_every_order_of_the_week_adds_up(week):
    for order in events(week, "order_placed"):
        nets = sum((Decimal(line["quantity"]) * Decimal(line["unit_price"]) for line in order["lines"]), Decimal(0))
        tax = sum((Decimal(line["tax_amount"]) for line in order["lines"]), Decimal(0))
        shipping = order.get("shipping", {"amount": "0", "tax_amount": "0"})
        total = nets + tax + Decimal(shipping["amount"]) + Decimal(shipping["tax_amount"])
        assert Decimal(order["grand_total"]) == total, order["order_id"]


def test_what_leaves_the_country_has_no_vat():
    order = events(made_of(a_line(country="Germany")), "order_placed")[0]
    assert (order["lines"][0]["tax_code"], order["tax_total"], order["ship_to"]) == ("GB-0", "0.00", {"country": "DE"})


def test_an_item_named_twice_stays_two_lines_and_a_second_spelling_is_mapped():
    made = made_of(a_line(code="85123A"), a_line(code="85123a"))
    order = events(made, "order_placed")[0]
    assert [(line["line_id"], line["sku"]) for line in order["lines"]] == [("1", "85123A"), ("2", "85123a")]
    assert made.items == {"85123a": "85123A"}
    assert [item["ItemCode"] for item in made.master["Items"]] == ["85123A"]


def test_a_guest_has_no_customer_id():
    assert events(made_of(a_line(customer="")), "order_placed")[0]["customer"] == {"guest": True}


def test_dispatches_never_exceed_their_order_and_follow_it(week):
    ordered = {order["order_id"]: order for order in events(week, "order_placed")}
    sent = defaultdict(Counter)
    for shipment in first_of_each(events(week, "dispatch_confirmed"), "shipment_id"):
        order = ordered[shipment["order_id"]]
        assert datetime.fromisoformat(shipment["occurred_at"]) >= datetime.fromisoformat(order["occurred_at"])
        for line in shipment["lines"]:
            sent[order["order_id"]][line["sku"]] += Decimal(line["quantity"])
    for order_id, units in sent.items():
        wanted = Counter()
        for line in ordered[order_id]["lines"]:
            wanted[line["sku"]] += Decimal(line["quantity"])
        assert all(units[sku] <= wanted[sku] for sku in units), order_id


def test_a_credit_note_refunds_the_latest_earlier_order_of_that_customer_item_and_price_with_quantity_left():
    made = made_of(
        a_line("500001", quantity="5", at="2011-10-24T10:00:00"),
        a_line("500002", quantity="2", at="2011-10-25T10:00:00"),
        a_line("500003", quantity="9", at="2011-10-25T11:00:00", price="3.00"),
        a_line("500004", quantity="9", at="2011-10-25T12:00:00", customer="12345"),
        a_line("C500005", quantity="-3", at="2011-10-26T10:00:00"),
        a_line("500006", quantity="9", at="2011-10-27T10:00:00"),
        a_line("C500007", quantity="-6", at="2011-10-26T12:00:00"),
    )
    found = [
        (refund["refund_id"], refund.get("order_id"), [line["quantity"] for line in refund["lines"]], refund["total"])
        for refund in events(made, "refund_issued")
    ]
    assert found == [
        ("C500005", "500002", ["2"], "8.04"),
        ("C500005-1", "500001", ["1"], "4.02"),
        ("C500007", "500001", ["4"], "16.08"),
        ("C500007-1", None, ["2"], "8.04"),
    ]


def test_a_refunded_order_was_dispatched_whole_before_its_refund(week):
    refunds = [event for event in events(week, "refund_issued") if event.get("order_id")]
    shipments = defaultdict(dict)
    for shipment in events(week, "dispatch_confirmed"):
        shipments[shipment["order_id"]][shipment["shipment_id"]] = shipment
    for refund in refunds:
        (shipment,) = shipments[refund["order_id"]].values()
        assert datetime.fromisoformat(shipment["occurred_at"]) <= datetime.fromisoformat(refund["occurred_at"])


def test_refunds_of_an_order_never_give_back_more_than_it_cost(week):
    ordered = {
        (order["order_id"], line["line_id"]): line for order in events(week, "order_placed") for line in order["lines"]
    }
    back = defaultdict(lambda: [Decimal(0), Decimal(0), Decimal(0)])
    for refund in first_of_each(events(week, "refund_issued"), "refund_id"):
        for line in refund["lines"]:
            if "order_id" in refund:
                sums = back[refund["order_id"], line["line_id"]]
                for at, name in enumerate(("quantity", "amount", "tax_amount")):
                    sums[at] += Decimal(line[name])
    assert back
    for key, (quantity, net, tax) in back.items():
        line = ordered[key]
        assert quantity <= Decimal(line["quantity"])
        assert net <= Decimal(line["quantity"]) * Decimal(line["unit_price"])
        assert tax <= Decimal(line["tax_amount"])


@pytest.mark.parametrize(
    ("text", "quantity", "reason"),
    [
        ("damages", "-3", "damaged"),
        ("wet/rusty", "-1", "damaged"),
        ("thrown away", "-2", "damaged"),
        ("Found by jackie", "1", "found"),
        ("???missing", "-1", "lost"),
        ("", "-4", "count"),
        ("??", "-4", "count"),
        ("check", "2", "count"),
        ("PASTEL COLOUR HONEYCOMB FAN", "5", "other"),
    ],
)
def test_a_row_without_price_is_a_stock_movement_with_a_reason_from_its_text(text, quantity, reason):
    (event,) = events(made_of(a_line(price="0", quantity=quantity, text=text, customer="")), "stock_adjusted")
    assert (event["reason"], event["delta"], event["location"]) == (reason, quantity, "MAIN")


def test_a_free_thing_on_a_priced_invoice_leaves_the_stock():
    (event,) = events(made_of(a_line(), a_line(code="22002", price="0", quantity="5")), "stock_adjusted")
    assert (event["delta"], event["reason"]) == ("-5", "other")


def test_stock_that_is_with_amazon_lies_where_nothing_is_mapped():
    (event,) = events(made_of(a_line(price="0", quantity="1", text="Amazon Adjustment", customer="")), "stock_adjusted")
    assert event["location"] == UNMAPPED


def test_the_opening_stock_covers_all_that_leaves(week):
    opening = {(row["item"], row["warehouse"]): Decimal(row["quantity"]) for row in week.master["stock"]}
    code_of = {name: code for code, name in PLACES.items()}
    leaving = Counter()
    for shipment in first_of_each(events(week, "dispatch_confirmed"), "shipment_id"):
        for line in shipment["lines"]:
            leaving[line["sku"].upper(), code_of[shipment["location"]]] += Decimal(line["quantity"])
    assert all(opening[key] >= units for key, units in leaving.items())


def test_the_mess_is_repeats_and_one_cut_line_in_each_connectors_files(week):
    clean = build_feed(read_rows(), TODAY, mess=False)
    for messy, tidy in ((week.shop, clean.shop), (week.warehouse, clean.warehouse)):
        more = Counter(entry.line for entry in messy) - Counter(entry.line for entry in tidy)
        cut = [line for line in more if line not in {entry.line for entry in tidy}]
        assert len(cut) == 1
        with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
            json.loads(cut[0])
    assert week.counts["repeats"] == week.events - clean.events - 2


def test_the_writer_drips_lines_in_order_and_leaves_nothing_half_written(week, tmp_path):
    writer = FeedWriter(week.files, tmp_path, lines=50)
    steps = week.moments(7)
    written = [writer.write(until) for until in steps]
    assert sum(written) == week.events
    assert writer.left == 0
    assert max(written) < week.events / 4
    assert not list(tmp_path.rglob("*.part"))
    for name, entries in (("shop", week.shop), ("warehouse", week.warehouse)):
        lines = [
            line for path in written_files(tmp_path)[name] for line in path.read_text(encoding="utf-8").splitlines()
        ]
        assert lines == [entry.line for entry in entries]


def test_files_that_the_connector_has_moved_to_done_are_still_found(week, tmp_path):
    FeedWriter(week.files, tmp_path).write(datetime.max.replace(tzinfo=UTC))
    (tmp_path / "shop" / "done").mkdir()
    (path,) = (tmp_path / "shop").glob("*.jsonl")
    path.rename(tmp_path / "shop" / "done" / path.name)
    assert len(written_files(tmp_path)["shop"]) == 1


def test_the_configuration_is_toml_and_the_horizon_follows_the_data(week):
    text = streams_toml(
        week, bootstrap_servers="127.0.0.1:9092", service_layer_url="http://127.0.0.1:1/b1s/v2", window_s=3, now=TODAY
    )
    config = tomllib.loads(text)
    acme = config["companies"]["acme"]
    assert acme["dedupe_horizon_days"] == (TODAY - week.first).days + 31
    assert acme["window"]["length_s"] == 3
    assert acme["items"] == week.items
    assert acme["password"].startswith("env:")
    assert config["connectors"]["warehouse"]["order_source"] == "shop"
    year = made_of(a_line(at="2010-12-01T08:26:00"), a_line("500002", at="2011-12-09T12:50:00"))
    assert year.horizon_days(year.last) == 373 + 31
    assert week.horizon_days(week.last) == 37


def test_a_file_without_the_columns_is_refused_by_name(tmp_path):
    (tmp_path / "x.csv").write_text("InvoiceNo,Quantity\n1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv: no column StockCode, Description"):
        read_rows(tmp_path / "x.csv")


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        build_feed([], TODAY)


def test_the_real_loader_takes_the_configuration(week, tmp_path):
    path = tmp_path / "streams.toml"
    for name in (SHOP, WAREHOUSE):
        (tmp_path / "in" / name).mkdir(parents=True)
    path.write_text(
        streams_toml(
            week, bootstrap_servers="kafka:9092", service_layer_url="http://simulator:50000/b1s/v2", metrics_port=9464
        )
    )
    config = load(path, {"ACME_B1_PASSWORD": "x"})
    assert set(config.connectors) == {"shop", "warehouse"}
    assert config.maps["acme"].item_code("85123a" if "85123a" in week.items else "85123A") == "85123A"
