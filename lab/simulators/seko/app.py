"""SEKO's warehouse and hub, in memory: for tests, the demo and users without a test account.

Written from SEKO's public wiki (reference of 2026-11-21). `Hub` is the ledger: stock by facility, location type, sku and
lot; orders; announcements; and every message it ever had to say, with its number. It pushes as iHub does: about every 15
minutes, nothing when there is nothing, at most 500 messages, facilities never mixed, three tries, never again after a 400.
As an ASGI app it answers the calls of the hub: the key in the query, success in the body and not in the status, no pages.

What goes wrong is up to the caller: `rates` (by chance) and `faults` (the next requests). It is strict where a client's
mistake would else pass: an unknown parameter, a date of another form, an order line too many refuse the whole call.
"""

import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

Row: TypeAlias = dict[str, Any]
Post: TypeAlias = Callable[[Mapping[str, str], bytes], Awaitable[int]]

AVAILABLE: Final = "Available Stock"
TYPES: Final = frozenset(
    {AVAILABLE, "Web Stock", "Quarantine", "Query", "QC", "Returns", "Cross Dock", "Put Away"}
)  # fmt: skip
TRIES: Final = 3
_CANCEL_CODES: Final = frozenset({"001", "002", "003", "004", "005", "006"})
_ENTITIES: Final = {
    "dispatch": "Dispatch", "receipt": "GRN", "adjustment": "StockAdjustment", "movement": "StockStatusMovement",
    "summary": "StockOvernightSummary", "tracking": "TrackingDetails",
}  # fmt: skip
_POLLS: Final = {
    "dispatches/v1/status": "dispatch", "stock/v1/adjustment": "adjustment", "stock/v1/movement": "movement",
}  # fmt: skip
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next request: `http` (a status), `drop`, `html` (502), `refused` (200 and not success)."""

    kind: str
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Said:
    """A message of the hub's.

    Attributes:
        service: A key of `_ENTITIES`.
        sequence: Its number within the service, from 1.
        dc: Its facility.
        at: When it came to be; aware UTC.
        row: What stands within `Response`.
        tries: How often it was sent and not taken.
        due: When it is sent again.
        ended: `taken`, `given_up` (by the hub, after its tries or a 400), `lost` (by chance, never sent); "": waits.
    """

    service: str
    sequence: int
    dc: str
    at: datetime
    row: Row
    tries: int = 0
    due: datetime | None = None
    ended: str = ""


@dataclass(slots=True)
class Order:
    number: str
    reference: str
    record_id: str
    dc: str
    lines: dict[str, int]  # units by sku; SEKO refuses two lines of one
    numbers: dict[str, int]  # line numbers by sku
    status: str = "Confirmed"


class Hub:
    """A client's facilities, and the app as `__call__`.

    Args:
        clock: Aware time; the hub's own is `skew_s` ahead of it.
        key: Of its API.
        secret: What it sends with each push, in `header`.
        client: The tenant's short code.
        dcs: Its facilities.
        random: For rates.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        key: str = "demo-key",
        secret: str = "demo-push",  # noqa: S107 -- a simulator's
        header: str = "X-Api-Key",
        client: str = "EXMPL",
        dcs: Iterable[str] = ("DCCL01",),
        random: Random | None = None,
        skew_s: float = 0,
    ) -> None:
        self._clock, self.key, self.secret, self.header, self.client = clock, key, secret, header, client
        self.dcs = tuple(dcs)
        self._random = random or Random(1)  # noqa: S311 -- faults, not secrets
        self.skew_s = skew_s
        self.cadence_s = 900.0
        self.max_batch = 500
        self.lag_s = 0.0  # after which a poll shows what has happened
        self.numbers_in_polls = True  # whether polled rows have their SequenceNumber (not documented)
        self.names_dc = True  # whether a dispatch names its facility (not documented)
        self.artefacts = False  # of a bridge from XML: {} for empty, one row for a list of one, codes as numbers
        self.says_nothing_found = False  # whether an empty answer is a failure that says so
        self.rates: dict[str, float] = {}
        self.faults: deque[Fault] = deque()
        self.calls: list[str] = []
        self.stock: dict[tuple[str, str, str, str], int] = {}
        self.allocated: dict[tuple[str, str], int] = {}
        self.orders: dict[str, Order] = {}
        self.announced: dict[str, Row] = {}
        self.said: list[Said] = []
        self._sequences: dict[str, int] = {}
        self._ids = iter(range(1, 10**9))
        self._last_push: datetime | None = None

    def now(self) -> datetime:
        """The hub's time, whole seconds, UTC."""
        return (self._clock() + timedelta(seconds=self.skew_s)).astimezone(UTC).replace(microsecond=0)

    def stamp(self) -> str:
        return _stamp(self.now())

    # ---- what happens in the building

    def load_order(self, number: str, lines: Mapping[str, int], *, reference: str = "", dc: str = "") -> None:
        """An order is loaded; every line needs free stock, or the whole order is refused.

        Raises:
            ValueError: As the hub would say it.
        """
        dc = dc or self.dcs[0]
        if number in self.orders:
            raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Sales Order already exists.")
        for sku, units in lines.items():
            if not any(each[2] == sku for each in self.stock):
                raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Product {sku} does not exist.")
            if units > self.on_hand(dc, AVAILABLE, sku) - self.allocated.get((dc, sku), 0):
                raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Product {sku} has no free stock.")
        for sku, units in lines.items():
            self.allocated[dc, sku] = self.allocated.get((dc, sku), 0) + units
        numbers = {sku: position for position, sku in enumerate(lines, start=1)}
        self.orders[number] = Order(number, reference or number, self._id("rec"), dc, dict(lines), numbers)

    def cancel_order(self, number: str) -> None:
        """Raises ValueError as the hub would say it."""
        order = self.orders.get(number)
        if order is None:
            raise ValueError(
                f"Error Submitting Sales Order Cancellation: {number} - Error. Sales Order does not exist."
            )
        if order.status != "Confirmed":
            raise ValueError(f"Error Submitting Sales Order Cancellation: {number} - Error. It is {order.status}.")
        order.status = "Cancelled"
        for sku, units in order.lines.items():
            self.allocated[order.dc, sku] -= units

    def dispatch(
        self,
        number: str,
        picked: Mapping[str, int] | None = None,
        *,
        lots: Mapping[str, Mapping[str, int]] | None = None,
        serials: Mapping[str, list[str]] | None = None,
        courier: str = "DPD",
        service: str = "Next Day",
        tracking: str | None = None,
    ) -> Said:
        """The order leaves, whole or short, and is closed; a line with nothing in it is told too.

        Args:
            number: The order's.
            picked: Units by sku; None: all of it.
            lots: By sku, units of each lot; one line for each.
            serials: By sku, one per unit.
            courier: Its carrier.
            service: The carrier's.
            tracking: Its number.
        """
        order = self.orders[number]
        if order.status in {"Cancelled", "Dispatched"}:
            raise ValueError(f"{number} is {order.status}")
        picked = order.lines if picked is None else picked
        rows: list[Row] = []
        for sku, ordered in order.lines.items():
            units = picked.get(sku, 0)
            if units > ordered:
                raise ValueError(f"{number} has {ordered} of {sku}")
            parts = dict((lots or {}).get(sku, {})) if units else {}
            for lot, part in (parts or {"": units}).items():
                row = {
                    "LineNumber": order.numbers[sku],
                    "ProductCode": sku,
                    "EAN": None,
                    "Quantity": part,
                    "LotNo": lot,
                }
                if serials and units:
                    row["SerialNumber"] = ",".join(serials.get(sku, ())[:part]) or None
                    serials = {**serials, sku: serials.get(sku, [])[part:]}
                rows.append(row)
                self._add(order.dc, AVAILABLE, sku, -part, lot)
            self.allocated[order.dc, sku] -= ordered
        order.status = "Dispatched"
        entity = {
            "DispatchId": self._id("disp"), "DispatchNumber": f"D-{next(self._ids)}", "SalesOrderNumber": number,
            "SalesOrderReference": order.reference, "InterfaceRecordId": order.record_id,
            "DispatchDate": self.stamp(), "DCCode": order.dc if self.names_dc else None, "Courier": courier, "CourierService": service,
            "TrackingNumber": tracking, "Weight": 0.6, "WeightUOM": "KG", "ShipToAttention": "Mia Odum",
        }  # fmt: skip
        return self._say("dispatch", order.dc, entity, rows)

    def receive(
        self, delivery: str, lines: Iterable[tuple[str, int, str]], *, dc: str = "", into: str = AVAILABLE
    ) -> Said:
        """Goods come in, announced or not: sku, units and lot, one line for each."""
        return self._receipt(delivery, lines, dc or self.dcs[0], into, hb_ref=f"PO-{delivery}", rma=None)

    def take_back(self, number: str, lines: Iterable[tuple[str, int, str]], *, into: str = AVAILABLE) -> Said:
        """A customer's goods come back, and the facility raises a return for them."""
        delivery = f"RET-{next(self._ids)}"
        order = self.orders[number]
        return self._receipt(delivery, lines, order.dc, into, hb_ref=number, rma=f"{number}.{delivery}")

    def _receipt(
        self, delivery: str, lines: Iterable[tuple[str, int, str]], dc: str, into: str, *, hb_ref: str, rma: str | None
    ) -> Said:
        rows: list[Row] = []
        for position, (sku, units, lot) in enumerate(lines, start=1):
            self._add(dc, into, sku, units, lot)
            rows.append(
                {"LineNumber": position, "ProductCode": sku, "GRNQuantity": units, "LotNo": lot, "ConfirmedTimestamp": self.stamp()}
            )  # fmt: skip
        entity = {
            "DeliveryNumber": delivery, "HBRef": hb_ref, "RMA": rma, "InterfaceRecordId": self._id("rec"), "DCCode": dc,
        }  # fmt: skip
        return self._say("receipt", dc, entity, rows)

    def adjust(
        self,
        sku: str,
        units: int,
        *,
        dc: str = "",
        location_type: str = AVAILABLE,
        code: str = "CC",
        description: str = "Cycle count",
        lot: str = "",
    ) -> Said:
        """Somebody corrects a count; `units` is signed, what SEKO sends is not."""
        dc = dc or self.dcs[0]
        self._add(dc, location_type, sku, units, lot)
        entity = {
            "InternalId": self._id("adj"), "StockAdjustmentType": "Increase" if units > 0 else "Decrease",
            "StockAdjustmentDate": self.stamp(), "DCCode": dc, "LocationType": location_type,
        }  # fmt: skip
        row = {
            "LineInternalId": self._id("line"), "LineNumber": 1, "ProductCode": sku, "EAN": None, "Quantity": abs(units),
            "ReasonCode": code, "ReasonDescription": description, "LotNumber": lot,
        }  # fmt: skip
        return self._say("adjustment", dc, entity, [row])

    def move(self, sku: str, units: int, start: str, end: str, *, dc: str = "", lot: str = "") -> Said:
        """Goods change their location type."""
        dc = dc or self.dcs[0]
        self._add(dc, start, sku, -units, lot)
        self._add(dc, end, sku, units, lot)
        entity = {
            "InternalId": self._id("mov"), "FromLocationType": start, "ToLocationType": end, "FromChannel": None,
            "ToChannel": None, "DcCode": dc, "UtcDate": self.stamp(), "Quantity": units, "ProductCode": sku, "Ean": None,
            "LotNumber": lot,
        }  # fmt: skip
        return self._say("movement", dc, entity, [])

    def steal(self, sku: str, units: int, *, dc: str = "", location_type: str = AVAILABLE) -> None:
        """Stock changes, and nobody is told."""
        self._add(dc or self.dcs[0], location_type, sku, -units, "")

    def end_day(self, day: str, *, dc: str = "", lines: int = 100) -> list[Said]:
        """The nightly stock: what there is now, as at the end of a day, in parts of at most 100 lines."""
        dc = dc or self.dcs[0]
        columns = {
            "QuantityInCrossDock": "Cross Dock", "QuantityInQuarantine": "Quarantine", "QuantityInReturns": "Returns",
            "QuantityInPutAway": "Put Away",
        }  # fmt: skip
        rows: list[Row] = []
        for sku in sorted({each[2] for each in self.stock}):
            taken = self.allocated.get((dc, sku), 0)
            row: Row = {
                "ProductCode": sku, "QuantityOnHand": max(0, self.on_hand(dc, AVAILABLE, sku) - taken),
                "QuantityInPick": 0, "QuantityInAllocated": taken,
                **{column: self.on_hand(dc, name, sku) for column, name in columns.items()},
            }  # fmt: skip
            if any(value for name, value in row.items() if name != "ProductCode"):
                rows.append(row)
        parts = [rows[at : at + lines] for at in range(0, len(rows), lines)] or [[]]
        group = self._id("group")
        return [
            self._say(
                "summary", dc,
                {"AtEndOfDate": f"{day}T00:00:00Z", "DCCode": dc, "MessageGroupId": group, "MessagePart": number,
                 "MessageTotal": len(parts)},
                part,
            )
            for number, part in enumerate(parts, start=1)
        ]  # fmt: skip

    def track(self, number: str, tracking: str) -> Said:
        """A tracking number becomes known, before or after the dispatch."""
        order = self.orders[number]
        entity = {"SalesOrderNumber": number, "Courier": "DPD", "TrackingNumber": tracking}
        return self._say("tracking", order.dc, entity, [])

    # ---- what a checker reads

    def on_hand(self, dc: str, location_type: str, sku: str) -> int:
        return sum(
            units for (a, b, c, _), units in self.stock.items() if (a, b, c) == (dc, location_type, sku)
        )  # fmt: skip

    def waiting(self) -> list[Said]:
        return [each for each in self.said if not each.ended]

    # ---- pushes

    async def push(self, post: Post, *, at_once: bool = False) -> int:
        """One run of the scheduler, if it is time: what waits, and what is to be tried again; how many were sent.

        Args:
            post: Delivers headers and a body; returns the status, or raises ConnectionError.
            at_once: Whatever the time.
        """
        now = self.now()
        if not at_once and self._last_push is not None and now < self._last_push + timedelta(seconds=self.cadence_s):
            return 0
        self._last_push = now
        ready = [each for each in self.waiting() if each.due is None or each.due <= now or at_once]
        for each in ready:
            if each.tries == 0 and self._chance("lost"):
                each.ended = "lost"
        ready = sorted((each for each in ready if not each.ended), key=lambda each: (each.service, each.dc))
        batches = [
            group[at : at + self.max_batch]
            for _, found in groupby(ready, lambda each: (each.service, each.dc))
            for group in [list(found)]
            for at in range(0, len(group), self.max_batch)
        ]
        if self._chance("reorder"):
            self._random.shuffle(batches)
            for batch in batches:
                self._random.shuffle(batch)
        for batch in batches:
            await self._deliver(post, batch)
            if self._chance("twice"):
                await self._attempt(post, batch)
        return sum(map(len, batches))

    async def _deliver(self, post: Post, batch: list[Said]) -> None:
        status = await self._attempt(post, batch)
        answered = not self._chance("no_answer")
        for each in batch:
            if 200 <= status < 300 and answered:
                each.ended = "taken"
                continue
            each.tries += 1
            each.due = self.now() + timedelta(seconds=900)
            if each.tries >= TRIES or status == 400:
                each.ended = "given_up"

    async def _attempt(self, post: Post, batch: list[Said]) -> int:
        try:
            return await post(self.headers(), self.body(batch))
        except ConnectionError:
            return 0

    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", self.header: self.secret}

    def body(self, batch: Iterable[Said]) -> bytes:
        """A push of these messages."""
        return json.dumps({"Responses": [{"Response": self._dressed(each.row)} for each in batch]}).encode()

    def resend(self, service: str, sequence: int) -> None:
        """A person sends a message again in iHub's activity screen."""
        said = next(each for each in self.said if (each.service, each.sequence) == (service, sequence))
        said.ended, said.tries, said.due = "", 0, None

    # ---- inside

    def _add(self, dc: str, location_type: str, sku: str, units: int, lot: str) -> None:
        if dc not in self.dcs or location_type not in TYPES:
            raise ValueError(f"no {location_type} at {dc}")
        key = (dc, location_type, sku, lot)
        self.stock[key] = self.stock.get(key, 0) + units

    def _say(self, service: str, dc: str, entity: Row, rows: list[Row]) -> Said:
        sequence = self._sequences[service] = self._sequences.get(service, 0) + 1
        name = _ENTITIES[service]
        head = {
            "IntegrationId": self.client, "SequenceNumber": sequence, "MessageGroupId": self._id("group"),
            "MessagePart": 1, "MessageTotal": 1,
        }  # fmt: skip
        row: Row = {name: {**head, **entity}}
        if rows:
            row["List"] = {f"{name}LineItem": rows}
        said = Said(service, sequence, dc, self.now(), row)
        self.said.append(said)
        return said

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids):08x}"

    def _chance(self, kind: str) -> bool:
        rate = self.rates.get(kind, 0.0)
        return rate > 0 and self._random.random() < rate

    def _dressed(self, value: Any) -> Any:
        """As a bridge from XML would have it, if it is to."""
        if not self.artefacts:
            return value
        if isinstance(value, dict):
            return {name: self._dressed(each) for name, each in value.items()}
        if isinstance(value, list):
            rows = [self._dressed(each) for each in value]
            return rows[0] if len(rows) == 1 else rows
        if value is None or value == "":
            return {}
        if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,14}", value):
            return int(value)
        return value

    # ---- the hub's calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        status, answer, headers = self._answer(scope, await whole_body(receive))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = b"text/html" if content.startswith(b"<") else b"application/json"
        await send(
            {
                "type": "http.response.start", "status": status,
                "headers": [(b"content-type", kind), *((a.encode(), b.encode()) for a, b in headers.items())],
            }
        )  # fmt: skip
        await send({"type": "http.response.body", "body": content})

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, Any, Mapping[str, str]]:
        path, query = unquote(scope["path"]), scope["query_string"].decode()
        self.calls.append(path)
        fault = self.faults.popleft() if self.faults else self._by_chance()
        if fault is not None:
            match fault.kind:
                case "drop":
                    raise ConnectionDroppedError
                case "html":
                    return 502, b"<html>Bad gateway</html>", {}
                case "refused":
                    return 200, _failure("An error has occurred."), {}
                case _:
                    return fault.status, {"Message": "Later."}, fault.headers
        if len(query) > 2048:
            return 414, b"<html>URI too long</html>", {}
        params = dict(parse_qsl(query, keep_blank_values=True))
        key = params.pop("token", None) or params.pop("api_key", None)
        if key != self.key:
            return 401, {"Message": "Authorization has been denied for this request."}, {}
        found = re.fullmatch(r"(?:/hub)?/api/(.+)", path)
        try:
            answer = self._serve(scope["method"], found[1] if found else "", params, body)
        except ValueError as error:
            return 200, _failure(str(error)), {}
        if answer is None:
            return 404, b"<html>Not found</html>", {}
        return 200, answer, {}

    def _by_chance(self) -> Fault | None:
        for kind, fault in (
            ("throttle", Fault("http", 429, {"Retry-After": "2"})),
            ("down", Fault("http", 503)),
            ("html", Fault("html")),
            ("drop", Fault("drop")),
            ("refused", Fault("refused")),
        ):
            if self._chance(kind):
                return fault
        return None

    def _serve(self, method: str, path: str, params: dict[str, str], body: bytes) -> Row | None:
        if method == "GET":
            for prefix, service in _POLLS.items():
                found = re.fullmatch(rf"{prefix}/([^/]+)/([^/]+)\.json", path)
                if found:
                    return self._between(service, found[1], found[2], params)
            if path == "stock/v3/quantity":
                return self._quantity(params)
            if path.startswith("echo/v1"):
                return _success()
            return None
        found = re.fullmatch(r"salesorders/v3/([^/]+)/cancel", path)
        if method != "POST" or not (found or path in ("salesorders/v4/websubmit", "receipts/v3/submit")):
            return None
        if found:
            if params.get("reasonCode") not in _CANCEL_CODES:
                raise ValueError("The reasonCode field is required.")
            self.cancel_order(found[1])
            return _success()
        try:
            given = json.loads(body)
        except ValueError:
            raise ValueError("The JSON cannot be processed.") from None
        return self._submit(given) if path.startswith("salesorders") else self._announce(given)

    def _between(self, service: str, since: str, until: str, params: dict[str, str]) -> Row:
        status = params.pop("status", None)
        dc = params.pop("dc", None)
        if service == "dispatch" and status != "Dispatched":
            raise ValueError("The status field is required.")
        if params:
            raise ValueError("The request has fields that are not known.")
        if not _TIME.fullmatch(since) or not _TIME.fullmatch(until) or since > until:
            raise ValueError("The dates must be YYYY-MM-DDThh:mm:ssZ, the first before the second.")
        if dc is None and len(self.dcs) > 1:
            raise ValueError("The dc field is required.")
        if dc is not None and dc not in self.dcs:
            raise ValueError(f"DC {dc} does not exist.")
        shown = self.now() - timedelta(seconds=self.lag_s)
        rows = [
            self._polled(each)
            for each in self.said
            if each.service == service and (dc is None or each.dc == dc) and each.at <= shown
            and since <= _stamp(each.at) <= until
        ]  # fmt: skip
        if not rows and self.says_nothing_found:
            raise ValueError("No records found.")
        return {**_success(), "Responses": [{"Response": self._dressed(row)} for row in rows]}

    def _polled(self, said: Said) -> Row:
        if self.numbers_in_polls:
            return said.row
        name = _ENTITIES[said.service]
        return {**said.row, name: {key: each for key, each in said.row[name].items() if key != "SequenceNumber"}}

    def _quantity(self, params: dict[str, str]) -> Row:
        text, dc = params.pop("productCodes", ""), params.pop("dc", "")
        if params or not text:
            raise ValueError("The productCodes field is required.")
        if not dc and len(self.dcs) > 1:
            raise ValueError("The dc field is required.")
        dc = dc or self.dcs[0]
        codes = text.split("~") if "~" in text else text.split(",")
        rows = [
            {"ProductCode": sku, "DCCode": dc, "LocationType": AVAILABLE, "Quantity": free}
            for sku in codes
            if (free := self.on_hand(dc, AVAILABLE, sku) - self.allocated.get((dc, sku), 0)) > 0
        ]
        return {**_success(), "List": {"StockQuantityLineItem": rows}}

    def _submit(self, given: Any) -> Row:
        try:
            order, rows = given["WebSalesOrder"], given["List"]["SalesOrderLineItem"]
            number, dc = str(order["SalesOrderNumber"]), str(given["SalesOrderHeader"]["DCCode"])
            lines = [(str(row["ProductCode"]), row["Quantity"]) for row in rows]
        except (KeyError, TypeError):
            raise ValueError("The SalesOrderNumber field is required.; The DCCode field is required.") from None
        if len(number) > 50:
            raise ValueError("The field SalesOrderNumber must be a string with a maximum length of 50.")
        if len({sku.casefold() for sku, _ in lines}) < len(lines) or any(type(units) is not int for _, units in lines):
            raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Its lines are not valid.")
        self.load_order(number, dict(lines), reference=str(order.get("SalesOrderReference") or ""), dc=dc)
        return {**_success(), "GUID": self.orders[number].record_id}

    def _announce(self, given: Any) -> Row:
        try:
            number = str(given["Receipt"]["ASNNumber"])
            codes = [str(row["ProductCode"]) for row in given["List"]["ReceiptLineItem"]]
        except (KeyError, TypeError):
            raise ValueError("The ASNNumber field is required.") from None
        if number in self.announced:
            raise ValueError(f"Error Submitting Receipt: {number} - Error. Receipt already exists.")
        if len(set(codes)) < len(codes):
            raise ValueError(f"Error Submitting Receipt: {number} - Error. A product is on two lines.")
        self.announced[number] = given
        return {**_success(), "GUID": self._id("asn")}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _success() -> Row:
    return {"CallStatus": {"Success": True, "Code": 0, "Message": ""}, "GUID": None}


def _failure(message: str) -> Row:
    return {"CallStatus": {"Success": False, "Code": 100, "Message": message}}
