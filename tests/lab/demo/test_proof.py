"""A proof that cannot fail proves nothing: every kind of wrong ledger must be found."""

import copy
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import fastavro
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console

from lab.demo import books
from lab.feed import sales as feed
from lab.proof import ledger_proof as proof
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request

TODAY = date(2026, 11, 20)
ACCOUNTS = {"damaged": "5100", "lost": "5100", "found": "4900", "count": "4900"}
HALF_UP = "ROUND_HALF_UP"


class NaivePoster:
    """Posts a feed to the simulated company, one document for each event: a ledger that is right by construction."""

    def __init__(self, made):
        self.made = made
        self.company = Company(
            clock=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC), with_claims=True, master_data=made.master
        )
        self.orders = {}
        self.sent = {}
        self.taken = {}
        self.seen = set()

    def run(self):
        entries = sorted((*self.made.shop, *self.made.warehouse), key=lambda entry: entry.at)
        for entry in entries:
            try:
                event = json.loads(entry.line)
            except ValueError:
                continue
            if entry.line not in self.seen and event.get("location") != feed.UNMAPPED:
                self.seen.add(entry.line)
                getattr(self, event["type"])(event)
        return json.loads(json.dumps(self.company.ledger()))

    def post(self, k, entity, body):
        body = {**body, "U_STREAMS_KEY": k}
        claim = {"Code": k, "Name": k, "U_KIND": entity, "U_STATE": "posted"}
        answers = self.company.apply(
            [Request("POST", "U_STREAMS_CLAIM", claim, "1"), Request("POST", entity, body, "2")]
        )
        assert [answer.status for answer in answers] == [201, 201], answers
        return answers[1].body

    def day(self, event):
        day = datetime.fromisoformat(event["occurred_at"]).astimezone(feed.ZONE).date().isoformat()
        return {"DocDate": day, "TaxDate": day, "DocDueDate": day}

    def item(self, sku):
        return self.made.items.get(sku, sku)

    def place(self, location):
        return {name: code for code, name in feed.PLACES.items()}.get(location, "LON1")

    def group(self, code):
        return {"GB-20": "O1", "GB-0": "O0"}[code]

    def order_placed(self, event):
        lines = [
            {
                "ItemCode": self.item(line["sku"]),
                "Quantity": line["quantity"],
                "UnitPrice": line["unit_price"],
                "LineTotal": str(Decimal(line["quantity"]) * Decimal(line["unit_price"])),
                "TaxTotal": line["tax_amount"],
                "VatGroup": self.group(line["tax_code"]),
                "WarehouseCode": self.place(line.get("location")),
                "U_STREAMS_LINE": line["line_id"],
            }
            for line in event["lines"]
        ]
        k = f"order_placed-{event['order_id']}"
        body = {
            **self.day(event),
            "CardCode": "C-WEB",
            "NumAtCard": event["order_id"],
            "U_STREAMS_ORDER": k,
            "DocumentLines": lines,
        }
        if shipping := event.get("shipping"):
            body["DocumentAdditionalExpenses"] = [
                {
                    "ExpenseCode": 1,
                    "LineTotal": shipping["amount"],
                    "TaxSum": shipping["tax_amount"],
                    "VatGroup": self.group(shipping["tax_code"]),
                }
            ]
        self.orders[event["order_id"]] = (event, self.post(k, "Orders", body))

    def dispatch_confirmed(self, event):
        order, document = self.orders[event["order_id"]]
        key = f"order_placed-{order['order_id']}"
        lines, amounts = [], []
        for line in event["lines"]:
            left = Decimal(line["quantity"])
            for number, ordered in enumerate(order["lines"]):
                slot = (order["order_id"], number)
                if ordered["sku"] != line["sku"] or line.get("line_id") not in (None, ordered["line_id"]) or not left:
                    continue
                units = min(left, Decimal(ordered["quantity"]) - self.sent.get(slot, Decimal(0)))
                if units:
                    self.sent[slot] = self.sent.get(slot, Decimal(0)) + units
                    left -= units
                    lines.append((number, units))
                    amounts.append(self.amount(slot, ordered))
            assert not left
        based = [
            {
                "BaseType": 17,
                "BaseEntry": document["DocEntry"],
                "BaseLine": number,
                "Quantity": str(units),
                "LineTotal": str(net),
                "TaxTotal": str(tax),
                "WarehouseCode": self.place(event["location"]),
            }
            for (number, units), (net, tax) in zip(lines, amounts, strict=True)
        ]
        body = {**self.day(event), "CardCode": "C-WEB", "U_STREAMS_ORDER": key}
        delivery = self.post(
            f"dispatch_confirmed-{event['shipment_id']}",
            "DeliveryNotes",
            {**body, "TrackingNumber": event["tracking_numbers"][0], "DocumentLines": based},
        )
        invoice = [
            {**line, "BaseType": 15, "BaseEntry": delivery["DocEntry"], "BaseLine": number}
            for number, line in enumerate(based)
        ]
        body |= {"DocumentLines": invoice}
        if order.get("shipping") and not self.taken.get(order["order_id"]):
            self.taken[order["order_id"]] = True
            shipping = order["shipping"]
            body["DocumentAdditionalExpenses"] = [
                {
                    "ExpenseCode": 1,
                    "LineTotal": shipping["amount"],
                    "TaxSum": shipping["tax_amount"],
                    "VatGroup": self.group(shipping["tax_code"]),
                }
            ]
        self.post(f"invoice-{event['shipment_id']}", "Invoices", body)

    def amount(self, slot, ordered):
        """Partial k takes round(total x cumulative / ordered) less what earlier partials took (design section 6)."""
        quantity = Decimal(ordered["quantity"])
        net = quantity * Decimal(ordered["unit_price"])
        tax = Decimal(ordered["tax_amount"])
        before = self.taken.get(slot, (Decimal(0), Decimal(0)))
        share = [(part * self.sent[slot] / quantity).quantize(Decimal("0.01"), HALF_UP) for part in (net, tax)]
        self.taken[slot] = tuple(share)
        return share[0] - before[0], share[1] - before[1]

    def refund_issued(self, event):
        body = {
            **self.day(event),
            "CardCode": "C-WEB",
            "NumAtCard": event["refund_id"],
            "DocumentLines": [
                {
                    "ItemCode": self.item(line["sku"]),
                    "Quantity": line["quantity"],
                    "LineTotal": line["amount"],
                    "TaxTotal": line["tax_amount"],
                    "VatGroup": self.group(line["tax_code"]),
                    "WarehouseCode": self.place(line["location"]),
                    "WithoutInventoryMovement": "tNO" if line["restock"] else "tYES",
                }
                for line in event["lines"]
            ],
        }
        if shipping := event.get("shipping"):
            body["DocumentAdditionalExpenses"] = [
                {
                    "ExpenseCode": 1,
                    "LineTotal": shipping["amount"],
                    "TaxSum": shipping["tax_amount"],
                    "VatGroup": self.group(event["lines"][0]["tax_code"]),
                }
            ]
        if event.get("order_id"):
            body["U_STREAMS_ORDER"] = f"order_placed-{event['order_id']}"
        self.post(f"refund_issued-{event['refund_id']}", "CreditNotes", body)

    def stock_adjusted(self, event):
        delta = Decimal(event["delta"])
        line = {
            "ItemCode": self.item(event["sku"]),
            "Quantity": str(abs(delta)),
            "WarehouseCode": self.place(event["location"]),
        }
        if account := ACCOUNTS.get(event["reason"]):
            line["AccountCode"] = account
        self.post(
            f"stock_document-{event['event_id']}",
            "InventoryGenEntries" if delta > 0 else "InventoryGenExits",
            {**self.day(event), "DocumentLines": [line]},
        )


def letter_for(event, **more):
    named = {
        "id": f"id-{event.get('event_id') or event.get('order_id')}",
        "topic": f"{event['type'].replace('_', '-')}-dead-letter",
        "state": "dead",
        "reason": "unmapped_location",
        "event_type": event["type"],
        "value": b"avro",
        "event_ids": (event.get("event_id") or event["order_id"],),
        "sku": event.get("sku"),
    }
    return proof.Letter(**(named | more))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The week's Monday: its files, the right ledger, the letters that must exist, the terms."""
    rows = [row for row in feed.read() if row["InvoiceDate"] < "2011-10-25"]
    made = feed.build(rows, TODAY)
    folder = tmp_path_factory.mktemp("in")
    feed.Writer(made.files, folder).write()
    ledger = NaivePoster(made).run()
    letters = []
    for entry in (*made.shop, *made.warehouse):
        try:
            event = json.loads(entry.line)
        except ValueError:
            cut = entry.line.encode()
            letters.append(proof.Letter(f"cut{len(letters)}", "inbox-dead-letter", "dead", "unreadable", "", cut))
            continue
        if event.get("location") == feed.UNMAPPED:
            letters.append(letter_for(event))
    terms = proof.Terms(
        items=made.items,
        places={name: code for code, name in feed.PLACES.items()},
        accounts=ACCOUNTS,
        default_places={"shop": "LON1"},
    )
    return feed.inputs(folder), ledger, letters, terms


class Case:
    """A copy of the world that a test may spoil."""

    def __init__(self, world):
        inputs, ledger, letters, self.terms = world
        self.inputs = {name: list(paths) for name, paths in inputs.items()}
        self.ledger = copy.deepcopy(ledger)
        self.letters = list(letters)

    def prove(self, **told):
        return proof.prove(self.inputs, self.ledger, self.letters, self.terms, **told)

    def as_told(self):
        """The same as a vendor's ledger would have it: every event once, nothing unreadable, no files."""
        told = {}
        for name, paths in self.inputs.items():
            lines = dict.fromkeys(line for path in paths for line in path.read_text(encoding="utf-8").splitlines())
            told[name] = [json.loads(line) for line in lines if line.endswith("}")]
        self.inputs = {}
        self.letters = [letter for letter in self.letters if letter.reason != "unreadable"]
        return told

    def kinds(self):
        return {one.kind for one in self.prove().discrepancies}

    def documents(self, entity):
        return [document for document in self.ledger["documents"] if document["entity"] == entity]

    def remove(self, document):
        self.ledger["documents"].remove(document)
        number = document["object"]
        self.ledger["movements"] = [
            move
            for move in self.ledger["movements"]
            if (move["object"], move["entry"]) != (number, document["DocEntry"])
        ]
        self.ledger["claims"] = [claim for claim in self.ledger["claims"] if claim["Code"] != document["U_STREAMS_KEY"]]
        self.stock_as_moved()

    def double(self, document, *, claimed=True):
        twin = copy.deepcopy(document)
        twin["DocEntry"] += 100_000
        twin["DocNum"] += 100_000
        if claimed:
            twin["U_STREAMS_KEY"] += "-again"
            self.ledger["claims"].append({"Code": twin["U_STREAMS_KEY"], "U_STATE": "posted"})
        self.ledger["documents"].append(twin)
        self.ledger["movements"] += [
            move | {"entry": twin["DocEntry"]}
            for move in self.ledger["movements"]
            if (move["object"], move["entry"]) == (document["object"], document["DocEntry"])
        ]
        self.stock_as_moved()

    def stock_as_moved(self):
        """What is on hand follows the journal, so that only the thing under test is wrong."""
        levels = {}
        for move in self.ledger["movements"]:
            slot = (move["item"], move["warehouse"])
            levels[slot] = levels.get(slot, Decimal(0)) + Decimal(move["quantity"])
        for row in self.ledger["on_hand"]:
            row["quantity"] = str(levels.get((row["item"], row["warehouse"]), Decimal(0)))

    def write(self, tmp_path, *lines):
        path = tmp_path / "999999.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self.inputs["shop"].append(path)


@pytest.fixture
def case(world):
    return Case(world)


def test_a_right_ledger_is_proved_and_every_line_has_its_end(case):
    found = case.prove()
    assert found.discrepancies == ()
    assert found.ok
    assert found.received == sum(
        len(path.read_bytes().splitlines()) for paths in case.inputs.values() for path in paths
    )
    assert all(ends.unaccounted == 0 for ends in found.flows.values())
    assert found.flows["order_placed"].posted == len(case.documents("Orders"))
    assert found.flows["unreadable"].dead == 2
    assert found.units_expected == found.units_posted > 0
    assert found.reasons["unreadable"] == 2


@pytest.mark.parametrize("entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes", "InventoryGenExits"])
def test_a_lost_document_is_found(case, entity):
    case.remove(case.documents(entity)[-1])
    found = case.prove()
    assert not found.ok
    assert found.count("lost") >= 1


@pytest.mark.parametrize(
    "entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes", "InventoryGenEntries", "InventoryGenExits"]
)
@pytest.mark.parametrize("claimed", [True, False])
def test_a_second_document_is_found_with_or_without_a_claim_of_its_own(case, entity, claimed):
    case.double(case.documents(entity)[-1], claimed=claimed)
    found = case.prove()
    assert found.count("double") >= 1


@pytest.mark.parametrize("entity", ["Orders", "Invoices", "CreditNotes"])
def test_a_penny_is_found(case, entity):
    document = case.documents(entity)[-1]
    document["DocTotal"] = str(Decimal(document["DocTotal"]) + Decimal("0.01"))
    assert case.kinds() == {"money"}


@pytest.mark.parametrize("name", ["LineTotal", "TaxTotal"])
def test_a_penny_moved_from_one_invoice_line_to_another_is_found(case, name):
    lines = next(document for document in case.documents("Invoices") if len(document["DocumentLines"]) > 1)[
        "DocumentLines"
    ]
    for line, change in zip(lines, (Decimal("0.01"), Decimal("-0.01")), strict=False):
        line[name] = str(Decimal(line[name]) + change)
    assert case.kinds() == {"money"}


@pytest.mark.parametrize("entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes"])
def test_a_unit_too_many_on_a_line_is_found(case, entity):
    line = case.documents(entity)[-1]["DocumentLines"][0]
    line["Quantity"] = str(Decimal(line["Quantity"]) + 1)
    assert "units" in case.kinds()


def test_a_millionth_of_a_unit_in_the_stock_journal_is_found(case):
    move = next(move for move in case.ledger["movements"] if move["object"] == 15)
    move["quantity"] = str(Decimal(move["quantity"]) + Decimal("0.000001"))
    case.stock_as_moved()
    assert case.kinds() == {"units"}


def test_stock_on_hand_that_the_journal_does_not_explain_is_found(case):
    case.ledger["on_hand"][0]["quantity"] = "7777"
    assert case.kinds() == {"units"}


def test_a_movement_at_the_wrong_warehouse_is_found(case):
    move = next(move for move in case.ledger["movements"] if move["object"] == 15)
    move["warehouse"] = "WEB1" if move["warehouse"] == "LON1" else "LON1"
    case.stock_as_moved()
    assert "units" in case.kinds()


@pytest.mark.parametrize(("name", "value"), [("AccountCode", "9999"), ("ItemCode", "OTHER")])
def test_a_stock_line_on_another_account_or_item_is_found(case, name, value):
    case.documents("InventoryGenExits")[0]["DocumentLines"][0][name] = value
    assert case.kinds() >= {"lost", "double"}


def test_a_document_on_another_day_is_found(case):
    for entity in ("Orders", "DeliveryNotes", "Invoices", "CreditNotes"):
        case.documents(entity)[-1 if entity == "Invoices" else 0]["DocDate"] = "2020-01-01T00:00:00Z"
    assert {one.where.split()[2] for one in case.prove().discrepancies} >= {"order", "dispatch", "invoice", "refund"}


def test_a_claim_without_a_document_and_a_document_without_a_claim_are_found(case):
    case.ledger["claims"].append({"Code": "order_placed-GHOST", "U_STATE": "posted"})
    case.ledger["claims"].remove(case.ledger["claims"][0])
    assert [one.kind for one in case.prove().discrepancies] == ["claim", "claim"]


def test_a_void_claim_stands_for_no_document_and_must_have_none(case):
    case.ledger["claims"].append({"Code": "stock_document-VOID", "U_STATE": "void"})
    assert case.prove().ok
    case.ledger["claims"][0]["U_STATE"] = "void"
    assert case.kinds() == {"claim"}


def test_a_document_without_our_key_is_found(case):
    case.documents("Orders")[0]["U_STREAMS_KEY"] = None
    assert "claim" in case.kinds()


def test_a_document_for_nothing_that_was_sent_is_found(case):
    case.documents("Orders")[0]["NumAtCard"] = "999999"
    assert case.kinds() >= {"lost", "document"}


def test_a_refund_linked_to_another_order_is_found(case, tmp_path):
    order = case.documents("Orders")[0]
    refund = case.documents("CreditNotes")[0]
    event = {
        "type": "refund_issued",
        "refund_id": "C1",
        "order_id": order["NumAtCard"],
        "occurred_at": refund["DocDate"],
        "currency": "GBP",
        "lines": [],
    }
    case.write(tmp_path, json.dumps(event))
    twin = copy.deepcopy(refund) | {"NumAtCard": "C1", "U_STREAMS_KEY": "refund_issued-C1", "U_STREAMS_ORDER": "other"}
    case.ledger["documents"].append(twin)
    case.ledger["claims"].append({"Code": "refund_issued-C1", "U_STATE": "posted"})
    assert [one.where for one in case.prove().discrepancies] == ["refund C1: order"]


def test_an_open_draft_is_found(case):
    case.ledger["drafts"].append({"DocEntry": 1, "DocumentStatus": "bost_Open", "DocObjectCode": "oOrders"})
    assert case.kinds() == {"document"}


def test_a_line_that_is_no_json_must_be_a_letter_with_its_bytes(case):
    case.letters = [letter for letter in case.letters if letter.reason != "unreadable"]
    assert [one.kind for one in case.prove().discrepancies] == ["lost", "lost"]


def test_a_letter_with_other_bytes_is_not_that_lines_letter(case):
    at = next(n for n, letter in enumerate(case.letters) if letter.reason == "unreadable")
    case.letters[at] = proof.Letter("x", "inbox-dead-letter", "dead", "unreadable", "", b"changed")
    assert case.kinds() == {"lost", "letter"}


def test_an_event_that_is_dead_and_posted_too_is_found(case):
    document = case.documents("Orders")[0]
    case.letters.append(letter_for({"type": "order_placed", "order_id": document["NumAtCard"]}))
    assert "document" in case.kinds()


def test_a_parked_event_counts_as_parked_and_a_released_one_as_posted(case):
    refund = case.documents("CreditNotes")[-1]
    event = {"type": "refund_issued", "order_id": refund["NumAtCard"]}
    case.letters.append(letter_for(event, state="posted", reason="invoice_not_found"))
    assert case.prove().ok
    case.letters[-1] = letter_for(event, state="parked", reason="invoice_not_found")
    case.remove(refund)
    found = case.prove()
    assert found.flows["refund_issued"].parked == 1
    assert found.flows["refund_issued"].unaccounted == 0
    assert found.reasons["invoice_not_found"] == 1
    assert found.ok


def test_a_letter_that_says_posted_without_a_document_is_a_loss(case):
    refund = case.documents("CreditNotes")[-1]
    event = {"type": "refund_issued", "order_id": refund["NumAtCard"]}
    case.letters.append(letter_for(event, state="posted", reason="invoice_not_found"))
    case.remove(refund)
    assert case.prove().count("lost") == 1


def test_the_members_of_a_stock_batch_that_is_a_letter_are_left_out_of_the_sums(case):
    document = case.documents("InventoryGenExits")[0]
    event_id = document["U_STREAMS_KEY"].removeprefix("stock_document-")
    case.letters.append(
        proof.Letter("b", "erp-stock-dead-letter", "parked", "unknown_item", "stock_batch", b"", (event_id,))
    )
    case.remove(document)
    found = case.prove()
    assert found.flows["stock_adjusted"].parked == 1
    assert found.ok


def test_a_repeat_is_a_no_op_and_other_content_under_the_same_id_must_be_dead(case, tmp_path):
    lines = case.inputs["shop"][0].read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if '"type":"order_placed"' in line)
    before = case.prove().flows["order_placed"].no_op
    event = json.loads(line)
    same = event | {"grand_total": event["grand_total"] + "000", "note": None}
    other = event | {"note": "changed"}
    case.write(tmp_path, json.dumps(same), json.dumps(other))
    found = case.prove()
    assert found.flows["order_placed"].no_op == before + 1
    assert [one.kind for one in found.discrepancies] == ["lost"]
    case.letters.append(letter_for(event, reason="id_reuse"))
    assert case.prove().ok


def test_an_event_that_reached_nothing_is_lost(case, tmp_path):
    lines = case.inputs["shop"][0].read_text(encoding="utf-8").splitlines()
    event = json.loads(next(line for line in lines if '"type":"order_placed"' in line)) | {"order_id": "NEW"}
    case.write(tmp_path, json.dumps(event))
    (one,) = case.prove().discrepancies
    assert (one.kind, one.where) == ("lost", "order NEW")


def test_movements_that_net_to_nothing_need_no_document(case, tmp_path):
    base = {"type": "stock_adjusted", "sku": "22001", "location": "MAIN", "reason": "count"}
    at = datetime(2026, 11, 9, 12, tzinfo=UTC)
    pair = [
        base | {"event_id": f"n{n}", "delta": delta, "occurred_at": (at + timedelta(hours=n)).isoformat()}
        for n, delta in enumerate(("3.5", "-3.50"))
    ]
    before = case.prove().flows["stock_adjusted"].no_op
    case.write(tmp_path, *map(json.dumps, pair))
    found = case.prove()
    assert found.ok
    assert found.flows["stock_adjusted"].no_op == before + 2


def test_what_a_vendors_ledger_says_is_proved_like_a_file(case):
    told = case.as_told()
    found = case.prove(told=told)
    assert found.discrepancies == ()
    assert found.received == sum(map(len, told.values()))
    told["shop"].append({**told["shop"][0], "order_id": "never-posted"})
    assert {one.kind for one in case.prove(told=told).discrepancies} == {"lost"}


def test_the_invoices_of_an_order_without_taxes_of_its_lines_still_add_up_to_its_total(case):
    told = case.as_told()
    order = next(event for event in told["shop"] if event["type"] == "order_placed")
    for line in order["lines"]:
        del line["tax_amount"]
    assert case.prove(told=told).ok
    order["grand_total"] = str(Decimal(order["grand_total"]) + Decimal("0.01"))
    wheres = {one.where for one in case.prove(told=told).discrepancies if one.kind == "money"}
    assert wheres == {f"order {order['order_id']}", f"invoices of order {order['order_id']}"}


def test_goods_that_come_back_to_no_named_place_come_back_to_where_they_left_from(case):
    told = case.as_told()
    refund = next(event for event in told["shop"] if event["type"] == "refund_issued" and "order_id" in event)
    for line in refund["lines"]:
        line.pop("location", None)
    assert case.prove(told=told).ok


def test_a_shelf_that_holds_other_than_b1_is_found_letters_aside(case):
    row = next(row for row in case.ledger["on_hand"] if row["warehouse"] == "LON1")
    slot = (row["item"], "MAIN")
    assert case.prove(shelves={slot: Decimal(row["quantity"])}).ok
    (wrong,) = case.prove(shelves={slot: Decimal(row["quantity"]) + 1}).discrepancies
    assert (wrong.kind, wrong.where) == ("units", f"{row['item']} on the shelf in LON1")
    dead = {"type": "stock_adjusted", "event_id": "c1", "sku": row["item"], "location": "MAIN", "delta": "1"}
    case.letters.append(letter_for(dead | {"reason": "count"}))
    counted = {"till": [dead | {"reason": "count", "occurred_at": "2026-11-20T10:00:00Z"}]}
    assert case.prove(told=counted, shelves={slot: Decimal(row["quantity"]) + 1}).ok


def test_the_proof_sees_all_that_it_needs_of_a_document(case):
    whole = proof.render(case.prove())
    case.ledger["documents"] = [proof.read_document(document) for document in case.ledger["documents"]]
    found = case.prove()
    assert found.ok
    texts = []
    for one in (whole, proof.render(found)):
        console = Console(file=io.StringIO(), width=200)
        console.print(one)
        texts.append(console.file.getvalue())
    assert texts[0] == texts[1]


def test_the_table_says_which_calls_it_counts(case):
    console = Console(file=io.StringIO(), width=200)
    found = case.prove()
    console.print(proof.render(found))
    text = console.file.getvalue()
    assert f"{found.document_sets:,} ({found.naive_writes:,})" in text
    assert "previews" in text
    assert found.document_sets == found.documents  # the naive poster's, one for each


def test_the_table_names_at_most_the_first_twenty_discrepancies(case):
    for document in case.documents("Orders"):
        document["DocTotal"] = "0"
    console = Console(file=io.StringIO(), width=200)
    found = case.prove()
    console.print(proof.render(found))
    text = console.file.getvalue()
    assert len(found.discrepancies) > 20
    assert text.count("│ money") == 20
    assert "NOT PROVED" in text


def test_the_table_of_a_right_ledger_says_so(case):
    console = Console(file=io.StringIO(), width=200)
    console.print(proof.render(case.prove()))
    assert "PROVED: 0 lost, 0 double" in console.file.getvalue()


def state(**fields):
    """A record of `dead-letter-state`, written with the published schema."""
    path = Path(proof.__file__).parents[2] / "schemas" / "avro" / "letter_state.v1.avsc"
    schema = fastavro.parse_schema(json.loads(path.read_text(encoding="utf-8")))
    at = datetime(2026, 11, 20, tzinfo=UTC)
    record = {
        "id": "a",
        "state": "dead",
        "reason": "unknown_item",
        "owner": "merchandising",
        "company": "acme",
        "event_type": "stock_batch",
        "members": [],
        "topic": "erp-stock",
        "partition": 0,
        "offset": 0,
        "timestamp_ms": 0,
        "letter_topic": "erp-stock-dead-letter",
        "letter_partition": 0,
        "letter_offset": 0,
        "attempts": 1,
        "first_failed_at": at,
        "at": at,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record | fields)
    return b"\x00\x00\x00\x00\x0a" + out.getvalue()


HEADERS = {
    "__connect.errors.topic": b"x",
    "b1streams.id": b"a",
    "b1streams.state": b"parked",
    "b1streams.reason": b"unknown_item",
    "b1streams.event_type": b"stock_batch",
}


def test_the_last_state_of_a_letter_wins_and_names_its_members():
    states = [(b"a", state(state=name, members=["e1", "e2"])) for name in ("parked", "posted")]
    states.append((b"tenure/acme", None))
    (letter,) = proof.letters_of([("erp-stock-dead-letter", HEADERS, b"avro")], states)
    assert (letter.state, letter.event_ids) == ("posted", ("e1", "e2"))


def test_a_withdrawn_letter_is_none_until_it_is_written_again():
    written = [("erp-stock-dead-letter", HEADERS, b"avro")]
    assert proof.letters_of(written, [(b"a", state()), (b"a", None)]) == []
    (letter,) = proof.letters_of(written, [(b"a", None), (b"a", state(state="held"))])
    assert letter.state == "held"


def test_a_letter_written_twice_is_one_and_without_a_state_its_header_counts():
    (letter,) = proof.letters_of(
        [("order-placed-dead-letter", HEADERS | {"b1streams.event_id": b"1001"}, b"v")] * 2, []
    )
    assert (letter.state, letter.event_ids) == ("parked", ("1001",))


@pytest.mark.kafka
async def test_letters_are_read_from_a_real_broker_and_other_prefixes_left_alone(kafka, topic_prefix):
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    topics = [f"{topic_prefix}{name}" for name in ("order-placed-dead-letter", "dead-letter-state")]
    await admin.create_topics([NewTopic(name, 3, 1) for name in (*topics, f"x{topics[0]}")])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    headers = [*(HEADERS | {"b1streams.event_id": b"1001"}).items()]
    for topic in (topics[0], f"x{topics[0]}"):
        await producer.send_and_wait(topic, b"bytes", headers=headers)
    await producer.send_and_wait(topics[1], state(state="held"), key=b"a")
    await producer.stop()
    (letter,) = await proof.read_letters(kafka, topic_prefix)
    assert (letter.topic, letter.state, letter.event_ids, letter.value) == (
        "order-placed-dead-letter",
        "held",
        ("1001",),
        b"bytes",
    )


def test_an_open_state_whose_bytes_are_nowhere_is_named(case):
    case.letters += proof.letters_of([], [(b"a", state())])
    (one,) = case.prove().discrepancies
    assert (one.kind, one.where) == ("letter", "letter a in no topic")


@pytest.mark.parametrize("module", [proof, books])
def test_the_proof_imports_nothing_of_the_pipeline(module):
    source = Path(module.__file__).read_text(encoding="utf-8")
    for package in ("streams", "connectors", "schemas"):
        assert f"import {package}" not in source
        assert f"from {package}" not in source
