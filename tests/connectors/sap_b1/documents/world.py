"""A company in the simulator's ledger, its configuration and master data, and the steps that document tests take."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.base.settings import ConnectorSettings
from connectors.sap_b1 import order as orders
from connectors.sap_b1.documents import (
    DocumentPlan,
    dispatch_confirmed,
    invoice,
    order_cancelled,
    order_placed,
    refund_issued,
)
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Card, Item, MasterData, TaxCode, Warehouse
from connectors.sap_b1.order import OrderView
from connectors.sap_b1.settings import CompanySettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import (
    DispatchConfirmed,
    DispatchLine,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    RefundIssued,
    RefundLine,
)
from schemas.records import Document
from tests import builders

AT = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
K = "order_placed-" + "A" * 26

SETTINGS: dict[str, Any] = {
    "service_layer_url": "http://127.0.0.1:50000/b1s/v2",
    "company_db": "SBO_ACME",
    "username": "streams",
    "password": "env:PASSWORD",
    "timezone": "Europe/London",
    "currency": "GBP",
    "customers": {"policy": "account", "card_code": "C-WEB"},
    "tax": {"default": "O1", "codes": {"GB-20": "O1", "GB-0": "O0"}},
    "freight": {"expense_code": 1},
    "shipping_types": {"dpd/next-day": 3, "Royal Mail": 4},
    "items": {"TSHIRT-RED": "TS001-R"},
    "refunds": {"adjustment_expense_code": 2, "adjustment_account": "4000"},
    "warehouses": {
        "LON1": {"owner": "warehouse", "location": "MAIN", "gl_account": {"damaged": "5100"}},
        "RET1": {"owner": "warehouse", "location": "RETURNS", "returns_by": "adjustment"},
    },
}
CONNECTORS = {
    "shop": ConnectorSettings.model_validate({"kind": "ims", "company": "acme", "orders": {"warehouse": "LON1"}}),
    "warehouse": ConnectorSettings.model_validate({"kind": "ims", "company": "acme", "order_source": "shop"}),
}
ITEMS = (
    Item("A"),
    Item("B"),
    Item("TS001-R"),
    Item("LOT", batch_managed=True),
    Item("SER", serial_managed=True),
)
MASTER = MasterData(
    items={item.code: item for item in ITEMS},
    warehouses={code: Warehouse(code) for code in ("LON1", "RET1")},
    tax_codes={code: TaxCode(code) for code in ("O1", "O0")},
    cards={"C-WEB": Card("C-WEB")},
    cards_by_email={"ada@example.org": (Card("C-ADA", email="ada@example.org"),)},
)


#: Half past eleven at night in winter: the day is the same in London and in UTC, the hour is not everywhere.
COMMON = {"event_id": "e1", "occurred_at": AT, "observed_at": AT}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def company_map(**changes: Any) -> CompanyMap:
    settings = CompanySettings.model_validate(
        merged(copy.deepcopy(SETTINGS), changes), context={"environ": {"PASSWORD": "x"}}
    )
    return CompanyMap("acme", settings, CONNECTORS)


def order_line(
    line_id: str = "1", sku: str = "A", quantity: str = "2", price: str = "10.00", **fields: Any
) -> OrderLine:
    return builders.order_line(line_id, sku, quantity, price, **fields)


def placed(*lines: OrderLine, **fields: Any) -> OrderPlaced:
    return builders.order("1001", *(lines or (order_line(tax_amount=Decimal("4.00")),)), **{**COMMON, **fields})


def dispatched(*lines: DispatchLine, shipment_id: str = "S1", **fields: Any) -> DispatchConfirmed:
    return builders.dispatch(shipment_id, "1001", **{"lines": lines, **COMMON, **fields})


def cancelled(**fields: Any) -> OrderCancelled:
    return builders.cancellation("1001", **{**COMMON, **fields})


def refunded(*lines: RefundLine, refund_id: str = "R1", **fields: Any) -> RefundIssued:
    return builders.refund(refund_id, *lines, **{**COMMON, "order_id": "1001", **fields})


refund_line = builders.refund_line


@dataclass
class B1:
    """One order's life in the simulated B1. Every step checks that the view in memory equals the one read back."""

    map: CompanyMap = field(default_factory=company_map)
    master: MasterData = MASTER
    order: OrderView | None = None

    def __post_init__(self) -> None:
        self.company = Company(clock=lambda: AT, with_claims=True)
        yes = {"ManageBatchNumbers": "tYES"}
        self.company.load(
            {
                "Items": [
                    {
                        "ItemCode": item.code,
                        **(yes if item.batch_managed else {}),
                        **({"ManageSerialNumbers": "tYES"} if item.serial_managed else {}),
                    }
                    for item in ITEMS
                ],
                "Warehouses": [{"WarehouseCode": "LON1"}, {"WarehouseCode": "RET1"}],
                "BusinessPartners": [{"CardCode": "C-WEB"}, {"CardCode": "C-ADA"}],
                "VatGroups": [{"Code": "O1", "Rate": "20"}, {"Code": "O0", "Rate": "0"}],
                "AdditionalExpenses": [{"ExpensCode": 1}, {"ExpensCode": 2}],
                "ShippingTypes": [{"Code": 3}, {"Code": 4}],
                "ChartOfAccounts": [{"Code": "4000"}, {"Code": "5100"}],
                "stock": [{"item": code, "warehouse": "LON1", "quantity": "1000"} for code in ("A", "B", "TS001-R")]
                + [{"item": "LOT", "warehouse": "LON1", "quantity": "100", "batch": b} for b in ("L1", "L2")]
                + [{"item": "SER", "warehouse": "LON1", "quantity": "3", "serials": ["s1", "s2", "s3"]}],
                "rates": {"EUR": "0.5"},
            }
        )

    def write(self, plan: DocumentPlan) -> dict[str, Any]:
        """Post a plan; the last document as B1 shows it."""
        requests = (*plan.before, *plan.requests)
        answers = self.company.apply([Request(r.method, r.path, r.body) for r in requests])
        assert len(answers) == len(requests), (answers[0].code, answers[0].text)
        assert all(a.status < 300 for a in answers), (answers[-1].code, answers[-1].text)
        body = answers[-1].body or {}
        request = plan.requests[-1]
        if request.path == "Orders":
            self.order = orders.placed(
                K, Document(object="Orders", doc_entry=body["DocEntry"], doc_num=body["DocNum"]), body
            )
        elif self.order is not None and request.path.startswith("Orders("):
            self.order = self.read()
        elif self.order is not None and "DocEntry" in body:
            ref = Document(object=request.path, doc_entry=body["DocEntry"], doc_num=body["DocNum"])
            self.order = self.order.with_document(ref, body)
        if self.order is not None:
            assert self.order == self.read()
        return body

    def read(self) -> OrderView:
        answers = [self.company.read(path).body for path in orders.queries([K])]
        view = orders.parse(answers, [K])[K]
        assert view is not None
        return view

    def place(self, event: OrderPlaced) -> dict[str, Any]:
        return self.write(order_placed.build(event, K, K, self.map, self.master))

    def cancel(self, event: OrderCancelled, k: str = "order_cancelled-1") -> DocumentPlan:
        plan = order_cancelled.build(event, k, K, self.map, self.master, self.order)
        if plan.requests:
            self.write(plan)
        return plan

    def dispatch(self, event: DispatchConfirmed, *, invoiced: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
        """The delivery, and its invoice."""
        k = f"dispatch_confirmed-{event.shipment_id}"
        delivery = self.write(dispatch_confirmed.build(event, k, K, self.map, self.master, self.order))
        if not invoiced:
            return delivery, {}
        plan = invoice.build(event, f"invoice-{event.shipment_id}", K, self.map, self.master, self.order, delivery_k=k)
        return delivery, self.write(plan)

    def refund_plan(self, event: RefundIssued) -> DocumentPlan:
        k = f"refund_issued-{event.refund_id}"
        found: tuple[orders.DocumentView, ...] = ()
        if self.order is not None and refund_issued.needs_invoices(self.map, self.order):
            found = orders.parse_invoices(self.company.read(orders.invoice_query(self.order)).body)
        order = self.order if event.order_id else None
        return refund_issued.build(event, k, K if event.order_id else None, self.map, self.master, order, found=found)

    def refund(self, event: RefundIssued) -> dict[str, Any]:
        return self.write(self.refund_plan(event))
