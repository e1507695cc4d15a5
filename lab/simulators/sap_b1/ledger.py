"""A SAP Business One company in memory: what its Service Layer accepts, refuses and books. Pure, synchronous, no I/O.

Written from the Service Layer user guide (v1.22 of 2021, v1.29 of 2026), SAP's metadata and published live notes, read
2026-11. Where public sources are silent, the choice is a switch in `Rules` and says so. Answers have the shape of
`/b1s/v2`; `sap_b1` turns them into `/b1s/v1`.

Bodies are plain JSON dictionaries; numbers are `int` or `Decimal` (or text, as SAP's samples send them), never floats.
"""

import copy
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from lab.simulators.sap_b1 import odata

Json: TypeAlias = dict[str, Any]
Key: TypeAlias = str | int | tuple[str, int]

ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_MICRO: Final = Decimal("0.000001")
_HUNDRED: Final = Decimal(100)
_MISSING: Final = object()
_NONE: Final[Mapping[str, str]] = {}
PAGE_SIZE: Final = 20
CLAIM_TABLE: Final = "U_STREAMS_CLAIM"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a change set.

    `path` is relative to the service root (`Orders`, `Orders(5)/Cancel`, `$1/Cancel`); `/b1s/v2/...` is taken as well.
    Header names are lower case.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    content_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request. A refusal's body is `{"error": {"code": "-10", "message": "...", "details": []}}`."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int | None:
        """B1's error code, None on success."""
        return int(self.body["error"]["code"]) if self.status >= 400 else None

    @property
    def text(self) -> str:
        """B1's error text, empty on success."""
        return str(self.body["error"]["message"]) if self.status >= 400 else ""


class RefusedError(Exception):
    """B1 says no: HTTP status, code and text."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status

    def answer(self) -> Answer:
        """The refusal as it goes over the wire (v2)."""
        return refusal(self.code, self.text, self.status)


class _DraftedError(RefusedError):
    """An approval procedure made a draft of a document; -2028 is all that the caller learns (API reference)."""

    def __init__(self, entity: str, body: Mapping[str, Any]) -> None:
        super().__init__(-2028, "No matching records found (ODBC -2028)", 404)
        self.entity = entity
        self.body = body


def refusal(code: int, text: str, status: int = 400) -> Answer:
    """An error answer in the shape of v2."""
    return Answer(status, {"error": {"code": str(code), "details": [{"code": "", "message": ""}], "message": text}})


@dataclass(frozen=True, slots=True)
class Rules:
    """The company's settings: what an administrator of B1 can choose, and what public sources leave open.

    Attributes:
        local_currency: of the books.
        block_negative_stock: whether an issue below zero is refused with -10.
        multi_branch: whether documents need a branch.
        quantity_decimals: the display setting to which quantities are rounded, 0 to 6.
        over_delivery: what happens to a quantity above the base line's open one (depends on B1 settings).
        batches_on_orders: whether an order already needs its batch and serial numbers (else only stock movements do).
        inactive_code: -10 (`... is inactive`) or -5002 (`Invalid Item`): both are seen.
        base_closed_code: -10 (two sources) or -5002 (one).
        locked_code: -2039, or -2035 in its "Object locked" meaning.
        orders_lock_items: whether an order waits for its items' rows (it changes their committed quantity).
        amounts_in_document_currency: whether `LineTotal`, `TaxTotal`, freight and `TaxSum` sent in a foreign-currency
            document are in its currency (else in local currency); public sources are silent.
        credit_on_delivery: whether a credit memo may be based on a delivery.
        approval: entity sets whose new documents become drafts.
        approval_keeps_draft: whether the draft survives when its change set is rolled back (sources are silent).
    """

    local_currency: str = "GBP"
    block_negative_stock: bool = True
    multi_branch: bool = False
    quantity_decimals: int = 6
    over_delivery: Literal["refuse", "allow"] = "refuse"
    batches_on_orders: bool = False
    inactive_code: int = -10
    base_closed_code: int = -10
    locked_code: int = -2039
    orders_lock_items: bool = True
    amounts_in_document_currency: bool = True
    credit_on_delivery: bool = True
    approval: frozenset[str] = frozenset()
    approval_keeps_draft: bool = True

    def changed(self, changes: Mapping[str, Any]) -> "Rules":
        """These rules with some fields replaced, from JSON."""
        values: dict[str, Any] = dict(changes)
        if "approval" in values:
            values["approval"] = frozenset(values["approval"])
        return replace(self, **values)


@dataclass(frozen=True, slots=True)
class Period:
    """A posting period, both ends included."""

    start: date
    end: date
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What a change set will occupy: items whose rows it writes, keys of claim rows, lines, documents, other writes."""

    items: frozenset[str]
    keys: frozenset[str]
    lines: int
    documents: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Kind:
    entity: str
    number: int
    enum: str
    table: str
    sign: int
    bases: frozenset[int] = frozenset()
    partner: bool = True
    transfer: bool = False

    @property
    def type_name(self) -> str:
        return "StockTransfer" if self.transfer else "Document"

    @property
    def lines(self) -> str:
        return "StockTransferLines" if self.transfer else "DocumentLines"


_KINDS: Final = {
    kind.entity: kind
    for kind in (
        _Kind("Orders", 17, "oOrders", "RDR", 0),
        _Kind("DeliveryNotes", 15, "oDeliveryNotes", "DLN", -1, frozenset({17})),
        _Kind("Invoices", 13, "oInvoices", "INV", -1, frozenset({17, 15})),
        _Kind("CreditNotes", 14, "oCreditNotes", "RIN", 1, frozenset({13, 15})),
        _Kind("InventoryGenEntries", 59, "oInventoryGenEntry", "IGN", 1, partner=False),
        _Kind("InventoryGenExits", 60, "oInventoryGenExit", "IGE", -1, partner=False),
        _Kind("StockTransfers", 67, "oStockTransfer", "WTR", 0, partner=False, transfer=True),
    )
}
_BY_NUMBER: Final = {kind.number: kind for kind in _KINDS.values()}
_BY_ENUM: Final = {kind.enum: kind for kind in _KINDS.values()} | {str(k.number): k for k in _KINDS.values()}
_REFERENCE_TYPES: Final = {
    "rot_SalesInvoice": 13,
    "rot_SalesCreditNote": 14,
    "rot_DeliveryNotes": 15,
    "rot_SalesOrder": 17,
    "rot_GoodsReceipt": 59,
    "rot_GoodsIssue": 60,
    "rot_InventoryTransfer": 67,
}

# Entity set -> (entity type, key property).
_MASTERS: Final = {
    "Items": ("Item", "ItemCode"),
    "Warehouses": ("Warehouse", "WarehouseCode"),
    "BusinessPartners": ("BusinessPartner", "CardCode"),
    "VatGroups": ("VatGroup", "Code"),
    "SalesTaxCodes": ("SalesTaxCode", "Code"),
    "ShippingTypes": ("ShippingType", "Code"),
    "AdditionalExpenses": ("AdditionalExpense", "ExpensCode"),
    "ChartOfAccounts": ("ChartOfAccount", "Code"),
    "UserTablesMD": ("UserTablesMD", "TableName"),
    "UserFieldsMD": ("UserFieldMD", ""),
    "UserKeysMD": ("UserKeysMD", ""),
}
_DEFAULTS: Final[dict[str, Json]] = {
    "Items": {
        "ItemType": "itItems",
        "InventoryItem": "tYES",
        "SalesItem": "tYES",
        "PurchaseItem": "tYES",
        "ManageBatchNumbers": "tNO",
        "ManageSerialNumbers": "tNO",
        "SRIAndBatchManageMethod": "bomm_OnEveryTransaction",
        "Valid": "tYES",
        "ValidFrom": None,
        "ValidTo": None,
        "Frozen": "tNO",
        "FrozenFrom": None,
        "FrozenTo": None,
        "SalesItemsPerUnit": Decimal(1),
        "SalesVATGroup": None,
        "DefaultWarehouse": None,
    },
    "Warehouses": {"Inactive": "tNO", "BusinessPlaceID": None, "DropShip": "tNO", "EnableBinLocations": "tNO"},
    "BusinessPartners": {"CardType": "cCustomer", "Currency": "##", "Valid": "tYES", "Frozen": "tNO", "VatGroup": None},
    "VatGroups": {"Category": "bovcOutputTax", "Inactive": "tNO", "VatGroups_Lines": []},
    "SalesTaxCodes": {"Rate": ZERO, "ValidForAR": "tYES", "Freight": "tNO", "Inactive": "tNO"},
    "ShippingTypes": {},
    "AdditionalExpenses": {"OutputVATGroup": None},
    "ChartOfAccounts": {"ActiveAccount": "tYES"},
    "UserTablesMD": {"TableType": "bott_NoObject"},
    "UserFieldsMD": {"Type": "db_Alpha", "SubType": "st_None", "Mandatory": "tNO", "DefaultValue": None},
    "UserKeysMD": {"Unique": "tNO"},
}
_PARTS: Final[dict[str, dict[str, str]]] = {
    "Document": {
        "DocumentLines": "DocumentLine",
        "DocumentAdditionalExpenses": "DocumentAdditionalExpense",
        "DocumentReferences": "DocumentReference",
        "TaxExtension": "TaxExtension",
        "AddressExtension": "AddressExtension",
    },
    "DocumentLine": {
        "BatchNumbers": "BatchNumber",
        "SerialNumbers": "SerialNumber",
        "DocumentLinesBinAllocations": "DocumentLinesBinAllocation",
        "DocumentLineAdditionalExpenses": "DocumentLineAdditionalExpense",
    },
    "StockTransfer": {"StockTransferLines": "StockTransferLine", "DocumentReferences": "DocumentReference"},
    "StockTransferLine": {"BatchNumbers": "BatchNumber", "SerialNumbers": "SerialNumber"},
    "Item": {"ItemWarehouseInfoCollection": "ItemWarehouseInfo"},
    "BusinessPartner": {"BPAddresses": "BPAddress"},
    "VatGroup": {"VatGroups_Lines": "VatGroups_Line"},
    "UserFieldMD": {"ValidValuesMD": "ValidValueMD"},
    "UserKeysMD": {"UserKeysMD_Elements": "UserKeysMD_Element"},
}
_READ_ONLY: Final[dict[str, frozenset[str]]] = {
    "Document": frozenset(
        {
            "DocEntry", "DocNum", "DocumentStatus", "Cancelled", "CancelStatus", "VatSum", "VatSumFc", "DocTotalSys",
            "CreationDate", "UpdateDate", "UpdateTime", "TransNum", "FinancialPeriod", "PeriodIndicator",
            "TotalDiscount", "AuthorizationStatus", "DocObjectCode", "PaidToDate",
        }
    ),
    "DocumentLine": frozenset(
        {
            "DocEntry", "RemainingOpenQuantity", "RemainingOpenInventoryQuantity", "OpenAmount", "BaseOpenQuantity",
            "NetTaxAmount", "UoMCode", "PickQuantity",
        }
    ),
    "StockTransfer": frozenset(
        {
            "DocEntry", "DocNum", "DocumentStatus", "CreationDate", "UpdateDate", "TransNum", "FinancialPeriod",
            "DocObjectCode", "AuthorizationStatus",
        }
    ),
    "StockTransferLine": frozenset({"DocEntry", "RemainingOpenQuantity", "RemainingOpenInventoryQuantity", "UoMCode"}),
    "Item": frozenset(
        {
            "QuantityOnStock", "QuantityOrderedByCustomers", "QuantityOrderedFromVendors", "CreateDate", "CreateTime",
            "UpdateDate", "UpdateTime", "ItemWarehouseInfoCollection",
        }
    ),
    "BusinessPartner": frozenset({"CreateDate", "UpdateDate", "UpdateTime", "CurrentAccountBalance"}),
}  # fmt: skip
# Column lengths of 10.0; too long is refused, not cut (field notes). The code of that refusal is not public.
_LENGTHS: Final[dict[str, dict[str, int]]] = {
    "Document": {"Comments": 254, "JournalMemo": 50, "NumAtCard": 100, "TrackingNumber": 30, "CardName": 100},
    "DocumentLine": {"FreeText": 100, "ItemDescription": 200, "ItemCode": 50},
    "StockTransfer": {"Comments": 254, "JournalMemo": 50},
    "StockTransferLine": {"ItemDescription": 200, "ItemCode": 50},
    "BatchNumber": {"BatchNumber": 36},
    "SerialNumber": {"InternalSerialNumber": 36},
    "DocumentReference": {"Remark": 100},
    "DocumentAdditionalExpense": {"Remarks": 50},
    "BusinessPartner": {"CardCode": 15, "CardName": 100, "EmailAddress": 100},
    "BPAddress": {"AddressName": 50, "Street": 100, "City": 100, "ZipCode": 20, "Country": 3, "State": 3},
    "AddressExtension": {
        f"{kind}To{part}": size
        for kind in ("Ship", "Bill")
        for part, size in (("Street", 100), ("City", 100), ("ZipCode", 20), ("Country", 3), ("State", 3))
    },
    "UserTablesMD": {"TableName": 19, "TableDescription": 30},
    "UserFieldMD": {"Name": 18, "Description": 80},
}
_DOCUMENT_DATES: Final = frozenset(
    {"DocDate", "DocDueDate", "TaxDate", "DueDate", "SpecifiedClosingDate", "ClosingDate"}
)
# What may still change on a posted or closed document, besides user fields.
_ALWAYS_OPEN: Final = frozenset({"Comments", "JournalMemo", "NumAtCard", "TrackingNumber", "OpeningRemarks"})
_INDEXED: Final = frozenset({"NumAtCard", "CardCode"})
_PATH: Final = re.compile(r"(?P<set>[A-Za-z_]\w*|\$\w+)(?:\((?P<key>.*)\))?(?:/(?P<tail>[$\w]+))?\Z", re.DOTALL)
_DATE: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?\Z")
_DOCUMENT_TABLES: Final = re.compile(r"(?:O(?:RDR|DLN|INV|RIN|IGN|IGE|WTR|QUT|RDN|DRF|POR|PDN|PCH|RPC|WTQ)|ADOC)\Z")
_LINE_TABLES: Final = re.compile(r"(?:(?:RDR|DLN|INV|RIN|IGN|IGE|WTR|QUT|RDN|DRF|POR|PDN|PCH|RPC|WTQ)1|DOC1)\Z")
_FIELD_TYPES: Final = {
    "OITM": ("Item",),
    "OCRD": ("BusinessPartner",),
    "OWHS": ("Warehouse",),
    "CRD1": ("BPAddress",),
}
_STATE: Final = (
    "_documents", "_tables", "_masters", "_stock", "_committed", "_batches", "_serials", "_numbers", "_versions",
    "_movements", "_index", "_properties", "_lengths", "_valid_values", "_defaults", "periods", "rates",
)  # fmt: skip


@functools.cache
def _property_names() -> dict[str, frozenset[str]]:
    text = Path(__file__).with_name("b1_properties.json").read_text(encoding="utf-8")
    return {name: frozenset(properties) for name, properties in json.loads(text).items()}


def _number(value: object, name: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        raise TypeError(f"{name} is a float: quantities and money are Decimal, int or text")
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - one refusal for all that is no number
        number = Decimal(value)  # type: ignore[arg-type]  # what is no number is caught below
    except (InvalidOperation, TypeError, ValueError):
        raise RefusedError(-1000, f"Invalid number in property '{name}'") from None
    if not number.is_finite():
        raise RefusedError(-1000, f"Invalid number in property '{name}'")
    return number


def _integer(value: object, name: str) -> int:
    number = _number(value, name)
    if number != number.to_integral_value():
        raise RefusedError(-1000, f"Invalid number in property '{name}'")
    return int(number)


def _money(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


def _day(value: object, name: str) -> date:
    match = _DATE.match(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError  # noqa: TRY301 - a wrong pattern and a wrong day are one refusal
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise RefusedError(-1000, f"Invalid date in property '{name}'") from None


def _stamp(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _field(table: str, name: str, line: int | None = None) -> str:
    return f"  [{table}.{name}]" + ("" if line is None else f"[line: {line + 1}]")


class Company:
    """One company database.

    Fill it with `load`, post with `apply`, query with `read`; `ledger` is its history for a checker. One thread.
    """

    def __init__(
        self,
        name: str = "SBO_DEMO",
        *,
        clock: Callable[[], datetime],
        rules: Rules | None = None,
        with_claims: bool = False,
        master_data: Mapping[str, Any] | None = None,
    ) -> None:
        """Make an empty company.

        Args:
            name: its CompanyDB.
            clock: the company's local time, read for default dates and time stamps.
            rules: its settings; may be replaced at any time by assigning `rules`.
            with_claims: whether the table `U_STREAMS_CLAIM` and our user fields exist from the start.
            master_data: loaded at once, see `load`.
        """
        self.name = name
        self.clock = clock
        self.rules = rules or Rules()
        self.periods: list[Period] = []
        self.rates: dict[str, list[tuple[date, Decimal]]] = {}
        self.counters: dict[str, int | float] = dict.fromkeys(
            (
                "calls", "reads", "change_sets", "document_sets", "previews", "refused", "documents", "lock_waits_own", "lock_waits_people",
                "lock_waits_claim", "lock_wait_own_s", "lock_wait_people_s", "lock_wait_claim_s", "lock_refusals_own",
                "lock_refusals_people", "lock_refusals_claim", "logins", "login_failures", "logouts", "sessions_open",
                "sessions_high_water",
            ),
            0,
        )  # fmt: skip
        self._documents: dict[str, dict[int, Json]] = {entity: {} for entity in (*_KINDS, "Drafts")}
        self._tables: dict[str, dict[str, Json]] = {}
        self._masters: dict[str, dict[Key, Json]] = {entity: {} for entity in _MASTERS}
        self._stock: dict[tuple[str, str], Decimal] = {}
        self._committed: dict[tuple[str, str], Decimal] = {}
        self._batches: dict[tuple[str, str, str], Decimal] = {}
        self._serials: dict[tuple[str, str], str | None] = {}
        self._numbers: dict[str, int] = {}
        self._versions: dict[tuple[str, Key], int] = {}
        self._movements: list[tuple[str, str, Decimal, int, int, int, str | None, str | None, str]] = []
        self._index: dict[tuple[str, str, str], dict[int, None]] = {}
        self._properties: dict[str, frozenset[str]] = dict(_property_names())
        self._lengths: dict[str, dict[str, int]] = {name: dict(sizes) for name, sizes in _LENGTHS.items()}
        self._valid_values: dict[str, dict[str, frozenset[str]]] = {}
        self._defaults: dict[str, Json] = {}
        self._locks: dict[str, str] = {}
        self._journal: list[tuple[Any, Any, Any]] = []
        self._today = clock().date()
        if with_claims:
            self._install_claims()
        if master_data is not None:
            self.load(master_data)

    # ---- master data, people ------------------------------------------------------------------------------------

    def load(self, data: Mapping[str, Any]) -> None:
        """Add or change master data, past every rule.

        Args:
            data: entity set -> rows with B1's property names (`{"Items": [{"ItemCode": "A1"}], ...}`), and beside them
                `stock`: [{"item", "warehouse", "quantity", "batch"?, "serials"?}] (adds to what is there, recorded as a
                movement of object 0), `rates`: {"EUR": "0.85"} or {"EUR": [{"from": "2026-01-01", "rate": "0.85"}]}
                (local per foreign unit), `periods`: [{"start", "end", "locked"}] (none: every date is open),
                `rules`: fields of `Rules`. A VAT group may say `Rate` instead of `VatGroups_Lines`.

        Raises:
            RefusedError: for an unknown property or entity set.
        """
        for entity, rows in data.items():
            if entity in _MASTERS:
                for row in rows:
                    self._load_row(entity, dict(row))
            elif entity == "rules":
                self.rules = self.rules.changed(rows)
            elif entity == "periods":
                self.periods = [
                    Period(_day(row["start"], "start"), _day(row["end"], "end"), bool(row.get("locked")))
                    for row in rows
                ]
            elif entity == "rates":
                for currency, steps in rows.items():
                    listed = steps if isinstance(steps, list) else [{"from": "1900-01-01", "rate": steps}]
                    self.rates[currency] = sorted(
                        (_day(step["from"], "from"), _number(step["rate"], "rate")) for step in listed
                    )
            elif entity != "stock":
                raise RefusedError(-1000, f"Unrecognized resource path '{entity}'")
        for row in data.get("stock", ()):
            item, warehouse, quantity = row["item"], row["warehouse"], _number(row["quantity"], "quantity")
            self._stock[item, warehouse] = self._stock.get((item, warehouse), ZERO) + quantity
            if batch := row.get("batch"):
                key = (item, warehouse, batch)
                self._batches[key] = self._batches.get(key, ZERO) + quantity
            for serial in row.get("serials", ()):
                self._serials[item, serial] = warehouse
            self._movements.append(
                (item, warehouse, quantity, 0, 0, 0, row.get("batch"), None, self.clock().isoformat())
            )
        self._journal.clear()

    def _load_row(self, entity: str, row: Json) -> None:
        type_name, key_name = _MASTERS[entity]
        if entity == "VatGroups" and "Rate" in row:
            rate = _number(row.pop("Rate"), "Rate")
            row["VatGroups_Lines"] = [{"Effectivefrom": "1900-01-01T00:00:00Z", "Rate": rate}]
        if entity in ("UserTablesMD", "UserFieldsMD", "UserKeysMD"):
            self._create_master(entity, row)
            return
        self._check(type_name, row)
        for part in _PARTS.get(type_name, ()):
            row[part] = [dict(member) for member in row.get(part, ())]
        key = row[key_name]
        known = self._masters[entity].get(key)
        self._masters[entity][key] = {**(known or {key_name: key, **_DEFAULTS[entity]}), **row}
        self._touch(entity, key)

    def pay(self, doc_entry: int) -> None:
        """A person books the payment of an invoice: it is closed, its lines keep their open quantities."""
        document = self._documents["Invoices"][doc_entry]
        document["DocumentStatus"] = "bost_Close"
        document["PaidToDate"] = document["DocTotal"]
        self._touch("Invoices", doc_entry)
        self._journal.clear()

    def lock(self, item: str, holder: str) -> bool:
        """Take an item; False if another holds it. A person's holder name begins with `people:`."""
        return self._locks.setdefault(item, holder) == holder

    def unlock(self, item: str, holder: str) -> None:
        """Give an item back; harmless if the holder does not hold it."""
        if self._locks.get(item) == holder:
            del self._locks[item]

    def holder(self, item: str) -> str | None:
        """Who holds an item."""
        return self._locks.get(item)

    def backup(self) -> Mapping[str, Any]:
        """The whole company as it is now, for `restore`."""
        return copy.deepcopy({name: getattr(self, name) for name in _STATE})

    def restore(self, image: Mapping[str, Any]) -> None:
        """Bring a backup back: what was posted since is gone, its numbers are given again."""
        for name, value in copy.deepcopy(dict(image)).items():
            setattr(self, name, value)
        self._journal.clear()

    # ---- posting ------------------------------------------------------------------------------------------------

    def work(self, requests: Sequence[Request]) -> Work:
        """What a change set will occupy while it is in service; never refuses."""
        items: set[str] = set()
        keys: set[str] = set()
        lines = documents = rows = 0
        for request in requests:
            body = request.body if isinstance(request.body, Mapping) else {}
            try:
                entity, key, tail = _split(request.path)
            except RefusedError:
                continue
            kind = _KINDS.get(entity)
            if kind is None:
                rows += 1
                if entity in self._tables and request.method == "POST":
                    keys.add(f"{entity}/{body.get('Code')}")
                continue
            documents += 1
            if key is None:
                sent = body.get(kind.lines)
                for line in sent if isinstance(sent, list) else ():
                    lines += 1
                    if isinstance(line, Mapping) and (item := self._moved_item(kind, line)) is not None:
                        items.add(item)
                continue
            document = self._documents[kind.entity].get(key) if isinstance(key, int) else None
            if document is not None and (tail or kind.lines in body):
                lines += len(document[kind.lines])
                if kind.number != 17 or self.rules.orders_lock_items:
                    items.update(line["ItemCode"] for line in document[kind.lines] if line.get("ItemCode"))
        return Work(frozenset(items), frozenset(keys), lines, documents, rows)

    def _moved_item(self, kind: _Kind, line: Mapping[str, Any]) -> str | None:
        base: Json | None = None
        number = line.get("BaseType")
        if number in (13, 15, 17) and not kind.transfer:
            entry, index = line.get("BaseEntry"), line.get("BaseLine")
            document = self._documents[_BY_NUMBER[number].entity].get(entry) if isinstance(entry, int) else None
            if document is not None and isinstance(index, int) and 0 <= index < len(document["DocumentLines"]):
                base = document["DocumentLines"][index]
        if kind.number == 17 and not self.rules.orders_lock_items:
            return None
        if (kind.number == 13 and number == 15) or line.get("WithoutInventoryMovement") == "tYES":
            return None
        item = line.get("ItemCode") or (base or {}).get("ItemCode")
        return item if isinstance(item, str) else None

    def apply(self, requests: Sequence[Request], holder: str | None = None) -> list[Answer]:
        """Run one change set (or one request on its own), atomically.

        Args:
            requests: in order; a later one may name an earlier one's entity as `$<content_id>`.
            holder: who asks; an item locked by another makes the set fail as locked.

        Returns:
            One answer per request, or, if one failed, exactly one answer: its refusal. Then nothing has happened (but
            for the draft that an approval procedure may leave, see `Rules.approval_keeps_draft`).
        """
        counters = self.counters
        counters["calls"] += 1
        counters["change_sets"] += 1
        documents = counters["documents"]
        self._today = self.clock().date()
        answers: list[Answer] = []
        made: dict[str, str] = {}
        try:
            if self._locks:
                self._refuse_locked(self.work(requests), holder)
            for request in requests:
                answer = self._run(request, made)
                answers.append(answer)
                if request.content_id is not None and (place := answer.headers.get("Location")):
                    made[request.content_id] = place
        except RefusedError as error:
            self._rollback(0)
            counters["refused"] += 1
            if isinstance(error, _DraftedError) and (len(requests) == 1 or self.rules.approval_keeps_draft):
                self._keep_draft(error.entity, error.body)
                self._journal.clear()
            return [error.answer()]
        except BaseException:
            self._rollback(0)
            raise
        self._journal.clear()
        counters["document_sets"] += counters["documents"] > documents
        return answers

    def locked_error(self) -> RefusedError:
        """The refusal for a locked record, as `Rules.locked_code` has it."""
        if self.rules.locked_code == -2035:
            return RefusedError(-2035, "Object locked by another user (ODBC -2035)")
        text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
        return RefusedError(self.rules.locked_code, text)

    def _refuse_locked(self, work: Work, holder: str | None) -> None:
        for name in (*work.items, *work.keys):
            owner = self._locks.get(name)
            if owner is not None and owner != holder:
                self.counters[f"lock_refusals_{lock_cause(name, owner)}"] += 1
                raise self.locked_error()

    def _run(self, request: Request, made: Mapping[str, str]) -> Answer:
        path = request.path
        if path.lstrip("/").startswith("$") or "/$" in path:
            path = _refer(path, made)
        entity, key, tail = _split(path)
        method = (
            request.headers.get("x-http-method-override", request.method)
            if request.method == "POST"
            else request.method
        )
        body = request.body if request.body is not None else {}
        if not isinstance(body, Mapping):
            raise RefusedError(-1000, "Invalid JSON body")
        if key is not None:
            self._match(entity, key, request.headers)
        if method == "POST":
            if tail is not None:
                return self._act(entity, key, tail)
            if key is None:
                return self._create(entity, body, request.headers)
        elif method in ("PATCH", "MERGE") and key is not None and tail is None:
            self._patch(entity, key, body, request.headers)
            return Answer(204)
        elif method == "DELETE" and key is not None and tail is None:
            self._delete(entity, key)
            return Answer(204)
        elif method == "GET":
            raise RefusedError(-1000, "GET is not allowed in a change set")
        raise RefusedError(-5006, "The requested action is not supported for this object.")

    def _match(self, entity: str, key: Key, headers: Mapping[str, str]) -> None:
        wanted = headers.get("if-match")
        if wanted not in (None, "*", self._etag(entity, key)):
            text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
            raise RefusedError(-2039, text, 412)

    def _create(self, entity: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        silent = "return-no-content" in headers.get("prefer", "")
        place: str
        row: Json | None
        if entity in _KINDS:
            kind = _KINDS[entity]
            if entity in self.rules.approval:
                self._preview(kind, body)
                if not silent:
                    raise _DraftedError(entity, body)
                self._keep_draft(entity, body)
                return Answer(204, None, {"Preference-Applied": "return-no-content"})
            row = self._create_document(kind, body)
            place, row = f"{entity}({row['DocEntry']})", None if silent else self._shown(entity, row)
            etag = self._etag(entity, self._numbers[entity])
        elif entity in self._tables:
            code = self._create_row(entity, body)
            place, row, etag = f"{entity}('{code}')", dict(self._tables[entity][code]), self._etag(entity, code)
        elif entity in _MASTERS:
            key = self._create_master(entity, body)
            place, row, etag = (
                f"{entity}({_literal(entity, key)})",
                self._shown_master(entity, key),
                self._etag(entity, key),
            )
        else:
            return self._call(entity, body)
        result = {"Location": place, "ETag": etag}
        if silent:
            return Answer(204, None, {**result, "Preference-Applied": "return-no-content"})
        return Answer(
            201, {"@odata.context": f"$metadata#{entity}/$entity", "@odata.etag": etag, **(row or {})}, result
        )

    def _call(self, name: str, body: Mapping[str, Any]) -> Answer:
        sent = body.get("Document")
        if name == "OrdersService_Preview" and isinstance(sent, Mapping):
            self.counters["previews"] += 1
            return Answer(200, self._preview(_KINDS["Orders"], sent))
        if name == "DraftsService_SaveDraftToDocument" and isinstance(sent, Mapping):
            draft = self._documents["Drafts"].get(_integer(sent.get("DocEntry"), "DocEntry"))
            if draft is None or draft["DocumentStatus"] != "bost_Open":
                raise RefusedError(-2028, "No matching records found (ODBC -2028)", 404)
            self._create_document(_BY_ENUM[draft["DocObjectCode"]], draft["_sent"])
            self._set(draft, "DocumentStatus", "bost_Close")
            self._set(draft, "AuthorizationStatus", "dasGenerated")
            self._touch("Drafts", draft["DocEntry"])
            return Answer(204)
        if name == "CompanyService_GetCompanyInfo":
            return Answer(200, {"CompanyName": self.name, "Version": 1000280, "EnableExpensesManagement": "tYES"})
        if name == "CompanyService_GetAdminInfo":
            return Answer(
                200,
                {
                    "CompanyName": self.name,
                    "LocalCurrency": self.rules.local_currency,
                    "AccuracyofQuantities": self.rules.quantity_decimals,
                    "PriceAccuracy": 6,
                    "TotalsAccuracy": 2,
                    "BlockStockNegativeQuantity": "tYES" if self.rules.block_negative_stock else "tNO",
                    "EnableBranches": "tYES" if self.rules.multi_branch else "tNO",
                },
            )
        if name == "SBOBobService_GetCurrencyRate":
            rate = self._rate(str(body.get("Currency")), _day(body.get("Date"), "Date"))
            return Answer(200, {"value": rate})
        raise RefusedError(-1000, f"Unrecognized resource path '{name}'", 404)

    # ---- documents ----------------------------------------------------------------------------------------------

    def _preview(self, kind: _Kind, body: Mapping[str, Any]) -> Json:
        mark = len(self._journal)
        shown = self._shown(kind.entity, self._create_document(kind, body))
        self._rollback(mark)
        shown["DocEntry"] = shown["DocNum"] = 0
        return shown

    def _keep_draft(self, entity: str, body: Mapping[str, Any]) -> None:
        kind = _KINDS[entity]
        entry = self._numbers.get("Drafts", 0) + 1
        draft = self._preview(kind, body)
        draft.update(
            DocEntry=entry, DocNum=entry, DocObjectCode=kind.enum, DocumentStatus="bost_Open", AuthorizationStatus="dasPending",
            _sent=dict(body),
        )  # fmt: skip
        self._set(self._numbers, "Drafts", entry)
        self._set(self._documents["Drafts"], entry, draft)
        self._touch("Drafts", entry)
        self._file("Drafts", draft)

    def _create_document(self, kind: _Kind, body: Mapping[str, Any]) -> Json:
        self._check(kind.type_name, body)
        document = self._fresh(kind.type_name, body)
        entry = self._numbers.get(kind.entity, 0) + 1
        self._set(self._numbers, kind.entity, entry)
        document["DocEntry"] = entry
        # A series starts at a number of its own, so that DocNum is never mistaken for DocEntry.
        document["DocNum"] = kind.number * 100_000 + entry
        document["DocObjectCode"] = kind.enum
        document["DocumentStatus"] = "bost_Open"
        document["Cancelled"] = "tNO"
        document["CancelStatus"] = "csNo"
        self._date(kind, document)
        today = _stamp(self._today)
        document["CreationDate"] = document["UpdateDate"] = today
        if not kind.transfer:
            document["UpdateTime"] = self.clock().strftime("%H:%M:%S")
        if kind.partner:
            self._address(kind, document)
        self._refer_to_documents(document)
        sent = body.get(kind.lines)
        if not isinstance(sent, list) or not sent:
            raise RefusedError(-5002, f"Document must have at least one line{_field('O' + kind.table, 'DocEntry')}")
        if kind.transfer:
            document[kind.lines] = [self._transfer_line(kind, document, line, n) for n, line in enumerate(sent)]
            self._require_branch(document, "BPLID", kind, document[kind.lines])
            document["DocumentStatus"] = "bost_Close"
        else:
            self._complete(kind, document, sent)
        self._keep(kind, document)
        self.counters["documents"] += 1
        self._journal.append((self.counters, "documents", self.counters["documents"] - 1))
        return document

    def _keep(self, kind: _Kind, document: Json) -> None:
        """Save a document; its place in the order of commits is for the checker only."""
        sequence = self._numbers.get("sequence", 0) + 1
        self._set(self._numbers, "sequence", sequence)
        document["_sequence"], document["_committed_at"] = sequence, self.clock().isoformat()
        self._set(self._documents[kind.entity], document["DocEntry"], document)
        self._touch(kind.entity, document["DocEntry"])
        self._file(kind.entity, document)

    def _fresh(self, type_name: str, sent: Mapping[str, Any]) -> Json:
        """What was sent without what is read-only, on top of the user fields' defaults."""
        read_only = _READ_ONLY[type_name]
        fresh = dict(self._defaults.get(type_name, ()))
        fresh.update((name, value) for name, value in sent.items() if name not in read_only)
        return fresh

    def _complete(self, kind: _Kind, document: Json, sent: Sequence[Mapping[str, Any]]) -> None:
        """Currency, lines, freight, totals and stock of a marketing document."""
        rate = self._currency(kind, document)
        day = date.fromisoformat(document["DocDate"][:10])
        service = document.setdefault("DocType", "dDocument_Items") == "dDocument_Service"
        if service and not kind.partner:
            raise RefusedError(-5002, f"Invalid document type{_field('O' + kind.table, 'DocType')}")
        discount = _number(document.get("DiscountPercent") or 0, "DiscountPercent")
        lines: list[Json] = []
        document["DocumentLines"] = lines
        for number, line in enumerate(sent):
            if service:
                made = self._service_line(kind, document, line, number)
            else:
                made = self._item_line(kind, document, line, number, day)
            self._amounts(kind, document, made, line, day, rate, discount)
            lines.append(made)
        self._require_branch(document, "BPL_IDAssignedToInvoice", kind, lines)
        document["DocumentAdditionalExpenses"] = self._freight(kind, document, day, rate)
        self._total(document, rate, discount)
        if kind.number in (59, 60):
            document["DocumentStatus"] = "bost_Close"

    def _date(self, kind: _Kind, document: Json) -> None:
        due = "DueDate" if kind.transfer else "DocDueDate"
        if kind.number == 17 and not document.get(due):
            raise RefusedError(-5002, f"Enter valid due date{_field('O' + kind.table, due)}")
        posting = document.get("DocDate")
        day = self._today if posting is None else _day(posting, "DocDate")
        document["DocDate"] = _stamp(day)
        for name in ("TaxDate", due):
            value = document.get(name)
            document[name] = document["DocDate"] if value is None else _stamp(_day(value, name))
        for name in _DOCUMENT_DATES & document.keys():
            if isinstance(document[name], str) and len(document[name]) != 20:
                document[name] = _stamp(_day(document[name], name))
        if self.periods:
            period = next((one for one in self.periods if one.start <= day <= one.end), None)
            if period is None:
                raise RefusedError(-10, f"Date deviates from permissible range{_field('O' + kind.table, 'DocDate')}")
            if period.locked:
                raise RefusedError(-4013, "Posting period locked; specify an alternative date")

    def _address(self, kind: _Kind, document: Json) -> None:
        code = document.get("CardCode")
        if not code:
            raise RefusedError(-5002, f"Enter a business partner code{_field('O' + kind.table, 'CardCode')}")
        partner = self._masters["BusinessPartners"].get(code)
        if partner is None:
            raise RefusedError(-2028, f"No matching records found (ODBC -2028){_field('O' + kind.table, 'CardCode')}")
        if partner["Valid"] != "tYES" or partner["Frozen"] == "tYES" or partner["CardType"] != "cCustomer":
            raise RefusedError(-10, f"Business partner '{code}' is inactive or no customer{_field('OCRD', 'CardCode')}")
        document.setdefault("CardName", partner.get("CardName"))
        shipping = document.get("TransportationCode")
        if (
            shipping not in (None, -1)
            and _integer(shipping, "TransportationCode") not in self._masters["ShippingTypes"]
        ):
            raise RefusedError(-5002, f"Code undefined{_field('O' + kind.table, 'TrnspCode')}")

    def _refer_to_documents(self, document: Json) -> None:
        for reference in document.get("DocumentReferences") or ():
            kind_name, entry = reference.get("RefObjType"), reference.get("RefDocEntr")
            number = _REFERENCE_TYPES.get(str(kind_name))
            if number is None:
                if kind_name in ("rot_ExternalDocument", None):
                    continue
                number = int(kind_name) if str(kind_name).isdigit() else 0
            kind = _BY_NUMBER.get(number)
            if kind is None:
                raise RefusedError(-1000, f"Enumeration value '{kind_name}' of 'RefObjType' is invalid")
            if _integer(entry, "RefDocEntr") not in self._documents[kind.entity]:
                raise RefusedError(-2028, "No matching records found (ODBC -2028)  [DocumentReferences.RefDocEntr]")

    def _rate(self, currency: str, day: date) -> Decimal:
        rate = next((value for start, value in reversed(self.rates.get(currency, [])) if start <= day), None)
        if rate is None:
            raise RefusedError(-10, f"Update the exchange rate, '{currency}'")
        return rate

    def _currency(self, kind: _Kind, document: Json) -> Decimal:
        """Local units for one unit of the document's currency."""
        local = self.rules.local_currency
        partner = self._masters["BusinessPartners"].get(document.get("CardCode") or "", {})
        partners = partner.get("Currency") or "##"
        currency = document.get("DocCurrency") or (local if partners == "##" else partners)
        if partners != "##" and currency not in (partners, local):
            raise RefusedError(-10, f"Currency '{currency}' is not the partner's{_field('O' + kind.table, 'DocCur')}")
        document["DocCurrency"] = currency
        if currency == local:
            document["DocRate"] = Decimal(1)
            return Decimal(1)
        day = date.fromisoformat(document["DocDate"][:10])
        rate = _number(document["DocRate"], "DocRate") if document.get("DocRate") else self._rate(currency, day)
        document["DocRate"] = rate
        return rate

    def _require_branch(self, document: Json, name: str, kind: _Kind, lines: Iterable[Json]) -> None:
        if not self.rules.multi_branch:
            return
        branch = document.get(name)
        if branch is None:
            raise RefusedError(-5002, f"Specify an active branch{_field('O' + kind.table, 'BPLId')}")
        for number, line in enumerate(lines):
            for place in ("WarehouseCode", "FromWarehouseCode"):
                code = line.get(place)
                if code and self._masters["Warehouses"][code]["BusinessPlaceID"] != _integer(branch, name):
                    text = f"Warehouse '{code}' is not assigned to the document's branch"
                    raise RefusedError(-5002, text + _field(kind.table + "1", "WhsCode", number))

    # ---- lines --------------------------------------------------------------------------------------------------

    def _item(self, code: object, where: str, number: int, day: date) -> Json:
        item = self._masters["Items"].get(code) if isinstance(code, str) else None
        if item is None:
            raise RefusedError(-2028, f"No matching records found (ODBC -2028){_field(where, 'ItemCode', number)}")
        if not _active(item, day):
            if self.rules.inactive_code == -5002:
                raise RefusedError(-5002, f"Invalid Item '{code}'{_field(where, 'ItemCode', number)}")
            text = f"10001069 - Item '{code}' is inactive{_field(where, 'ItemCode', number)}"
            raise RefusedError(self.rules.inactive_code, text)
        return item

    def _warehouse(self, code: object, where: str, number: int, name: str = "WarehouseCode") -> str:
        row = self._masters["Warehouses"].get(code) if isinstance(code, str) else None
        if row is None or not isinstance(code, str):
            raise RefusedError(-2028, f"No matching records found (ODBC -2028){_field(where, name, number)}")
        if row["Inactive"] == "tYES":
            raise RefusedError(-10, f"Warehouse '{code}' is inactive{_field(where, name, number)}")
        return code

    def _quantity(self, sent: Mapping[str, Any], default: Decimal, where: str, number: int) -> Decimal:
        value = sent.get("Quantity")
        quantity = default if value is None else _number(value, "Quantity")
        rounded = quantity.quantize(Decimal(1).scaleb(-self.rules.quantity_decimals), ROUND_HALF_UP)
        if rounded <= 0:
            raise RefusedError(-10, f"Quantity must be greater than zero{_field(where, 'Quantity', number)}")
        return quantity if rounded == quantity else rounded

    def _account(self, code: object, where: str, number: int) -> None:
        if code is not None and code not in self._masters["ChartOfAccounts"]:
            raise RefusedError(-5002, f"G/L account code undefined{_field(where, 'AccountCode', number)}")

    def _base(
        self, kind: _Kind, document: Json, sent: Mapping[str, Any], number: int
    ) -> tuple[_Kind, Json, Json] | None:
        named = [sent.get(name) for name in ("BaseType", "BaseEntry", "BaseLine")]
        if all(value in (None, -1) for value in named):
            return None
        if any(value is None for value in named):
            raise RefusedError(-5002, "Internal error (-5002) occurred")
        where = kind.table + "1"
        base_type, entry, index = (_integer(value, name) for value, name in zip(named, ("BaseType",) * 3, strict=True))
        allowed = kind.bases if self.rules.credit_on_delivery or kind.number != 14 else kind.bases - {15}
        base_kind = _BY_NUMBER.get(base_type)
        if base_kind is None or base_type not in allowed:
            raise RefusedError(-5002, f"Invalid base document type{_field(where, 'BaseType', number)}")
        base = self._documents[base_kind.entity].get(entry)
        if base is None or not 0 <= index < len(base["DocumentLines"]):
            raise RefusedError(-2028, f"No matching records found (ODBC -2028){_field(where, 'BaseEntry', number)}")
        if base["CardCode"] != document["CardCode"]:
            raise RefusedError(-5002, f"Base document belongs to another partner{_field(where, 'BaseEntry', number)}")
        line = base["DocumentLines"][index]
        if base["DocumentStatus"] != "bost_Open" or base["Cancelled"] == "tYES" or line["LineStatus"] != "bost_Open":
            text = f"One of the base documents has already been closed{_field(where, 'BaseEntry', number)}"
            raise RefusedError(self.rules.base_closed_code, text)
        return base_kind, base, line

    def _draw(self, kind: _Kind, base: tuple[_Kind, Json, Json], quantity: Decimal, number: int) -> None:
        """Take a quantity from a base line; it closes at zero, its document when all its lines are closed."""
        base_kind, document, line = base
        left = line["RemainingOpenQuantity"] - quantity
        if left < 0:
            if self.rules.over_delivery == "refuse":
                text = "Quantity exceeds the open quantity of the base document"
                raise RefusedError(-10, text + _field(kind.table + "1", "Quantity", number))
            left = ZERO
        taken = line["RemainingOpenQuantity"] - left
        self._set(line, "RemainingOpenQuantity", left)
        if base_kind.number == 17:
            self._commit(line, -taken)
        if not left:
            self._set(line, "LineStatus", "bost_Close")
            self._close_when_done(base_kind, document)
        self._touch(base_kind.entity, document["DocEntry"])

    def _close_when_done(self, kind: _Kind, document: Json) -> None:
        if all(line["LineStatus"] == "bost_Close" for line in document[kind.lines]):
            self._set(document, "DocumentStatus", "bost_Close")

    def _commit(self, line: Json, quantity: Decimal) -> None:
        code = line.get("ItemCode")
        if code and self._masters["Items"][code]["InventoryItem"] == "tYES":
            key = (code, line["WarehouseCode"])
            self._set(self._committed, key, self._committed.get(key, ZERO) + quantity)

    def _item_line(self, kind: _Kind, document: Json, sent: Mapping[str, Any], number: int, day: date) -> Json:
        where = kind.table + "1"
        line = self._fresh("DocumentLine", sent)
        base = self._base(kind, document, sent, number) if kind.bases else None
        origin = base[2] if base else None
        code = sent.get("ItemCode")
        if origin is not None:
            if code is not None and code != origin.get("ItemCode"):
                text = f"Target item number does not match base item number{_field(where, 'ItemCode', number)}"
                raise RefusedError(-5002, text)
            code = origin.get("ItemCode")
        item = self._item(code, where, number, day)
        if kind.partner and item["SalesItem"] != "tYES":
            raise RefusedError(-10, f"Item '{code}' is not a sales item{_field(where, 'ItemCode', number)}")
        if not kind.partner and item["InventoryItem"] != "tYES":
            raise RefusedError(-10, f"Item is not defined as an inventory item{_field(where, 'ItemCode', number)}")
        quantity = self._quantity(sent, origin["RemainingOpenQuantity"] if origin else Decimal(1), where, number)
        default = origin["WarehouseCode"] if origin else item["DefaultWarehouse"]
        warehouse = self._warehouse(sent.get("WarehouseCode") or default, where, number)
        self._account(sent.get("AccountCode"), where, number)
        line["LineNum"] = number
        line["ItemCode"] = code
        line["ItemDescription"] = sent.get("ItemDescription") or item.get("ItemName")
        line["Quantity"] = line["InventoryQuantity"] = line["RemainingOpenQuantity"] = quantity
        line["WarehouseCode"] = warehouse
        line["LineStatus"] = "bost_Close" if kind.number in (59, 60) else "bost_Open"
        line["DocEntry"] = document["DocEntry"]
        if base is not None:
            self._draw(kind, base, quantity, number)
        else:
            line["BaseType"], line["BaseEntry"], line["BaseLine"] = -1, None, None
        still = (base is not None and kind.number == 13 and base[0].number == 15) or (
            kind.number == 14 and sent.get("WithoutInventoryMovement") == "tYES"
        )
        if kind.number == 17:
            self._commit(line, quantity)
            if self.rules.batches_on_orders and item["InventoryItem"] == "tYES":
                self._lots(item, sent, quantity, number, where, inward=False)
        elif item["InventoryItem"] == "tYES" and not still:
            self._move(kind, document, item, warehouse, quantity, sent, number, inward=kind.sign > 0)
        return line

    def _service_line(self, kind: _Kind, document: Json, sent: Mapping[str, Any], number: int) -> Json:
        where = kind.table + "1"
        if sent.get("ItemCode") is not None or sent.get("Quantity") not in (None, 1, "1"):
            raise RefusedError(-5002, f"A service line has no item{_field(where, 'ItemCode', number)}")
        base = self._base(kind, document, sent, number) if kind.bases else None
        account = sent.get("AccountCode") or (base[2].get("AccountCode") if base else None)
        if account is None:
            raise RefusedError(-5002, f"G/L account missing{_field(where, 'AccountCode', number)}")
        self._account(account, where, number)
        line = self._fresh("DocumentLine", sent)
        line.update(
            LineNum=number, AccountCode=account, Quantity=Decimal(1), RemainingOpenQuantity=Decimal(1),
            LineStatus="bost_Open", DocEntry=document["DocEntry"], ItemCode=None, WarehouseCode=None,
        )  # fmt: skip
        if base is not None:
            self._draw(kind, base, Decimal(1), number)
        return line

    def _transfer_line(self, kind: _Kind, document: Json, sent: Mapping[str, Any], number: int) -> Json:
        where = "WTR1"
        day = date.fromisoformat(document["DocDate"][:10])
        item = self._item(sent.get("ItemCode"), where, number, day)
        if item["InventoryItem"] != "tYES":
            raise RefusedError(-10, f"Item is not defined as an inventory item{_field(where, 'ItemCode', number)}")
        given = sent.get("FromWarehouseCode") or document.get("FromWarehouse")
        giver = self._warehouse(given, where, number, "FromWarehouseCode")
        taker = self._warehouse(sent.get("WarehouseCode") or document.get("ToWarehouse"), where, number)
        if giver == taker:
            raise RefusedError(-10, f"Warehouses must differ{_field(where, 'WarehouseCode', number)}")
        quantity = self._quantity(sent, Decimal(1), where, number)
        line = self._fresh("StockTransferLine", sent)
        line.update(
            LineNum=number, Quantity=quantity, InventoryQuantity=quantity, FromWarehouseCode=giver, WarehouseCode=taker,
            LineStatus="bost_Close", DocEntry=document["DocEntry"],
            ItemDescription=sent.get("ItemDescription") or item.get("ItemName"),
        )  # fmt: skip
        self._move(kind, document, item, giver, quantity, sent, number, inward=False)
        self._move(kind, document, item, taker, quantity, sent, number, inward=True)
        return line

    # ---- money --------------------------------------------------------------------------------------------------

    def _tax_rate(self, sent: Mapping[str, Any], fallback: object, day: date, where: str, number: int) -> Decimal:
        if (code := sent.get("TaxCode")) is not None:
            row = self._masters["SalesTaxCodes"].get(code)
            if row is None or row["Inactive"] == "tYES" or row["ValidForAR"] != "tYES":
                raise RefusedError(-5002, f"Code undefined{_field(where, 'TaxCode', number)}")
            return _number(row["Rate"], "Rate")
        code = sent.get("VatGroup", fallback)
        if code is None:
            return ZERO
        row = self._masters["VatGroups"].get(code)
        if row is None or row["Inactive"] == "tYES":
            raise RefusedError(-5002, f"Code undefined{_field(where, 'VatGroup', number)}")
        steps = row["VatGroups_Lines"]
        if len(steps) > 1:
            wanted = _stamp(day)
            steps = sorted(
                (step for step in steps if step["Effectivefrom"] <= wanted), key=lambda s: s["Effectivefrom"]
            )
        return _number(steps[-1]["Rate"], "Rate") if steps else ZERO

    def _amounts(
        self,
        kind: _Kind,
        document: Json,
        line: Json,
        sent: Mapping[str, Any],
        day: date,
        rate: Decimal,
        discount: Decimal,
    ) -> None:
        """Price, total and tax of a line; what is sent stands, the rest follows from it."""
        where, number = kind.table + "1", line["LineNum"]
        origin = self._base_line(line)
        quantity = line["Quantity"]
        item = self._masters["Items"].get(line["ItemCode"] or "", {})
        vat = (origin or {}).get("VatGroup") or item.get("SalesVATGroup")
        tax_rate = self._tax_rate(sent, vat, day, where, number) if kind.partner else ZERO
        if kind.partner and "TaxCode" not in sent:
            line["VatGroup"] = sent.get("VatGroup", vat)
        price = sent.get("UnitPrice", sent.get("Price"))
        given = sent.get("LineTotal", sent.get("RowTotalFC"))
        whole = origin is not None and price is None and given is None and quantity == origin["Quantity"]
        if given is not None:
            total = self._incoming(given, "LineTotal", rate)
            each = (total / quantity).quantize(_MICRO, ROUND_HALF_UP)
            unit = each if price is None else _number(price, "UnitPrice")
            off = (_HUNDRED - each * 100 / unit).quantize(_MICRO, ROUND_HALF_UP) if unit else ZERO
        else:
            if price is None and origin is not None:
                price = origin["UnitPrice"]
            unit = _number(price or 0, "UnitPrice")
            off = _number(sent.get("DiscountPercent") or (origin or {}).get("DiscountPercent") or 0, "DiscountPercent")
            each = unit * (_HUNDRED - off) / 100 if off else unit
            total = _money(quantity * each)
        if whole and origin is not None:
            total = origin["LineTotal"] if rate == 1 else origin["RowTotalFC"]
        taxed = sent.get("TaxTotal")
        if taxed is not None:
            tax = self._incoming(taxed, "TaxTotal", rate)
        elif whole and origin is not None:
            tax = origin["TaxTotal"] if rate == 1 else origin["NetTaxAmountFC"]
        else:
            tax = _money(total * (_HUNDRED - discount) * tax_rate / 10_000)
        line["UnitPrice"] = unit
        line["Price"] = each
        line["DiscountPercent"] = off
        line["TaxPercentagePerRow"] = tax_rate
        line["Currency"] = document["DocCurrency"]
        if rate == 1:
            line["LineTotal"], line["RowTotalFC"] = total, ZERO
            line["TaxTotal"], line["NetTaxAmountFC"] = tax, ZERO
        else:
            line["LineTotal"], line["RowTotalFC"] = _money(total * rate), total
            line["TaxTotal"], line["NetTaxAmountFC"] = _money(tax * rate), tax
        line["NetTaxAmount"] = line["TaxTotal"]

    def _incoming(self, value: object, name: str, rate: Decimal) -> Decimal:
        """An amount that was sent, in the document's currency."""
        amount = _number(value, name)
        if rate != 1 and not self.rules.amounts_in_document_currency:
            amount /= rate
        return _money(amount)

    def _base_line(self, line: Json) -> Json | None:
        kind = _BY_NUMBER.get(line.get("BaseType", -1)) if isinstance(line.get("BaseType"), int) else None
        if kind is None or line.get("BaseEntry") is None:
            return None
        found: Json = self._documents[kind.entity][int(line["BaseEntry"])]["DocumentLines"][int(line["BaseLine"])]
        return found

    def _freight(self, kind: _Kind, document: Json, day: date, rate: Decimal) -> list[Json]:
        rows: list[Json] = []
        for number, sent in enumerate(document.get("DocumentAdditionalExpenses") or ()):
            where = kind.table + "3"
            code = sent.get("ExpenseCode")
            expense = (
                self._masters["AdditionalExpenses"].get(_integer(code, "ExpenseCode")) if code is not None else None
            )
            if expense is None:
                raise RefusedError(-5002, f"Code undefined{_field(where, 'ExpenseCode', number)}")
            tax_rate = self._tax_rate(sent, expense.get("OutputVATGroup"), day, where, number)
            total = self._incoming(sent.get("LineTotal", 0), "LineTotal", rate)
            taxed = sent.get("TaxSum")
            tax = _money(total * tax_rate / 100) if taxed is None else self._incoming(taxed, "TaxSum", rate)
            row = dict(sent)
            row.update(
                LineNum=number, ExpenseCode=int(code), TaxPercent=tax_rate, LineGross=_money((total + tax) * rate)
            )
            row["LineTotal"], row["TaxSum"] = (total, tax) if rate == 1 else (_money(total * rate), _money(tax * rate))
            row["LineTotalFC"], row["TaxSumFC"] = (ZERO, ZERO) if rate == 1 else (total, tax)
            rows.append(row)
        return rows

    def _total(
        self, document: Json, rate: Decimal, discount: Decimal, write: Callable[[str, Any], None] | None = None
    ) -> None:
        """The document's totals. A `DocTotal` that was sent stands; B1 then bends the discount until it fits."""
        foreign = rate != 1
        line_name, tax_name = ("RowTotalFC", "NetTaxAmountFC") if foreign else ("LineTotal", "TaxTotal")
        freight_name, freight_tax_name = ("LineTotalFC", "TaxSumFC") if foreign else ("LineTotal", "TaxSum")
        net = tax = ZERO
        for line in document["DocumentLines"]:
            net += line[line_name]
            tax += line[tax_name]
        freight = ZERO
        for row in document["DocumentAdditionalExpenses"]:
            freight += row[freight_name]
            tax += row[freight_tax_name]
        put = write or document.__setitem__
        off = _money(net * discount / 100)
        total = net - off + tax + freight
        if document.get("Rounding") == "tYES":
            total += self._incoming(document.get("RoundingDiffAmount") or 0, "RoundingDiffAmount", rate)
        asked = document.get("DocTotalFc" if foreign else "DocTotal") if write is None else None
        if asked is not None:
            wanted = _money(_number(asked, "DocTotal"))
            if wanted != total and net:
                discount = ((off + total - wanted) * 100 / net).quantize(_MICRO, ROUND_HALF_UP)
                off += total - wanted
                total = wanted
        put("DiscountPercent", discount)
        put("DocTotal", _money(total * rate) if foreign else total)
        put("DocTotalFc", total if foreign else ZERO)
        put("VatSum", _money(tax * rate) if foreign else tax)
        put("VatSumFc", tax if foreign else ZERO)
        put("TotalDiscount", _money(off * rate) if foreign else off)
        put("DocTotalSys", document["DocTotal"])
        if document.get("PaidToDate") is None:
            put("PaidToDate", ZERO)

    # ---- stock --------------------------------------------------------------------------------------------------

    def _lots(
        self, item: Json, sent: Mapping[str, Any], quantity: Decimal, number: int, where: str, *, inward: bool
    ) -> list[tuple[str | None, str | None, Decimal]]:
        """The batch and serial numbers of a line, checked for completeness: (batch, serial, quantity)."""
        batched, serialised = item["ManageBatchNumbers"] == "tYES", item["ManageSerialNumbers"] == "tYES"
        batches, serials = sent.get("BatchNumbers") or (), sent.get("SerialNumbers") or ()
        if not batched and not serialised:
            if batches or serials:
                text = f"Item '{item['ItemCode']}' is not managed by batch or serial numbers"
                raise RefusedError(-10, text + _field(where, "ItemCode", number))
            return [(None, None, quantity)]
        if inward and item["SRIAndBatchManageMethod"] == "bomm_OnReleaseOnly" and not batches and not serials:
            return [(None, None, quantity)]
        lots: list[tuple[str | None, str | None, Decimal]] = []
        for row in batches if batched else serials:
            if row.get("BaseLineNumber") not in (None, number, str(number)):
                raise RefusedError(-10, f"BaseLineNumber is not this line{_field(where, 'BaseLineNumber', number)}")
            if batched:
                lots.append((row.get("BatchNumber"), None, _number(row.get("Quantity", 0), "Quantity")))
            else:
                name = row.get("InternalSerialNumber") or row.get("ManufacturerSerialNumber")
                lots.append((None, name, _number(row.get("Quantity", 1), "Quantity")))
        whole = all((batch or serial) and amount > 0 for batch, serial, amount in lots)
        single = batched or (all(lot[2] == 1 for lot in lots) and len({lot[1] for lot in lots}) == len(lots))
        if not whole or not single or sum((lot[2] for lot in lots), ZERO) != quantity:
            text = (
                f"Cannot add row without complete selection of batch/serial numbers{_field(where, 'ItemCode', number)}"
            )
            raise RefusedError(-4014, text)
        return lots

    def _move(
        self, kind: _Kind, document: Json, item: Json, warehouse: str, quantity: Decimal, sent: Mapping[str, Any],
        number: int, *, inward: bool,
    ) -> None:  # fmt: skip
        where = kind.table + "1"
        for batch, serial, amount in self._lots(item, sent, quantity, number, where, inward=inward):
            self._book(kind, document, item, warehouse, amount if inward else -amount, batch, serial, number)

    def _book(
        self, kind: _Kind, document: Json, item: Json, warehouse: str, change: Decimal, batch: str | None,
        serial: str | None, number: int,
    ) -> None:  # fmt: skip
        """One stock movement: `change` > 0 comes in, < 0 goes out."""
        code, where = item["ItemCode"], kind.table + "1"
        if batch is not None and item["SRIAndBatchManageMethod"] != "bomm_OnReleaseOnly":
            key = (code, warehouse, batch)
            held = self._batches.get(key)
            if change < 0 and held is None:
                text = f"480000112 - Batch number '{batch}' chosen in row {number + 1} does not exist"
                raise RefusedError(-10, text + _field(where, "ItemCode", number))
            after = (held or ZERO) + change
            if after < 0:
                text = f"10001153 - Insufficient quantity for item {code} with batch {batch} in warehouse {warehouse}"
                raise RefusedError(-10, text + _field(where, "ItemCode", number))
            self._set(self._batches, key, after)
        if serial is not None and item["SRIAndBatchManageMethod"] != "bomm_OnReleaseOnly":
            place = self._serials.get((code, serial))
            if change < 0 and place != warehouse:
                text = f"480000112 - Serial number '{serial}' chosen in row {number + 1} does not exist"
                raise RefusedError(-10, text + _field(where, "ItemCode", number))
            if change > 0 and place is not None:
                text = f"Serial number '{serial}' already exists{_field(where, 'ItemCode', number)}"
                raise RefusedError(-10, text)
            self._set(self._serials, (code, serial), warehouse if change > 0 else None)
        slot = (code, warehouse)
        level = self._stock.get(slot, ZERO) + change
        if level < 0 and change < 0 and self.rules.block_negative_stock:
            raise RefusedError(-10, f"Quantity falls into negative inventory{_field(where, 'ItemCode', number)}")
        self._set(self._stock, slot, level)
        self._append(
            self._movements,
            (
                code,
                warehouse,
                change,
                kind.number,
                document["DocEntry"],
                number,
                batch,
                serial,
                self.clock().isoformat(),
            ),
        )

    # ---- actions, changes ---------------------------------------------------------------------------------------

    def _act(self, entity: str, key: Key | None, action: str) -> Answer:
        kind = _KINDS.get(entity)
        if kind is None or key is None:
            raise RefusedError(-5006, "The requested action is not supported for this object.")
        document = self._found(entity, key)
        if action == "Close" and not kind.transfer and kind.number not in (59, 60):
            self._require_open(document)
            for line in document["DocumentLines"]:
                self._close_line(kind, line)
            self._set(document, "DocumentStatus", "bost_Close")
        elif action == "Cancel" and kind.number == 17:
            self._require_open(document)
            if any(line["RemainingOpenQuantity"] != line["Quantity"] for line in document["DocumentLines"]):
                raise RefusedError(-10, "Document cannot be cancelled: it was copied to target documents")
            for line in document["DocumentLines"]:
                self._close_line(kind, line)
            self._set(document, "DocumentStatus", "bost_Close")
            self._set(document, "Cancelled", "tYES")
            self._set(document, "CancelStatus", "csYes")
        elif action in ("Cancel", "CreateCancellationDocument") and kind.number != 17:
            mirror = self._mirror(kind, document)
            if action != "Cancel":
                return Answer(200, self._shown(entity, mirror))
        else:
            raise RefusedError(-5006, "The requested action is not supported for this object.")
        self._touch(entity, key)
        return Answer(204)

    def _require_open(self, document: Json) -> None:
        if document["DocumentStatus"] != "bost_Open" or document["Cancelled"] == "tYES":
            raise RefusedError(-10, "Document is already closed or cancelled  [ORDR.DocStatus]")

    def _close_line(self, kind: _Kind, line: Json) -> None:
        """Close a line by hand; it keeps its open quantity, its status says that it no longer counts."""
        if line["LineStatus"] == "bost_Open":
            self._set(line, "LineStatus", "bost_Close")
            if kind.number == 17:
                self._commit(line, -line["RemainingOpenQuantity"])

    def _mirror(self, kind: _Kind, document: Json) -> Json:
        """Cancel a posted document: a document of its own turns every effect round."""
        if document["Cancelled"] == "tYES" or document["CancelStatus"] == "csCancellation":
            raise RefusedError(-10, "Document is already cancelled")
        if kind.partner:
            self._require_open(document)
            if any(line["RemainingOpenQuantity"] != line["Quantity"] for line in document["DocumentLines"]):
                raise RefusedError(-10, "Document cannot be cancelled: it was copied to target documents")
        entry = self._numbers[kind.entity] + 1
        mirror = {**document, "DocEntry": entry, "DocNum": kind.number * 100_000 + entry}
        mirror.update(CancelStatus="csCancellation", DocumentStatus="bost_Close")
        mirror[kind.lines] = [
            {
                **line, "DocEntry": entry, "LineStatus": "bost_Close",
                "BaseType": kind.number, "BaseEntry": document["DocEntry"], "BaseLine": line["LineNum"],
            }
            for line in document[kind.lines]
        ]  # fmt: skip
        for code, warehouse, change, number, origin, line_number, batch, serial, _ in list(self._movements):
            if number == kind.number and origin == document["DocEntry"]:
                item = self._masters["Items"][code]
                self._book(kind, mirror, item, warehouse, -change, batch, serial, line_number)
        for line in document[kind.lines]:
            base = self._base_line(line) if kind.bases else None
            if base is not None:
                self._give_back(line, base)
            self._set(line, "LineStatus", "bost_Close")
        self._set(self._numbers, kind.entity, entry)
        self._keep(kind, mirror)
        self._set(document, "Cancelled", "tYES")
        self._set(document, "CancelStatus", "csYes")
        self._set(document, "DocumentStatus", "bost_Close")
        return mirror

    def _give_back(self, line: Json, base: Json) -> None:
        kind = _BY_NUMBER[line["BaseType"]]
        document = self._documents[kind.entity][int(line["BaseEntry"])]
        drawn_empty = not base["RemainingOpenQuantity"]
        self._set(base, "RemainingOpenQuantity", base["RemainingOpenQuantity"] + line["Quantity"])
        if drawn_empty:
            self._set(base, "LineStatus", "bost_Open")
            self._set(document, "DocumentStatus", "bost_Open")
        if kind.number == 17 and base["LineStatus"] == "bost_Open":
            self._commit(base, base["RemainingOpenQuantity"] if drawn_empty else line["Quantity"])
        self._touch(kind.entity, document["DocEntry"])

    def _patch(self, entity: str, key: Key, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        if entity in _KINDS:
            self._patch_document(_KINDS[entity], key, body, headers)
        elif entity in self._tables:
            row = self._found(entity, key)
            self._check(entity, body)
            for name, value in body.items():
                if name != "Code":
                    self._set(row, name, value)
        elif entity in _MASTERS and entity not in ("UserTablesMD", "UserFieldsMD", "UserKeysMD"):
            self._patch_master(entity, key, body)
        else:
            raise RefusedError(-5006, "The requested action is not supported for this object.")
        self._touch(entity, key)

    def _patch_document(self, kind: _Kind, key: Key, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        document = self._found(kind.entity, key)
        self._check(kind.type_name, body)
        changeable = kind.number == 17 and document["DocumentStatus"] == "bost_Open"
        for name, value in body.items():
            if name in _READ_ONLY[kind.type_name] or name in _PARTS[kind.type_name]:
                continue
            if not changeable and name not in _ALWAYS_OPEN and not name.startswith("U_"):
                raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029)  [O{kind.table}.{name}]")
            self._refile(kind.entity, document, name, value)
            if name in _DOCUMENT_DATES and value is not None:
                value = _stamp(_day(value, name))  # noqa: PLW2901 - the date in B1's form
            self._set(document, name, value)
        self._set(document, "UpdateDate", _stamp(self._today))
        sent = body.get(kind.lines)
        if sent is None and "DocumentAdditionalExpenses" not in body and "DiscountPercent" not in body:
            return
        if not changeable:
            raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029)  [{kind.table}1.LineNum]")
        day, rate = date.fromisoformat(document["DocDate"][:10]), document["DocRate"]
        discount = _number(document.get("DiscountPercent") or 0, "DiscountPercent")
        if sent is not None:
            whole = headers.get("b1s-replacecollectionsonpatch", "").lower() == "true"
            self._patch_lines(kind, document, sent, day, rate, discount, replace_all=whole)
        if "DocumentAdditionalExpenses" in body:
            shadow = {**document, "DocumentAdditionalExpenses": body["DocumentAdditionalExpenses"]}
            self._set(document, "DocumentAdditionalExpenses", self._freight(kind, shadow, day, rate))
        self._total(document, rate, discount, lambda name, value: self._set(document, name, value))
        self._close_when_done(kind, document)

    def _patch_lines(
        self, kind: _Kind, document: Json, sent: Sequence[Mapping[str, Any]], day: date, rate: Decimal,
        discount: Decimal, *, replace_all: bool,
    ) -> None:  # fmt: skip
        lines = document["DocumentLines"]
        by_number = {line["LineNum"]: line for line in lines}
        named: set[int] = set()
        for change in sent:
            number = change.get("LineNum")
            line = None if number is None else by_number.get(_integer(number, "LineNum"))
            if line is None:
                fresh = self._item_line(kind, document, change, max(by_number) + 1, day)
                self._amounts(kind, document, fresh, change, day, rate, discount)
                self._append(lines, fresh)
                by_number[fresh["LineNum"]] = fresh
                named.add(fresh["LineNum"])
            else:
                named.add(line["LineNum"])
                self._patch_line(kind, document, line, change, day, rate, discount)
        if replace_all and (gone := [line for line in lines if line["LineNum"] not in named]):
            for line in gone:
                if line["RemainingOpenQuantity"] != line["Quantity"]:
                    raise RefusedError(-1029, "Field cannot be updated (ODBC -1029)  [RDR1.LineNum]")
                self._close_line(kind, line)
            self._set(document, "DocumentLines", [line for line in lines if line["LineNum"] in named])

    def _patch_line(
        self, kind: _Kind, document: Json, line: Json, change: Mapping[str, Any], day: date, rate: Decimal,
        discount: Decimal,
    ) -> None:  # fmt: skip
        number = line["LineNum"]
        changed = {name: value for name, value in change.items() if name not in _READ_ONLY["DocumentLine"]}
        changed.pop("LineNum", None)
        status = changed.pop("LineStatus", None)
        same = all(line.get(name) == value for name, value in changed.items())
        if line["LineStatus"] != "bost_Open":
            # A closed line may be named unchanged, as clients that send all lines do.
            if status in (None, "bost_Close") and (same or all(name.startswith("U_") for name in changed)):
                for name, value in changed.items():
                    self._set(line, name, value)
                return
            raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029){_field('RDR1', 'LineStatus', number)}")
        if not same:
            self._change_line(kind, document, line, changed, day, rate, discount)
        if status == "bost_Close" or not line["RemainingOpenQuantity"]:
            self._close_line(kind, line)

    def _change_line(
        self, kind: _Kind, document: Json, line: Json, changed: Json, day: date, rate: Decimal, discount: Decimal
    ) -> None:
        number, drawn = line["LineNum"], line["Quantity"] - line["RemainingOpenQuantity"]
        if drawn and changed.get("ItemCode", line["ItemCode"]) != line["ItemCode"]:
            raise RefusedError(-1029, f"Field cannot be updated (ODBC -1029){_field('RDR1', 'ItemCode', number)}")
        merged = {**line, **changed}
        if "Quantity" in changed:
            merged["Quantity"] = self._quantity(changed, line["Quantity"], "RDR1", number)
            if merged["Quantity"] < drawn:
                text = f"Quantity is below what was already delivered{_field('RDR1', 'Quantity', number)}"
                raise RefusedError(-10, text)
        item = self._item(merged["ItemCode"], "RDR1", number, day) if merged.get("ItemCode") else None
        if item is not None:
            merged["WarehouseCode"] = self._warehouse(merged["WarehouseCode"], "RDR1", number)
        # B1 keeps the price and derives the total anew, unless the totals come along.
        basis = {"UnitPrice": line["UnitPrice"], "DiscountPercent": line["DiscountPercent"], **changed}
        if line.get("TaxCode") and "TaxCode" not in changed:
            basis["TaxCode"] = line["TaxCode"]
        elif line.get("VatGroup") and "VatGroup" not in changed:
            basis["VatGroup"] = line["VatGroup"]
        money = {"UnitPrice", "Price", "DiscountPercent", "LineTotal", "TaxTotal", "VatGroup", "TaxCode", "Quantity"}
        if money & changed.keys():
            if (
                "Quantity" not in changed
                and not {"UnitPrice", "Price", "DiscountPercent", "LineTotal"} & changed.keys()
            ):
                basis["LineTotal"] = line["RowTotalFC"] if rate != 1 else line["LineTotal"]
            self._amounts(kind, document, merged, basis, day, rate, discount)
        merged["RemainingOpenQuantity"] = merged["Quantity"] - drawn
        merged["InventoryQuantity"] = merged["Quantity"]
        self._commit(line, -line["RemainingOpenQuantity"])
        for name, value in merged.items():
            if line.get(name, _MISSING) != value:
                self._set(line, name, value)
        self._commit(line, line["RemainingOpenQuantity"])

    def _patch_master(self, entity: str, key: Key, body: Mapping[str, Any]) -> None:
        type_name, key_name = _MASTERS[entity]
        row = self._found(entity, key)
        self._check(type_name, body)
        for name, value in body.items():
            if name == "BPAddresses":
                for address in value:
                    self._patch_address(row, address)
            elif name != key_name and name not in _READ_ONLY.get(type_name, ()):
                self._set(row, name, value)
        if type_name in ("Item", "BusinessPartner"):
            self._set(row, "UpdateDate", _stamp(self._today))
            self._set(row, "UpdateTime", self.clock().strftime("%H:%M:%S"))

    def _patch_address(self, partner: Json, sent: Mapping[str, Any]) -> None:
        # In place only with the full key BPCode + AddressName + AddressType + RowNum (live note, 2511).
        identity = ("AddressName", "AddressType")
        rows: list[Json] = partner.setdefault("BPAddresses", [])
        twin = next((row for row in rows if all(row.get(name) == sent.get(name) for name in identity)), None)
        if twin is None:
            self._append(rows, {**sent, "BPCode": partner["CardCode"], "RowNum": len(rows)})
        elif sent.get("BPCode") == partner["CardCode"] and sent.get("RowNum") == twin["RowNum"]:
            for name, value in sent.items():
                self._set(twin, name, value)
        else:
            raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")

    def _delete(self, entity: str, key: Key) -> None:
        row = self._found(entity, key)
        if entity == "Drafts" and row["DocumentStatus"] == "bost_Open":
            self._remove(self._documents["Drafts"], key)
            for name in row:
                self._refile("Drafts", row, name, None)
        elif entity in self._tables:
            self._remove(self._tables[entity], key)
        else:
            raise RefusedError(-5006, "The requested action is not supported for this object.")

    # ---- rows that are no documents -----------------------------------------------------------------------------

    def _create_row(self, table: str, body: Mapping[str, Any]) -> str:
        self._check(table, body)
        code = body.get("Code")
        if not isinstance(code, str) or not code:
            raise RefusedError(-5002, f"Code is missing  [@{table[2:]}.Code]")
        rows = self._tables[table]
        if code in rows:
            raise RefusedError(-2035, f"This entry already exists in the following tables '@{table[2:]}' (ODBC -2035)")
        row = {"Code": code, "Name": body.get("Name", code), **self._defaults.get(table, {}), **body}
        for key in self._masters["UserKeysMD"].values():
            if key["TableName"] == f"@{table[2:]}" and key["Unique"] == "tYES":
                columns = [f"U_{member['ColumnAlias'].removeprefix('U_')}" for member in key["UserKeysMD_Elements"]]
                if any(all(old.get(name) == row.get(name) for name in columns) for old in rows.values()):
                    text = f"This entry already exists in the following tables '@{table[2:]}' (ODBC -2035)"
                    raise RefusedError(-2035, text)
        self._set(rows, code, row)
        self._touch(table, code)
        return code

    def _create_master(self, entity: str, body: Mapping[str, Any]) -> Key:
        type_name, key_name = _MASTERS[entity]
        self._check(type_name, body)
        row = {**_DEFAULTS[entity], **{k: v for k, v in body.items() if k not in _READ_ONLY.get(type_name, ())}}
        key: Key
        if entity == "UserFieldsMD":
            key = self._create_field(row)
        elif entity == "UserKeysMD":
            table = str(row.get("TableName"))
            row["KeyIndex"] = sum(1 for known in self._masters[entity].values() if known["TableName"] == table)
            key = (table, row["KeyIndex"])
        else:
            code = row.get(key_name)
            if not isinstance(code, str | int) or code == "":
                raise RefusedError(-5002, f"Code is missing  [{entity}.{key_name}]")
            key = code
            if key in self._masters[entity]:
                if entity == "Items":
                    raise RefusedError(-10, f"Item code '{key}' already exists")
                if entity == "BusinessPartners":
                    raise RefusedError(
                        -10, f"1320000140 - Business partner code '{key}' already assigned to a business partner"
                    )
                raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
            if entity == "UserTablesMD":
                self._create_table(str(key), row)
        for part in _PARTS.get(type_name, ()):
            row[part] = [dict(member) for member in row.get(part) or ()]
        if entity == "BusinessPartners":
            for index, address in enumerate(row["BPAddresses"]):
                address.update(BPCode=key, RowNum=index)
        if entity in ("Items", "BusinessPartners"):
            row["CreateDate"] = row["UpdateDate"] = _stamp(self._today)
            row["UpdateTime"] = self.clock().strftime("%H:%M:%S")
        self._set(self._masters[entity], key, row)
        self._touch(entity, key)
        return key

    def _create_table(self, name: str, row: Json) -> None:
        if not row.get("TableDescription"):
            raise RefusedError(-5002, "Enter a description  [OUTB.Descr]")
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise RefusedError(-5002, f"Invalid table name '{name}'  [OUTB.TableName]")
        self._set(self._tables, f"U_{name}", {})
        self._set(self._properties, f"U_{name}", frozenset({"Code", "Name"}))
        self._set(self._lengths, f"U_{name}", {"Code": 50, "Name": 100})

    def _create_field(self, row: Json) -> tuple[str, int]:
        table, name = row.get("TableName"), row.get("Name")
        if not isinstance(table, str) or not isinstance(name, str) or not name:
            raise RefusedError(-5002, "Enter table and field name  [CUFD.AliasID]")
        if not row.get("Description"):
            raise RefusedError(-5002, "Enter a description  [CUFD.Descr]")
        if row["Type"] not in ("db_Alpha", "db_Memo", "db_Numeric", "db_Date", "db_Float"):
            raise RefusedError(-1000, f"Enumeration value '{row['Type']}' of 'Type' is invalid")
        if table.startswith("@") and f"U_{table[1:]}" in self._tables:
            types: tuple[str, ...] = (f"U_{table[1:]}",)
        elif _DOCUMENT_TABLES.match(table):
            # The user fields of one marketing document are those of all, transfers and drafts included.
            types = ("Document", "StockTransfer")
        elif _LINE_TABLES.match(table):
            types = ("DocumentLine", "StockTransferLine")
        elif table in _FIELD_TYPES:
            types = _FIELD_TYPES[table]
        else:
            raise RefusedError(-2028, f"No matching records found (ODBC -2028)  [CUFD.TableID '{table}']")
        field_name = f"U_{name}"
        if field_name in self._properties[types[0]]:
            raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
        size = _integer(row.get("EditSize") or row.get("Size") or 10, "EditSize")
        if row["Type"] == "db_Alpha" and not 1 <= size <= 254:
            raise RefusedError(-5002, "Invalid field size  [CUFD.EditSize]")
        values = row.get("ValidValuesMD") or ()
        for type_name in types:
            self._set(self._properties, type_name, self._properties[type_name] | {field_name})
            if row["Type"] == "db_Alpha":
                self._set(self._lengths, type_name, {**self._lengths.get(type_name, {}), field_name: size})
            if values:
                allowed = {**self._valid_values.get(type_name, {}), field_name: frozenset(v["Value"] for v in values)}
                self._set(self._valid_values, type_name, allowed)
            default = {**self._defaults.get(type_name, {}), field_name: row.get("DefaultValue")}
            self._set(self._defaults, type_name, default)
        taken = [key[1] for key in self._masters["UserFieldsMD"] if isinstance(key, tuple) and key[0] == table]
        row["FieldID"] = len(taken)
        row["Size"] = row["EditSize"] = size
        return (table, len(taken))

    def _install_claims(self) -> None:
        self._create_master("UserTablesMD", {"TableName": "STREAMS_CLAIM", "TableDescription": "b1-streams claims"})
        for table, name, size in (
            ("@STREAMS_CLAIM", "KIND", 30), ("@STREAMS_CLAIM", "DIGEST", 64), ("@STREAMS_CLAIM", "VERSION", 254),
            ("@STREAMS_CLAIM", "STATE", 20), ("ORDR", "STREAMS_KEY", 50), ("ORDR", "STREAMS_ORDER", 50),
            ("RDR1", "STREAMS_LINE", 100),
        ):  # fmt: skip
            self._create_master(
                "UserFieldsMD", {"TableName": table, "Name": name, "Description": name, "EditSize": size}
            )
        self._journal.clear()

    # ---- reading ------------------------------------------------------------------------------------------------

    def read(self, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] = _NONE) -> Answer:
        """Answer a GET.

        Args:
            path: `Orders`, `Orders(5)`, `Items('A1')`, `Orders/$count`, with or without a query string.
            params: query options, decoded; added to those of the path.
            headers: `prefer: odata.maxpagesize=N` is obeyed (0: no paging).
        """
        self.counters["calls"] += 1
        self.counters["reads"] += 1
        bare, _, query = path.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True)) | dict(params or {})
        try:
            return self._read(bare, options, headers)
        except odata.QueryError as error:
            return refusal(201, str(error))
        except RefusedError as error:
            return error.answer()

    def _read(self, path: str, options: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        entity, key, tail = _split(path)
        rows = self._rows(entity)
        if "$expand" in options or "$apply" in options:
            raise odata.QueryError("Query string error - option is not supported for this entity")
        known = functools.partial(self._known, entity)
        if key is not None:
            if tail is not None or key not in rows:
                raise RefusedError(-2028, "No matching records found (ODBC -2028)", 404)
            row = self._shown(entity, rows[key])
            etag = self._etag(entity, key)
            if options.get("$select"):
                # With $select the ETag in the body is wrong and the header is missing (live note, 2511).
                only = odata.page([row], {"$select": options["$select"]}, 0, known, count=False).rows[0]
                return Answer(200, {"@odata.etag": self._wrong_etag(), **only})
            return Answer(200, {"@odata.etag": etag, **row}, {"ETag": etag})
        selected = self._select(entity, rows, options, known)
        if tail == "$count":
            return Answer(200, len(selected), {"Content-Type": "text/plain"})
        if tail is not None:
            raise RefusedError(-1000, f"Unrecognized resource path '{path}'", 404)
        counted = options.get("$count") == "true" or options.get("$inlinecount") == "allpages"
        asked = re.search(r"odata\.maxpagesize=(\d+)", headers.get("prefer", ""))
        size = int(asked[1]) if asked else int(headers.get("b1s-pagesize", PAGE_SIZE))
        page = odata.page(selected, options, size, known, counted)
        trimmed = bool(options.get("$select"))
        value = [
            {"@odata.etag": self._wrong_etag() if trimmed else self._etag(entity, _key_of(entity, row)), **row}
            for row in page.rows
        ]
        body: Json = {"@odata.context": f"$metadata#{entity}"}
        if page.count is not None:
            body["@odata.count"] = page.count
        body["value"] = value
        if page.next_options is not None:
            body["@odata.nextLink"] = f"{entity}?{page.next_options}"
        applied = {"Preference-Applied": f"odata.maxpagesize={size}"} if asked else {}
        return Answer(200, body, applied)

    def _rows(self, entity: str) -> Mapping[Key, Json]:
        rows: Mapping[Any, Json] | None = (
            self._documents.get(entity) or self._tables.get(entity) or self._masters.get(entity)
        )
        if rows is None and entity not in self._documents and entity not in self._tables and entity not in _MASTERS:
            raise RefusedError(-1000, f"Unrecognized resource path '{entity}'", 404)
        return rows or {}

    def _select(
        self, entity: str, rows: Mapping[Key, Json], options: Mapping[str, str], known: Callable[[str], bool]
    ) -> list[Json]:
        text = options.get("$filter")
        if not text:
            return [self._shown(entity, row) for row in rows.values()]
        node = odata.parse_filter(text)
        for name in odata.names(node):
            if not known(name):
                raise odata.QueryError(f"Property '{name}' is invalid")
        keys = odata.candidates(node, functools.partial(self._find, entity))
        chosen = rows.values() if keys is None else [rows[key] for key in sorted(keys) if key in rows]
        return [self._shown(entity, row) for row in chosen if odata.matches(node, row)]

    def _find(self, entity: str, name: str, literal: Any) -> set[Any] | None:
        if entity in self._documents:
            if name == "DocEntry" and literal is not None:
                return {_integer(literal, name)}
            if name in _INDEXED or (name.startswith("U_") and literal is not None):
                return set(self._index.get((entity, name, str(literal)), ()))
        elif isinstance(literal, str) and name == ("Code" if entity in self._tables else _MASTERS[entity][1]):
            return {literal}
        return None

    def _known(self, entity: str, name: str) -> bool:
        if entity in self._tables:
            return name in self._properties[entity]
        type_name = (
            "Document" if entity == "Drafts" else _KINDS[entity].type_name if entity in _KINDS else _MASTERS[entity][0]
        )
        return name in self._properties[type_name]

    def _shown(self, entity: str, row: Json) -> Json:
        if entity in _KINDS or entity == "Drafts":
            # SAP's type of a transfer has no cancellation.
            hidden = ("Cancelled", "CancelStatus") if "StockTransferLines" in row else ()
            shown = {name: value for name, value in row.items() if name[0] != "_" and name not in hidden}
            for name in ("DocumentLines", "StockTransferLines", "DocumentAdditionalExpenses"):
                if name in shown:
                    shown[name] = [dict(member) for member in shown[name]]
            return shown
        if entity == "Items":
            return self._shown_master(entity, row["ItemCode"])
        return dict(row)

    def _shown_master(self, entity: str, key: Key) -> Json:
        row = self._masters[entity][key]
        if entity != "Items" or not isinstance(key, str):
            return dict(row)
        places = [
            {
                "WarehouseCode": warehouse,
                "InStock": self._stock.get((key, str(warehouse)), ZERO),
                "Committed": self._committed.get((key, str(warehouse)), ZERO),
                "Ordered": ZERO,
                "Locked": "tNO",
                "ItemCode": key,
            }
            for warehouse in self._masters["Warehouses"]
        ]
        return {
            **row,
            "QuantityOnStock": sum((place["InStock"] for place in places), ZERO),
            "QuantityOrderedByCustomers": sum((place["Committed"] for place in places), ZERO),
            "ItemWarehouseInfoCollection": places,
        }

    def _found(self, entity: str, key: Key) -> Json:
        row = self._rows(entity).get(key)
        if row is None:
            raise RefusedError(-2028, f"Entity with value('{key}') does not exist", 404)
        return row

    def on_hand(self, item: str, warehouse: str) -> Decimal:
        """What is in stock, in inventory units."""
        return self._stock.get((item, warehouse), ZERO)

    @property
    def sequence(self) -> int:
        """Documents committed so far: the `sequence` of the last one."""
        return self._numbers.get("sequence", 0)

    def documents(self, after: int, limit: int) -> list[Json]:
        """So many documents that were committed after the one with that `sequence`, in this order, as `ledger` has them."""
        later = [
            (document["_sequence"], kind, document)
            for kind in _KINDS.values()
            for document in self._documents[kind.entity].values()
            if document["_sequence"] > after
        ]
        return [
            _plain_document(kind, document) for _, kind, document in nsmallest(limit, later, key=lambda each: each[0])
        ]

    def ledger(self, *, with_documents: bool = True) -> Json:
        """The company's history for a checker, as JSON: every quantity and amount is decimal text."""
        documents = [
            _plain_document(kind, document)
            for kind in _KINDS.values()
            for _, document in sorted(self._documents[kind.entity].items())
            if with_documents
        ]
        drafts = [
            _plain_document(_BY_ENUM[draft["DocObjectCode"]], draft)
            for _, draft in sorted(self._documents["Drafts"].items())
        ]
        names = ("item", "warehouse", "quantity", "object", "entry", "line", "batch", "serial", "at")
        return {
            "company": self.name,
            "documents": documents,
            "drafts": drafts,
            "claims": [_plain(row) for _, row in sorted(self._tables.get(CLAIM_TABLE, {}).items())],
            "user_tables": {
                table: [_plain(row) for _, row in sorted(rows.items())]
                for table, rows in self._tables.items()
                if table != CLAIM_TABLE
            },
            "on_hand": [
                {"item": item, "warehouse": warehouse, "quantity": _plain(quantity)}
                for (item, warehouse), quantity in sorted(self._stock.items())
            ],
            "committed": [
                {"item": item, "warehouse": warehouse, "quantity": _plain(quantity)}
                for (item, warehouse), quantity in sorted(self._committed.items())
                if quantity
            ],
            "batches": [
                {"item": item, "warehouse": warehouse, "batch": batch, "quantity": _plain(quantity)}
                for (item, warehouse, batch), quantity in sorted(self._batches.items())
            ],
            "serials": [
                {"item": item, "serial": serial, "warehouse": warehouse}
                for (item, serial), warehouse in sorted(self._serials.items(), key=lambda entry: entry[0])
            ],
            "movements": [
                dict(zip(names, (_plain(value) for value in movement), strict=True)) for movement in self._movements
            ],
            "numbers": dict(sorted(self._numbers.items())),
            "locks": dict(sorted(self._locks.items())),
            "counters": dict(self.counters),
        }

    # ---- checks, index, journal ---------------------------------------------------------------------------------

    def _check(self, type_name: str, body: Mapping[str, Any]) -> None:
        """Refuse what the type does not have, what is too long, what is not in a list of valid values."""
        allowed = self._properties[type_name]
        if not body.keys() <= allowed:
            name = next(name for name in body if name not in allowed)
            raise RefusedError(-1000, f"Property '{name}' of '{type_name}' is invalid")
        lengths = self._lengths.get(type_name)
        if lengths:
            for name in lengths.keys() & body.keys():
                value = body[name]
                if value is not None and (not isinstance(value, str) or len(value) > lengths[name]):
                    what = "Value too long in" if isinstance(value, str) else "Text expected in"
                    raise RefusedError(-1003, f"{what} property '{name}' of '{type_name}'")
        valid = self._valid_values.get(type_name)
        if valid:
            for name in valid.keys() & body.keys():
                if body[name] not in valid[name]:
                    raise RefusedError(-1004, f"'{body[name]}' is not a valid value for field '{name}'")
        for part, part_type in _PARTS.get(type_name, {}).items():
            if part in body:
                members = body[part]
                if members is None:
                    continue
                for member in members if isinstance(members, list) else [members]:
                    if not isinstance(member, Mapping):
                        raise RefusedError(-1000, f"Invalid value of property '{part}' of '{type_name}'")
                    self._check(part_type, member)

    def _etag(self, entity: str, key: Key) -> str:
        version = str(self._versions.get((entity, key), 0)).encode()
        return f'W/"{hashlib.sha1(version, usedforsecurity=False).hexdigest().upper()}"'

    def _wrong_etag(self) -> str:
        return f'W/"{hashlib.sha1(b"", usedforsecurity=False).hexdigest().upper()}"'

    def _touch(self, entity: str, key: Key) -> None:
        self._set(self._versions, (entity, key), self._versions.get((entity, key), 0) + 1)

    def _file(self, entity: str, document: Json) -> None:
        """Put a document into the index of its reference fields."""
        for name, value in document.items():
            if value is not None and (name in _INDEXED or name.startswith("U_")):
                self._put(entity, name, str(value), document["DocEntry"])

    def _refile(self, entity: str, document: Json, name: str, value: object) -> None:
        if name in _INDEXED or name.startswith("U_"):
            slot = self._index.get((entity, name, str(document.get(name))))
            if slot is not None and document["DocEntry"] in slot:
                self._remove(slot, document["DocEntry"])
            if value is not None:
                self._put(entity, name, str(value), document["DocEntry"])

    def _put(self, entity: str, name: str, value: str, entry: int) -> None:
        slot = self._index.get((entity, name, value))
        if slot is None:
            slot = {}
            self._set(self._index, (entity, name, value), slot)
        self._set(slot, entry, None)

    def _set(self, mapping: Any, key: Any, value: Any) -> None:
        self._journal.append((mapping, key, mapping.get(key, _MISSING)))
        mapping[key] = value

    def _remove(self, mapping: Any, key: Any) -> None:
        self._journal.append((mapping, key, mapping[key]))
        del mapping[key]

    def _append(self, rows: list[Any], row: Any) -> None:
        self._journal.append((rows, _MISSING, None))
        rows.append(row)

    def _rollback(self, mark: int) -> None:
        journal = self._journal
        while len(journal) > mark:
            target, key, old = journal.pop()
            if key is _MISSING:
                target.pop()
            elif old is _MISSING:
                del target[key]
            else:
                target[key] = old


def lock_cause(name: str, owner: str) -> Literal["own", "people", "claim"]:
    """Why somebody waits: for our own other request, for a person, or for the key of a claim row."""
    if owner.startswith("people:"):
        return "people"
    return "claim" if name.startswith("U_") and "/" in name else "own"


def _active(item: Json, day: date) -> bool:
    """Valid and not frozen on a day; the windows narrow the flags."""
    stamp = _stamp(day)
    if item["Valid"] != "tYES" or not _within(stamp, item["ValidFrom"], item["ValidTo"]):
        return False
    return not (item["Frozen"] == "tYES" and _within(stamp, item["FrozenFrom"], item["FrozenTo"]))


def _within(stamp: str, start: str | None, end: str | None) -> bool:
    return (start is None or start[:10] <= stamp[:10]) and (end is None or stamp[:10] <= end[:10])


@functools.lru_cache(maxsize=8192)
def _split(path: str) -> tuple[str, Key | None, str | None]:
    """(entity set or function, key, action or `$count`) of a path relative to the service root.

    Raises:
        RefusedError: for a path that the Service Layer does not know.
    """
    bare = path.lstrip("/")
    for root in ("b1s/v1/", "b1s/v2/"):
        bare = bare.removeprefix(root)
    match = _PATH.match(unquote(bare))
    if match is None:
        raise RefusedError(-1000, f"Unrecognized resource path '{bare}'", 404)
    entity, key = match["set"], match["key"]
    return entity, None if key is None else _key(entity, key), match["tail"]


def _key(entity: str, text: str) -> Key:
    if "=" in text and not text.startswith("'"):
        parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
        values = [_key(entity, value) for value in parts.values()]
        if len(values) == 1:
            return values[0]
        return (str(values[0]), int(str(values[1])))
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if text.lstrip("-").isdigit():
        return int(text)
    raise RefusedError(-1000, f"Invalid key '{text}' of '{entity}'")


def _literal(entity: str, key: Key) -> str:
    if isinstance(key, tuple):
        second = "FieldID" if entity == "UserFieldsMD" else "KeyIndex"
        return f"TableName='{key[0]}',{second}={key[1]}"
    return str(key) if isinstance(key, int) else "'" + key.replace("'", "''") + "'"


def _key_of(entity: str, row: Mapping[str, Any]) -> Key:
    if entity in _KINDS or entity == "Drafts":
        return int(row["DocEntry"])
    if entity == "UserFieldsMD":
        return (row["TableName"], row["FieldID"])
    if entity == "UserKeysMD":
        return (row["TableName"], row["KeyIndex"])
    key: Key = row[_MASTERS[entity][1] if entity in _MASTERS else "Code"]
    return key


def _refer(path: str, made: Mapping[str, str]) -> str:
    bare = path.lstrip("/")
    for root in ("b1s/v1/", "b1s/v2/"):
        bare = bare.removeprefix(root)
    if not bare.startswith("$"):
        return path
    name, slash, rest = bare[1:].partition("/")
    if name not in made:
        raise RefusedError(-1000, f"Content-ID '${name}' is not defined")
    return made[name] + slash + rest


def _plain(value: Any) -> Any:
    """JSON without numbers that are not counts: decimals as text, without exponent or trailing zeros."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items() if name[:1] != "_"}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


def _plain_document(kind: _Kind, document: Json) -> Json:
    place = {"sequence": document.get("_sequence"), "committed_at": document.get("_committed_at")}
    return {"entity": kind.entity, "object": kind.number, **place, **_plain(document)}
