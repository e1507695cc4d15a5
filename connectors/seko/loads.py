"""What B1 says as SEKO's bodies, by its formatting rules: what would be refused or cut there is refused here. Pure.

Lengths and rules are those of the wiki's pages "Load Web Sales Orders" and "Load Product Masters" (read 2026-11-21).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from connectors.base.sending import ChannelRefusedError
from connectors.base.sink import ChannelEffect
from connectors.seko.settings import SekoOutSettings, SekoSettings

#: Longest value by SEKO's field.
LIMITS: Mapping[str, int] = {
    "SalesOrderNumber": 50,
    "SalesOrderReference": 50,
    "ProductCode": 100,
    "ProductDescription": 200,
    "EAN": 50,
    "LotNo": 100,
    "CourierName": 100,
    "CourierService": 100,
    "Notes": 4000,
    **dict.fromkeys(("FirstName", "LastName", "City", "County"), 50),
    **dict.fromkeys(("Line1", "Line2", "Line3", "Line4"), 100),
    **dict.fromkeys(("PostcodeZip", "PhoneNumber"), 20),
    "CountryCode": 2,
}
#: Letters that Unicode does not take apart into an ASCII letter and its mark.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d"}
    | {"Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "–": "-", "’": "'", "‘": "'"}
)
#: The number stands in the path of a cancellation.
_NUMBER = re.compile(r"[^/#?%&+\s\"|]+")


@dataclass(frozen=True, slots=True)
class OrderLoad:
    """An order as `websubmit` takes it.

    Attributes:
        number: SalesOrderNumber, unique for ever.
        guid: Our id of it; the same whenever it is sent.
        body: Without the root of v1.
    """

    number: str
    guid: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class _Form:
    """Checks values one by one, and refuses with all that is wrong; no value of a person gets into the words."""

    out: SekoOutSettings
    problems: list[str] = field(default_factory=list)

    def text(self, name: str, ours: str, value: object) -> str:
        """A free text, as SEKO can take it: quotes have broken its parser, and a carrier may want ASCII."""
        found = "".join(" " if unicodedata.category(each) == "Cc" else each for each in str(value or ""))
        found = found.replace('"', "'").replace("|", " ")
        if self.out.transliterate:
            plain = unicodedata.normalize("NFKD", found.translate(_LETTERS))
            found = "".join(each for each in plain if not unicodedata.combining(each))
            if not found.isascii():
                self.problems.append(f"{name} ({ours}) has letters that cannot be written in ASCII")
        return self.short(name, ours, " ".join(found.split()))

    def code(self, name: str, ours: str, value: object) -> str:
        """A text that identifies something: as it is, or not at all."""
        found = str(value or "")
        if not found:
            self.problems.append(f"{name} ({ours}) is missing")
        elif found != found.strip() or any(each in '"|' or unicodedata.category(each) == "Cc" for each in found):
            self.problems.append(f"{name} ({ours}) has a quote mark, |, a control character or blanks around it")
        return self.short(name, ours, found)

    def sku(self, ours: str, value: object) -> str:
        found = self.code("ProductCode", ours, value)
        if "," in found and "~" in found:  # each separates codes in the hub's question for stock
            self.problems.append(f"ProductCode ({ours}) has a comma and a tilde")
        if self.out.sku_pattern and not re.fullmatch(self.out.sku_pattern, found):
            self.problems.append(f"ProductCode ({ours}) is not as out.sku_pattern has it")
        return found

    def short(self, name: str, ours: str, value: str) -> str:
        if len(value) > LIMITS[name]:
            self.problems.append(f"{name} ({ours}) has {len(value)} characters, and SEKO takes {LIMITS[name]}")
        return value

    def end(self, subject: str) -> None:
        if self.problems:
            more = f" and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
            raise ChannelRefusedError(
                f"{subject}: {'; '.join(self.problems[:5])}{more}; correct it in B1", "format_refused"
            )


def number_of(content: Mapping[str, Any], out: SekoOutSettings) -> str:
    """SEKO's number of an order: what is loaded cannot be edited, so each revision has one of its own."""
    revision = content.get("revision")
    number = out.order_number.format(
        **{name: content.get(name, "") for name in ("order_id", "order_number", "doc_entry")}
    )
    return number.lstrip("#") + (f"-R{revision}" if revision else "")


def order_load(effect: ChannelEffect, settings: SekoSettings, out: SekoOutSettings) -> OrderLoad:
    """A released order as a web order.

    Raises:
        ChannelRefusedError: It is not as SEKO takes it; the error names the fields.
    """
    content, form = effect.content, _Form(out)
    number = form.code("SalesOrderNumber", "order_id", number_of(content, out))
    if number and not _NUMBER.fullmatch(number):
        form.problems.append("SalesOrderNumber (order_id) has a character that an address gives a meaning: / # ? % & +")
    guid = str(uuid5(NAMESPACE_URL, effect.k))
    lines, notes = _lines(content["lines"], settings, form)
    order: dict[str, Any] = {
        "SalesOrderNumber": number,
        "SalesOrderReference": form.code("SalesOrderReference", "order_id", content["order_id"]),
        "SalesOrderDate": effect.as_of.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "OrderType": out.order_type,
        "OnHold": False,
        "GUID": guid,
    }
    carrier, service = _courier(content, out)
    if carrier:
        order["CourierName"] = form.text("CourierName", "carrier", carrier)
    if service:
        order["CourierService"] = form.text("CourierService", "service", service)
    if notes:
        order["Notes"] = form.text("Notes", "batches and serials", "; ".join(notes))
    body = {
        "WebSalesOrder": order,
        "SalesOrderHeader": {"DCCode": _facility(content["lines"], settings, form)},
        "DeliveryDetails": _address(content.get("ship_to") or {}, form),
        "List": {"SalesOrderLineItem": lines},
    }
    form.end(f"order {content['order_id']}")
    return OrderLoad(number, guid, body)


def product_body(effect: ChannelEffect, out: SekoOutSettings) -> Mapping[str, Any]:
    """An item as a full record: what an update leaves out SEKO clears.

    Raises:
        ChannelRefusedError: It is not as SEKO takes it; the error names the fields.
    """
    content, form = effect.content, _Form(out)
    product: dict[str, Any] = {
        "ProductCode": form.sku("sku", content["sku"]),
        "ProductDescription": form.text("ProductDescription", "name", content.get("name") or content["sku"]),
        "LotControlled": bool(content.get("batch_managed")),
        "SerialNumberControlled": bool(content.get("serial_managed")),
        **out.product,
    }
    if content.get("barcode"):
        product["EAN"] = form.code("EAN", "barcode", content["barcode"])
    form.end(f"item {content['item_code']}")
    supplier = {"SupplierCode": out.supplier, "UOM": 1}
    return {"ProductMaster": product, "List": {"SupplierMapping": [supplier]} if out.supplier else {}}


def _lines(
    rows: Sequence[Mapping[str, Any]], settings: SekoSettings, form: _Form
) -> tuple[list[dict[str, Any]], list[str]]:
    """SEKO's lines, and notes of what they have no field for: it takes one line of a product, and one lot on it."""
    groups: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for at, row in enumerate(rows, start=1):
        groups.setdefault(str(row.get("sku", "")).casefold(), []).append((at, row))
    lines: list[dict[str, Any]] = []
    notes: list[str] = []
    for group in groups.values():
        at, first = group[0]
        where = f"lines[{at - 1}]"
        sku = form.sku(f"{where}.sku", first.get("sku"))
        if len({row.get("sku") for _, row in group}) > 1:
            form.problems.append(f"ProductCode ({where}.sku) differs from another line's in upper and lower case only")
        quantity = sum((Decimal(row["quantity"]) for _, row in group), Decimal(0))
        if quantity != quantity.to_integral_value():
            form.problems.append(f"Quantity ({where}.quantity) has parts of a unit")
        number = at
        if settings.line_ids == "line_number":
            number = int(first["line_id"]) if re.fullmatch("[0-9]{1,9}", str(first["line_id"])) else 0
            if not number or len(group) > 1:
                form.problems.append(
                    f"LineNumber ({where}.line_id) is no number of one line of this product; write line_ids = 'none'"
                )
        line = {"LineNumber": number, "ProductCode": sku, "Quantity": int(quantity)}
        batches = [batch for _, row in group for batch in row.get("batches") or ()]
        serials = [str(serial) for _, row in group for serial in row.get("serials") or ()]
        if len(batches) == 1 and Decimal(batches[0]["quantity"]) == quantity:
            line["LotNo"] = form.code("LotNo", f"{where}.batches[0].number", batches[0]["number"])
        elif batches:
            parts = ", ".join(f"{each['number']} x {each['quantity']}" for each in batches)
            notes.append(f"lots of {sku}: {parts}")
        if serials:
            notes.append(f"serials of {sku}: {', '.join(serials)}")
        lines.append(line)
    return lines, notes


def _facility(rows: Sequence[Mapping[str, Any]], settings: SekoSettings, form: _Form) -> str:
    dcs = sorted({str(row.get("location") or "").partition("/")[0] for row in rows})
    if len(dcs) > 1:
        form.problems.append(
            f"DCCode (lines[].location): its lines leave from {', '.join(dcs)}, and SEKO takes one facility an order; "
            "give each facility a connector with an order_number of its own"
        )
    elif not dcs[0] or (settings.dc_codes and dcs[0] not in settings.dc_codes):
        form.problems.append("DCCode (lines[].location) is no facility of locations")
    return dcs[0]


def _address(ship_to: Mapping[str, Any], form: _Form) -> dict[str, str]:
    first, _, last = str(ship_to.get("name") or "").strip().rpartition(" ")
    given = {
        "FirstName": ("ship_to.name", first),
        "LastName": ("ship_to.name", last),
        "City": ("ship_to.city", ship_to.get("city")),
        "County": ("ship_to.region", ship_to.get("region")),
        "PostcodeZip": ("ship_to.postcode", ship_to.get("postcode")),
        "CountryCode": ("ship_to.country", ship_to.get("country")),
        "PhoneNumber": ("ship_to.phone", ship_to.get("phone")),
    }
    ours = [name for name in ("company", "street", "street2") if ship_to.get(name)]
    given |= {f"Line{at}": (f"ship_to.{name}", ship_to[name]) for at, name in enumerate(ours, start=1)}
    return {name: form.text(name, source, value) for name, (source, value) in given.items()}


def _courier(content: Mapping[str, Any], out: SekoOutSettings) -> tuple[str, str]:
    carrier, service = str(content.get("carrier") or ""), str(content.get("service") or "")
    named = {key.casefold(): value for key, value in out.couriers.items()}
    found = named.get(f"{carrier}/{service}".casefold(), named.get(carrier.casefold()))
    if found is None:
        return carrier, service
    name, _, kind = found.partition("/")
    return name, kind or service
