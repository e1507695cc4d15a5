"""SEKO's messages, taken out of their wrappings and checked field by field. Values stay out of error messages.

SEKO spells fields in several ways (`DCCode`, `DcCode`; `LotNo`, `LotNumber`), so case does not matter and each field
has a list of names. A bridge from XML leaves its traces: an empty value is `{}`, a list of one is its element, a code
of digits is a number. What stands in a message's header holds for its lines.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator

from connectors.base.errors import RecordError
from connectors.base.values import (
    VendorRecord,
    a_moment,
    a_quantity,
    a_text,
    an_identity,
    invalid,
    or_none,
    text_or_none,
    validate,
)

_REMEDY = "Name SEKO's field in fields, or fix it in iHub and send it again"
_ENTITIES = {
    "dispatch": "dispatch",
    "dispatchconfirmation": "dispatch",
    "grn": "receipt",
    "goodsreceivednotice": "receipt",
    "goodsreceivednote": "receipt",
    "receipt": "receipt",
    "stockadjustment": "adjustment",
    "stockstatusmovement": "movement",
    "stockmovement": "movement",
    "stockovernightsummary": "summary",
}
#: What is known and says nothing that B1 keeps: a dispatch's tracking comes with it.
_SILENT = frozenset({"trackingdetails", "deliveryarrive", "dispatchcarton", "stockovernightlocation"})
_AROUND = frozenset({"list", "callstatus", "guid"})
_SEQUENCE = ("sequencenumber", "sequenceno")
#: Fields that say how a message came, not what happened.
_ENVELOPE = frozenset({*_SEQUENCE, "integrationid", "messagegroupid", "messagepart", "messagetotal", "movementid"})


@dataclass(frozen=True, slots=True)
class SekoMessage:
    """One message of SEKO's.

    Attributes:
        service: One of `dispatch`, `receipt`, `adjustment`, `movement`, `summary`; `silent`: known, and nothing to us;
            "": unknown.
        header: Its own fields, by case-folded name; empty ones left out.
        lines: The same of its lines.
        found: All of it, as JSON has it, numbers as their text.
        asked_dc: The facility that was asked about; None: it was pushed, or there is only one to ask about.
        stand_in: Its identity where SEKO gives it none, see `translate.with_stand_ins`.
    """

    service: str
    header: Mapping[str, object] = field(compare=False)
    lines: tuple[Mapping[str, object], ...] = field(compare=False)
    found: Mapping[Any, Any]
    asked_dc: str | None = field(default=None, compare=False)
    stand_in: str | None = field(default=None, compare=False)

    @property
    def raw(self) -> bytes:
        """All of it, in a wrapping in which it can be sent again."""
        text = json.dumps({"Responses": [{"Response": self.found}]}, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")

    @property
    def sequence(self) -> int | None:
        """Its number among its service's messages; None: it has none that can be read."""
        return next(iter(self.sequences), None)

    @property
    def sequences(self) -> tuple[int, ...]:
        """The numbers that it stands for: its lines', where they have their own, else its header's."""
        own = [_a_sequence(line.get(name)) for line in self.lines for name in _SEQUENCE if name in line]
        found = own or [_a_sequence(self.header.get(name)) for name in _SEQUENCE if name in self.header]
        return tuple(sorted({number for number in found if number is not None}))

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def content(self) -> str:
        """A mark of what it says, whichever envelope it came in.

        Pushed and polled messages with the same one are equal.
        """
        rows = [
            sorted((name, value) for name, value in row.items() if name not in _ENVELOPE)
            for row in (self.header, *self.lines)
        ]
        return hashlib.sha256(repr((self.service, rows)).encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def has(self, names: Sequence[str]) -> bool:
        """Whether it has a field of one of the names: in its header, or in each of its lines."""
        rows = self.lines or ({},)
        return any(name in self.header for name in names) or all(any(name in row for name in names) for row in rows)

    def find(self, *names: str) -> str | None:
        """A text of the header, for people to find a dead letter by."""
        found = next((self.header[name] for name in names if name in self.header), None)
        return found if isinstance(found, str) and 0 < len(found) <= 100 and found.isprintable() else None


def messages(found: object) -> tuple[SekoMessage, ...]:
    """The messages of a push, or of an answer of the hub, however wrapped; the envelope of an answer is none.

    Raises:
        RecordError: There is nothing in it that could be a message.
    """
    if isinstance(found, Mapping):
        by_name = {str(name).casefold(): value for name, value in found.items()}
        for wrapping in ("responses", "response"):
            if wrapping in by_name:
                return messages(by_name[wrapping])
        if by_name.keys() <= {"callstatus", "guid"} and by_name:
            return ()
        if not by_name:
            return ()
        return (_message(found),)
    if isinstance(found, list):
        return tuple(each for inner in found for each in messages(inner))
    raise RecordError("the body has no messages; set the push service to JSON, with the root Responses")


def _message(found: Mapping[Any, Any]) -> SekoMessage:
    by_name = {str(name).casefold(): (str(name), value) for name, value in found.items()}
    service, header = "", {}
    for name, (_, value) in by_name.items():
        if name not in _AROUND and (name in _ENTITIES or name in _SILENT):
            service = _ENTITIES.get(name, "silent")
            header = _flat(value)
            break
    lines: list[Mapping[str, object]] = []
    listing = by_name.get("list", ("", None))[1]
    blocks = listing.items() if isinstance(listing, Mapping) else [("", listing)]
    for name, block in blocks:
        of = str(name).casefold().removesuffix("s").removesuffix("lineitem")
        service = service or _ENTITIES.get(of, "silent" if of in _SILENT else "")
        rows = block if isinstance(block, list) else [block] if isinstance(block, Mapping) and block else []
        lines += [_flat(row) for row in rows if isinstance(row, Mapping)]
    return SekoMessage(service, header, tuple(lines), found)


def _flat(value: object) -> dict[str, object]:
    """Fields by case-folded name, without those that are empty."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name).casefold(): each for name, each in value.items() if each is not None and each not in ({}, "", [])}


# ---- single values


def _a_day(value: object) -> date:
    text = a_text(value)[:10]
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid("must be a date, as 2026-03-02") from None


def _a_direction(value: object) -> int:
    word = a_text(value).casefold()
    if word not in ("increase", "decrease"):
        raise invalid("must be Increase or Decrease")
    return 1 if word == "increase" else -1


def _a_sequence(value: object) -> int | None:
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _a_flag(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().casefold() in ("true", "1", "yes"))


def _split(value: object) -> tuple[str, ...]:
    """Numbers in a list, or in a text with commas or semicolons between them; each once, in order."""
    items: Sequence[object] = value if isinstance(value, list) else [value]
    found = [part.strip() for each in items for part in a_text(each).replace(";", ",").split(",")]
    return tuple(dict.fromkeys(an_identity(part) for part in found if part))


def _spelt(*names: str, **more: Any) -> Any:
    """A field under each of SEKO's names for it; its own comes first, where `fields` has put another one."""
    return Field(validation_alias=AliasChoices(*names), **more)


Identity = Annotated[str, PlainValidator(an_identity)]
OptionalIdentity = Annotated[str | None, or_none(an_identity)]
OptionalText = Annotated[str | None, PlainValidator(text_or_none)]
Quantity = Annotated[Decimal, PlainValidator(a_quantity)]
OptionalQuantity = Annotated[Decimal | None, or_none(a_quantity)]
#: UTC, also where it has no mark: SEKO's dates are UTC (wiki, "Calling services", read 2026-11-21).
Moment = Annotated[datetime, PlainValidator(partial(a_moment, unmarked=UTC))]
Numbers = Annotated[tuple[str, ...], PlainValidator(_split)]


# ---- lines and messages


class SekoGoodsLine(VendorRecord):
    """So many of a sku, with the numbers they carry."""

    sku: Identity = _spelt("sku", "productcode")
    line_number: OptionalIdentity = _spelt("line_number", "linenumber", "lineno", "lineitemnumber", default=None)
    lot: OptionalIdentity = _spelt("lot", "lotno", "lotnumber", "batchno", "batchnumber", default=None)
    expires_on: Annotated[date | None, or_none(_a_day)] = _spelt(
        "expires_on", "bestbeforedate", "expirydate", "usebydate", default=None
    )
    serials: Numbers = _spelt("serials", "serialnumber", "serialno", "serialnumbers", default=())


class SekoDispatchLine(SekoGoodsLine):
    quantity: Quantity = _spelt("quantity", "dispatchquantity", "dispatchedquantity", "packedqty")
    ordered: OptionalQuantity = _spelt("ordered", "orderedquantity", "orderquantity", default=None)


class SekoDispatch(VendorRecord):
    integration_id: OptionalText = _spelt("integration_id", "integrationid", default=None)
    dispatch_id: OptionalIdentity = _spelt("dispatch_id", "dispatchid", default=None)
    dispatch_number: OptionalIdentity = _spelt("dispatch_number", "dispatchnumber", default=None)
    order_number: OptionalIdentity = _spelt("order_number", "salesordernumber", default=None)
    order_reference: OptionalIdentity = _spelt("order_reference", "salesorderreference", default=None)
    interface_record_id: OptionalIdentity = _spelt("interface_record_id", "interfacerecordid", default=None)
    occurred_at: Moment = _spelt("occurred_at", "dispatchdate")
    dc: OptionalIdentity = _spelt("dc", "dccode", default=None)
    carrier: OptionalText = _spelt("carrier", "courier", "couriername", "carriername", default=None)
    service: OptionalText = _spelt("service", "courierservice", "carrierservice", default=None)
    tracking_numbers: Numbers = _spelt("tracking_numbers", "trackingnumber", "primarytrackingnumber", default=())
    lines: tuple[SekoDispatchLine, ...] = Field(min_length=1)


class SekoReceiptLine(SekoGoodsLine):
    quantity: Quantity = _spelt("quantity", "grnquantity", "receivedquantity")
    occurred_at: Moment = _spelt("occurred_at", "confirmedtimestamp", "grndate", "receiptdate", "confirmeddate")


class SekoReceipt(VendorRecord):
    integration_id: OptionalText = _spelt("integration_id", "integrationid", default=None)
    delivery_number: Identity = _spelt("delivery_number", "deliverynumber", "asnnumber")
    reference: OptionalText = _spelt("reference", "hbref", "hbreference", default=None)
    rma: OptionalText = _spelt("rma", default=None)
    is_return: Annotated[bool, PlainValidator(_a_flag)] = _spelt("is_return", "isreturn", default=False)
    receipt_type: OptionalText = _spelt("receipt_type", "receipttype", default=None)
    dc: OptionalIdentity = _spelt("dc", "dccode", default=None)
    lines: tuple[SekoReceiptLine, ...] = Field(min_length=1)


class SekoAdjustmentLine(SekoGoodsLine):
    quantity: Quantity = _spelt("quantity")
    line_id: OptionalIdentity = _spelt("line_id", "lineinternalid", default=None)
    reason_code: OptionalText = _spelt("reason_code", "reasoncode", default=None)
    reason_description: OptionalText = _spelt("reason_description", "reasondescription", default=None)


class SekoAdjustment(VendorRecord):
    integration_id: OptionalText = _spelt("integration_id", "integrationid", default=None)
    sequence: Annotated[int | None, PlainValidator(_a_sequence)] = _spelt("sequence", *_SEQUENCE, default=None)
    internal_id: OptionalIdentity = _spelt("internal_id", "internalid", default=None)
    direction: Annotated[int, PlainValidator(_a_direction)] = _spelt("direction", "stockadjustmenttype")
    occurred_at: Moment = _spelt("occurred_at", "stockadjustmentdate")
    dc: OptionalIdentity = _spelt("dc", "dccode", default=None)
    location_type: Identity = _spelt("location_type", "locationtype")
    lines: tuple[SekoAdjustmentLine, ...] = Field(min_length=1)


class SekoMovementLine(SekoGoodsLine):
    """SEKO documents its fields in one row; those of a header stand in each of its lines.

    No version of the documentation has an id of a movement: `MovementID` is there and always empty (wiki, "Push Stock
    Status Movement", read 2026-11-30). `fields` may name one, where a client's hub was made to send it.
    """

    sequence: Annotated[int | None, PlainValidator(_a_sequence)] = _spelt("sequence", *_SEQUENCE, default=None)
    internal_id: OptionalIdentity = _spelt("internal_id", "internalid", default=None)
    line_id: OptionalIdentity = _spelt("line_id", "lineinternalid", default=None)
    from_type: Identity = _spelt("from_type", "fromlocationtype")
    to_type: Identity = _spelt("to_type", "tolocationtype")
    occurred_at: Moment = _spelt("occurred_at", "utcdate")
    dc: OptionalIdentity = _spelt("dc", "dccode", default=None)
    quantity: Quantity = _spelt("quantity")


class SekoMovement(VendorRecord):
    integration_id: OptionalText = _spelt("integration_id", "integrationid", default=None)
    lines: tuple[SekoMovementLine, ...] = Field(min_length=1)


class SekoSummaryLine(VendorRecord):
    sku: Identity = _spelt("sku", "productcode")
    dc: OptionalIdentity = _spelt("dc", "dccode", default=None)
    day: Annotated[date, PlainValidator(_a_day)] = _spelt("day", "atendofdate")
    quantities: Annotated[dict[str, Decimal], BeforeValidator(lambda value: value)]


class SekoSummary(VendorRecord):
    integration_id: OptionalText = _spelt("integration_id", "integrationid", default=None)
    group: OptionalText = _spelt("group", "messagegroupid", default=None)
    part: Annotated[int, PlainValidator(lambda value: int(a_quantity(value)))] = _spelt(
        "part", "messagepart", default=1
    )
    total: Annotated[int, PlainValidator(lambda value: int(a_quantity(value)))] = _spelt(
        "total", "messagetotal", default=1
    )
    lines: tuple[SekoSummaryLine, ...] = ()


Checked = SekoDispatch | SekoReceipt | SekoAdjustment | SekoMovement | SekoSummary

_MODELS: Mapping[
    str, type[SekoDispatch] | type[SekoReceipt] | type[SekoAdjustment] | type[SekoMovement] | type[SekoSummary]
] = {
    "dispatch": SekoDispatch,
    "receipt": SekoReceipt,
    "adjustment": SekoAdjustment,
    "movement": SekoMovement,
    "summary": SekoSummary,
}


#: What `fields` may name, by service.
FIELDS: Mapping[str, frozenset[str]] = {
    "dispatch": frozenset({*SekoDispatch.model_fields, *SekoDispatchLine.model_fields}),
    "receipt": frozenset({*SekoReceipt.model_fields, *SekoReceiptLine.model_fields}),
    "adjustment": frozenset({*SekoAdjustment.model_fields, *SekoAdjustmentLine.model_fields}),
    "movement": frozenset({*SekoMovement.model_fields, *SekoMovementLine.model_fields}),
    "summary": frozenset({*SekoSummary.model_fields, *SekoSummaryLine.model_fields}) - {"quantities"},
}


def check(message: SekoMessage, fields: Mapping[Any, Mapping[str, str]], columns: Sequence[str] = ()) -> Checked:
    """What a message of a known service says.

    Args:
        message: With one of the five services.
        fields: By service: our name of a field = SEKO's; it goes before those we know.
        columns: Of the nightly stock: what is read as a quantity.

    Raises:
        RecordError: With every problem, up to five.
    """
    renamed = {ours: theirs.casefold() for ours, theirs in fields.get(message.service, {}).items()}
    header = _renamed(message.header, renamed)
    if message.asked_dc is not None and "dccode" not in header:
        header["dccode"] = message.asked_dc
    # Of the header's fields those hold for a line that it may have of its own.
    rows = message.lines or ((message.header,) if message.service in ("movement", "summary") and message.header else ())
    lines: list[dict[str, Any]] = [{**header, **_renamed(row, renamed)} for row in rows]
    if message.service == "summary":
        for line in lines:
            line["quantities"] = _columns(line, columns)
        lines = [line for line in lines if line.get("productcode") or line.get("sku")]
    return validate(_MODELS[message.service], {**header, "lines": lines}, _REMEDY)


def _columns(line: Mapping[str, object], columns: Sequence[str]) -> dict[str, Decimal]:
    try:
        return {name: a_quantity(line[name.casefold()]) for name in columns if name.casefold() in line}
    except ValueError:
        raise RecordError(f"a quantity of the nightly stock must be a number from 0. {_REMEDY}") from None


def _renamed(row: Mapping[str, object], renamed: Mapping[str, str]) -> dict[str, object]:
    return {**row, **{ours: row[theirs] for ours, theirs in renamed.items() if theirs in row}}
