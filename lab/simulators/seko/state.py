"""What the warehouse has and does: stock by facility, location type, sku and lot; orders; announcements; messages.

Fields of messages are those of SEKO's documentation and no others, so that what depends on more fails here too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lab.simulators.seko.loads import ProductCatalogue, Row

AVAILABLE: Final = "Available Stock"
TYPES: Final = frozenset({AVAILABLE, "Web Stock", "Quarantine", "Query", "QC", "Returns", "Cross Dock", "Put Away"})
ENTITIES: Final = {
    "dispatch": "Dispatch",
    "receipt": "GRN",
    "adjustment": "StockAdjustment",
    "movement": "StockStatusMovement",
    "summary": "StockOvernightSummary",
    "tracking": "TrackingDetails",
}
#: Columns of the nightly stock, and the location types that they count.
_COLUMNS: Final = {
    "QuantityInCrossDock": "Cross Dock",
    "QuantityInQuarantine": "Quarantine",
    "QuantityInReturns": "Returns",
    "QuantityInPutAway": "Put Away",
}


@dataclass(slots=True)
class HubMessage:
    """A message of the hub's.

    Attributes:
        service: A key of `ENTITIES`.
        sequence: Its number within the service, from 1.
        dc: Its facility.
        at: When it was made; aware UTC.
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
class SekoOrder:
    number: str
    reference: str
    record_id: str
    dc: str
    lines: dict[str, int]  # units by sku; SEKO refuses two lines of one
    numbers: dict[str, int]  # line numbers by sku
    status: str = "Confirmed"
    body: Row | None = None  # as it was loaded; None: within the building


class SekoWarehouse:
    """A client's facilities.

    Args:
        clock: Aware time; the hub's own is `skew_s` ahead of it.
        client: The tenant's short code.
        dcs: Its facilities.
        skew_s: Of the hub's clock.
    """

    def __init__(self, clock: Callable[[], datetime], client: str, dcs: Iterable[str], skew_s: float) -> None:
        self._clock, self.client, self.dcs, self.skew_s = clock, client, tuple(dcs), skew_s
        self.names_dc = False  # whether a dispatch names its facility; SEKO's field list has no DCCode there
        self.stock: dict[tuple[str, str, str, str], int] = {}
        self.allocated: dict[tuple[str, str], int] = {}
        self.orders: dict[str, SekoOrder] = {}
        self.products = ProductCatalogue()
        self.announced: dict[str, Row] = {}
        self.messages: list[HubMessage] = []
        self._sequences: dict[str, int] = {}
        self._ids = iter(range(1, 10**9))

    def now(self) -> datetime:
        """The hub's time, whole seconds, UTC."""
        return (self._clock() + timedelta(seconds=self.skew_s)).astimezone(UTC).replace(microsecond=0)

    def stamp(self) -> str:
        return stamp_of(self.now())

    # ---- what happens in the building

    def load_order(
        self,
        number: str,
        lines: Mapping[str, int],
        *,
        reference: str = "",
        dc: str = "",
        record_id: str = "",
        numbers: Mapping[str, int] | None = None,
    ) -> SekoOrder:
        """An order is loaded; every line needs free stock, or the whole order is refused.

        Raises:
            ValueError: As the hub would say it.
        """
        dc = dc or self.dcs[0]
        if number in self.orders:
            raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Sales Order already exists.")
        for sku, units in lines.items():
            if sku.casefold() not in self.products.records and not any(each[2] == sku for each in self.stock):
                raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Product {sku} does not exist.")
            if units > self.on_hand(dc, AVAILABLE, sku) - self.allocated.get((dc, sku), 0):
                raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Product {sku} has no free stock.")
        for sku, units in lines.items():
            self.allocated[dc, sku] = self.allocated.get((dc, sku), 0) + units
        at = dict(numbers or {sku: position for position, sku in enumerate(lines, start=1)})
        order = SekoOrder(number, reference or number, record_id or self._id("rec"), dc, dict(lines), at)
        return self.orders.setdefault(number, order)

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
    ) -> HubMessage:
        """The order leaves, whole or short, and is closed; a line with nothing in it is there too.

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
            "DispatchId": self._id("disp"),
            "DispatchNumber": f"D-{next(self._ids)}",
            "SalesOrderNumber": number,
            "SalesOrderReference": order.reference,
            "InterfaceRecordId": order.record_id,
            "DispatchDate": self.stamp(),
            **({"DCCode": order.dc} if self.names_dc else {}),
            "Courier": courier,
            "CourierService": service,
            "TrackingNumber": tracking,
            "Weight": 0.6,
            "WeightUOM": "KG",
            "ShipToAttention": "Mia Odum",
        }
        return self._emit("dispatch", order.dc, entity, rows)

    def receive(
        self, delivery: str, lines: Iterable[tuple[str, int, str]], *, dc: str = "", into: str = AVAILABLE
    ) -> HubMessage:
        """Goods come in, announced or not: sku, units and lot, one line for each."""
        return self._receipt(delivery, lines, dc or self.dcs[0], into, hb_ref=f"PO-{delivery}", rma=None)

    def take_back(self, number: str, lines: Iterable[tuple[str, int, str]], *, into: str = AVAILABLE) -> HubMessage:
        """A customer's goods come back, and the facility raises a return for them."""
        delivery = f"RET-{next(self._ids)}"
        order = self.orders[number]
        return self._receipt(delivery, lines, order.dc, into, hb_ref=number, rma=f"{number}.{delivery}")

    def _receipt(
        self, delivery: str, lines: Iterable[tuple[str, int, str]], dc: str, into: str, *, hb_ref: str, rma: str | None
    ) -> HubMessage:
        rows: list[Row] = []
        for position, (sku, units, lot) in enumerate(lines, start=1):
            self._add(dc, into, sku, units, lot)
            numbered = {"LineNumber": position, "ProductCode": sku, "GRNQuantity": units, "LotNo": lot}
            rows.append({**numbered, "ConfirmedTimestamp": self.stamp()})
        entity = {
            "DeliveryNumber": delivery,
            "HBRef": hb_ref,
            "RMA": rma,
            "InterfaceRecordId": self._id("rec"),
            "DCCode": dc,
        }
        return self._emit("receipt", dc, entity, rows)

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
    ) -> HubMessage:
        """Somebody corrects a count; `units` is signed, what SEKO sends is not."""
        dc = dc or self.dcs[0]
        self._add(dc, location_type, sku, units, lot)
        entity = {
            "InternalId": self._id("adj"),
            "StockAdjustmentType": "Increase" if units > 0 else "Decrease",
            "StockAdjustmentDate": self.stamp(),
            "DCCode": dc,
            "LocationType": location_type,
        }
        row = {
            "LineInternalId": self._id("line"),
            "LineNumber": 1,
            "ProductCode": sku,
            "EAN": None,
            "Quantity": abs(units),
            "ReasonCode": code,
            "ReasonDescription": description,
            "LotNumber": lot,
        }
        return self._emit("adjustment", dc, entity, [row])

    def move(self, sku: str, units: int, start: str, end: str, *, dc: str = "", lot: str = "") -> HubMessage:
        """Goods change their location type."""
        dc = dc or self.dcs[0]
        self._add(dc, start, sku, -units, lot)
        self._add(dc, end, sku, units, lot)
        # All fields of the wiki's page "Push Stock Status Movement", in its order; MovementID is there and always
        # empty.
        entity = {
            "DcCode": dc,
            "UtcDate": self.stamp(),
            "ToLocationType": end,
            "ToChannel": "",
            "Quantity": units,
            "ProductCode": sku,
            "FromLocationType": start,
            "FromChannel": "",
            "Ean": "",
            "MovementID": "",
        }
        if lot:
            entity["LotNumber"] = lot  # not in the list; clients whose goods have lots get it
        return self._emit("movement", dc, entity, [])

    def steal(self, sku: str, units: int, *, dc: str = "", location_type: str = AVAILABLE) -> None:
        """Stock changes without a message."""
        self._add(dc or self.dcs[0], location_type, sku, -units, "")

    def end_day(self, day: str, *, dc: str = "", lines: int = 100) -> list[HubMessage]:
        """The nightly stock: what there is now, as at the end of a day, in parts of at most 100 lines."""
        dc = dc or self.dcs[0]
        rows: list[Row] = []
        for sku in sorted({each[2] for each in self.stock}):
            taken = self.allocated.get((dc, sku), 0)
            row: Row = {
                "ProductCode": sku,
                "QuantityOnHand": max(0, self.on_hand(dc, AVAILABLE, sku) - taken),
                "QuantityInPick": 0,
                "QuantityInAllocated": taken,
                **{column: self.on_hand(dc, name, sku) for column, name in _COLUMNS.items()},
            }
            if any(value for name, value in row.items() if name != "ProductCode"):
                rows.append(row)
        parts = [rows[at : at + lines] for at in range(0, len(rows), lines)] or [[]]
        group = self._id("group")
        return [
            self._emit(
                "summary",
                dc,
                {
                    "AtEndOfDate": f"{day}T00:00:00Z",
                    "DCCode": dc,
                    "MessageGroupId": group,
                    "MessagePart": number,
                    "MessageTotal": len(parts),
                },
                part,
            )
            for number, part in enumerate(parts, start=1)
        ]

    def track(self, number: str, tracking: str) -> HubMessage:
        """A tracking number becomes known, before or after the dispatch."""
        order = self.orders[number]
        entity = {"SalesOrderNumber": number, "Courier": "DPD", "TrackingNumber": tracking}
        return self._emit("tracking", order.dc, entity, [])

    # ---- what a checker reads

    def on_hand(self, dc: str, location_type: str, sku: str) -> int:
        return sum(units for (a, b, c, _), units in self.stock.items() if (a, b, c) == (dc, location_type, sku))

    def waiting(self) -> list[HubMessage]:
        return [each for each in self.messages if not each.ended]

    # ---- inside

    def _add(self, dc: str, location_type: str, sku: str, units: int, lot: str) -> None:
        if dc not in self.dcs or location_type not in TYPES:
            raise ValueError(f"no {location_type} at {dc}")
        key = (dc, location_type, sku, lot)
        self.stock[key] = self.stock.get(key, 0) + units

    def _emit(self, service: str, dc: str, entity: Row, rows: list[Row]) -> HubMessage:
        sequence = self._sequences[service] = self._sequences.get(service, 0) + 1
        name = ENTITIES[service]
        head = {
            "IntegrationId": self.client,
            "SequenceNumber": sequence,
            "MessageGroupId": self._id("group"),
            "MessagePart": 1,
            "MessageTotal": 1,
        }
        row: Row = {name: {**head, **entity}}
        if rows:
            row["List"] = {f"{name}LineItem": rows}
        message = HubMessage(service, sequence, dc, self.now(), row)
        self.messages.append(message)
        return message

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids):08x}"


def stamp_of(moment: datetime) -> str:
    """A time as SEKO writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
