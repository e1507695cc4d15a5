"""A poster that posts one document for each event: its ledger is right by construction."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

from lab.feed.company import PLACES, UNMAPPED, ZONE
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
            if entry.line not in self.seen and event.get("location") != UNMAPPED:
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
        day = datetime.fromisoformat(event["occurred_at"]).astimezone(ZONE).date().isoformat()
        return {"DocDate": day, "TaxDate": day, "DocDueDate": day}

    def item(self, sku):
        return self.made.items.get(sku, sku)

    def place(self, location):
        return {name: code for code, name in PLACES.items()}.get(location, "LON1")

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
        """Partial k takes round(total x cumulative / ordered) less what was taken (architecture section 6)."""
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
