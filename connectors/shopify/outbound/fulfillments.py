"""Shipments of the shop's orders, as fulfilments with their tracking numbers; each once.

1. The order is read: its mark (`marks`), its fulfilments.
2. A shipment with units in no fulfilment is entered into the mark, compared with what was read. One that was entered
   within `SETTLE_S` waits: the mutation of whoever entered it may still be under way.
3. What no fulfilment has is taken from the order's open fulfilment orders, one mutation a location.
4. Fulfilments with other tracking numbers than the shipment get the right ones.
5. Its fulfilments are entered into the mark; only then is it reported. So no other shipment takes them for its own.

A crash anywhere leaves the mark, and the next try finds by it what was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.base.clock import Clock
from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sending import ChannelRefusedError, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.shopify.client import ShopifyClient
from connectors.shopify.errors import wait_s_of
from connectors.shopify.marks import MadeFulfillment, Reported, ShipmentMark, marks_of, reported, text_of
from connectors.shopify.orders import Orders
from connectors.shopify.outbound.documents import (
    CREATE_FULFILLMENT,
    SET_MARK,
    UPDATE_TRACKING,
    user_errors,
)
from connectors.shopify.pages import next_page
from connectors.shopify.queries import (
    FULFILLMENT_ORDER_LINES,
    FULFILLMENT_ORDERS,
    MARK_KEY,
    MARK_NAMESPACE,
    MARKED_ORDER,
)
from connectors.shopify.settings import ShopifyOutSettings, ShopifySettings

#: Longer than a mutation may be on its way (`timeout_s` and what lies between): 30 s by default, 300 s at most.
SETTLE_S = 60.0
ORDERS_AT_ONCE = 5
LINE_ROWS = 50
#: Of fulfilment orders that may be fulfilled.
_OPEN = frozenset({"OPEN", "IN_PROGRESS"})
#: As many numbers of a fulfilment as are read.
_NUMBERS_READ = 10


@dataclass(frozen=True, slots=True)
class FulfillableLine:
    """A line of a fulfilment order that may be fulfilled, by full ids but for the order line's."""

    order_id: str
    id: str
    location: str | None
    line_id: str
    sku: str | None
    remaining: int


@dataclass(frozen=True, slots=True)
class MarkedOrder:
    """An order as it was read; `digest` is the metafield's, None where there is none."""

    id: str
    marks: Mapping[str, ShipmentMark]
    digest: str | None
    fulfillments: Sequence[MadeFulfillment]


class FulfillmentWriter:
    """Reports shipments to one shop.

    Args:
        settings: The connector's; `out` is there.
        client: Asks the shop.
        clock: For how long a shipment may be under way.
    """

    def __init__(self, settings: ShopifySettings, client: ShopifyClient, clock: Clock) -> None:
        self._client, self._clock, self._orders = client, clock, Orders(client)
        self._out = settings.out or ShopifyOutSettings()
        self._settle = timedelta(seconds=max(SETTLE_S, 2 * settings.timeout_s))
        self._timeout = timedelta(seconds=settings.timeout_s)

    async def write(self, effect: ChannelEffect) -> Delivered:
        """Report one shipment, or what is not yet reported of it.

        Raises:
            ChannelRefusedError: It never can be as it is.
            RetriableError, OutcomeUnknownError, FatalError: As `Sink`.
        """
        shipment_id = str(effect.content["shipment_id"])
        numbers = tuple(map(str, effect.content["tracking_numbers"]))
        order = await self._read(str(effect.content["order_id"]))
        known = order.marks.get(shipment_id)
        open_lines: Sequence[FulfillableLine] | None = None
        if known is None:
            open_lines = await self._open_lines(order.id)
            mark = ShipmentMark(numbers, _lines_of(effect, order, open_lines), self._clock.now())
        else:
            mark = replace(known, tracking_numbers=tuple(dict.fromkeys((*known.tracking_numbers, *numbers))))
        its = reported({**order.marks, shipment_id: mark}, order.fulfillments)[shipment_id]
        made = [one.id for one in its.fulfillments]
        if its.left:
            if known is not None and (wait_s := self._wait_s(known)) > 0:
                error = OutcomeUnknownError("shopify: the shipment was about to be reported, and may still be")
                return unknown(effect, error, retry_after_s=wait_s)
            mark = replace(mark, at=self._clock.now())
            order = await self._enter(order, shipment_id, mark)
            until = mark.at + self._settle - self._timeout
            made += await self._create(effect, order, its, open_lines, until)
        for one in its.fulfillments:
            if not _shows(one, numbers):
                await self._correct(effect, one)
        done = replace(mark, made=tuple(made))
        if done != order.marks.get(shipment_id):
            try:
                await self._enter(order, shipment_id, done)
            except RetriableError as error:
                raise OutcomeUnknownError(str(error)) from None
        return sent(effect, ",".join(made))

    def _wait_s(self, mark: ShipmentMark) -> float:
        """How long whoever entered a shipment may still be at it; 0: no longer."""
        age = self._clock.now() - mark.at
        return (self._settle - age).total_seconds() if abs(age) < self._settle else 0.0

    # ---- reading

    async def _read(self, order_id: str) -> MarkedOrder:
        gid = f"gid://shopify/Order/{order_id.partition('-')[0]}"  # what an edit added is `<order>-<agreement>`
        found = (await self._client.query(MARKED_ORDER, {"id": gid})).data.get("order")
        if not isinstance(found, Mapping):
            raise ChannelRefusedError(f"the shop has no order {order_id}; see whether it was deleted, and discard this")
        parts = await self._orders.fulfillments([str(each["id"]) for each in found.get("fulfillments") or ()])
        metafield = found.get("metafield") or {}
        try:
            marks = marks_of(metafield.get("value"))
        except ValueError:
            raise ChannelRefusedError(
                f"the metafield {MARK_NAMESPACE}.{MARK_KEY} of order {order_id} is not as we write it; "
                "see which of its shipments the order's fulfilments are, delete it there, then replay"
            ) from None
        return MarkedOrder(gid, marks, metafield.get("compareDigest"), [_made(each) for each in parts])

    async def _open_lines(self, gid: str) -> list[FulfillableLine]:
        """What of the order may be fulfilled, in the shop's order."""
        path, found = ("order", "fulfillmentOrders"), list[FulfillableLine]()
        for one in await self._client.pages(FULFILLMENT_ORDERS, {"id": gid}, path, ORDERS_AT_ONCE) or ():
            if one["status"] not in _OPEN:
                continue
            rows = list(one["lineItems"]["nodes"])
            if one["lineItems"]["pageInfo"]["hasNextPage"]:
                after = next_page(one["lineItems"], None)
                path_of_lines = ("fulfillmentOrder", "lineItems")
                rows += (
                    await self._client.pages(
                        FULFILLMENT_ORDER_LINES, {"id": one["id"]}, path_of_lines, LINE_ROWS, after=after
                    )
                    or ()
                )
            location = (one.get("assignedLocation") or {}).get("location")
            found += [
                FulfillableLine(
                    one["id"],
                    row["id"],
                    _number(location["id"]) if location else None,
                    _number(row["lineItem"]["id"]),
                    row["lineItem"].get("sku"),
                    row["remainingQuantity"],
                )
                for row in rows
                if row["remainingQuantity"] > 0
            ]
        return found

    # ---- writing

    async def _enter(self, order: MarkedOrder, shipment_id: str, mark: ShipmentMark) -> MarkedOrder:
        """Write the mark, unless somebody else has meanwhile; the order with it."""
        marks = {**order.marks, shipment_id: mark}
        row = {
            "ownerId": order.id,
            "namespace": MARK_NAMESPACE,
            "key": MARK_KEY,
            "type": "json",
            "value": text_of(marks),
            "compareDigest": order.digest,
        }
        try:
            payload = await self._client.mutate(SET_MARK, {"metafields": [row]})
        except OutcomeUnknownError as error:
            # Nothing is fulfilled by it; the next try reads what there is.
            raise RetriableError(str(error), retry_after_s=wait_s_of(error)) from None
        errors = user_errors(payload)
        if any(each.code == "STALE_OBJECT" for each in errors):
            raise RetriableError("shopify: the order's mark was changed by somebody else; it is read again")
        if errors:
            raise ChannelRefusedError(f"the order cannot be marked ({errors[0]}); see the app's scope write_orders")
        return replace(order, marks=marks, digest=str(payload["metafields"][0]["compareDigest"]))

    async def _create(
        self,
        effect: ChannelEffect,
        order: MarkedOrder,
        its: Reported,
        open_lines: Sequence[FulfillableLine] | None,
        until: datetime,
    ) -> list[str]:
        """Fulfil what is left of a shipment, but not after `until`: then another may; ids of the fulfilments."""
        if open_lines is None:
            open_lines = await self._open_lines(order.id)
        made: list[str] = []
        for rows in _taken(its.left, _wanted_locations(effect), open_lines):
            fulfillment = {
                "lineItemsByFulfillmentOrder": rows,
                "notifyCustomer": self._out.notify_customer,
                "trackingInfo": self._tracking(effect),
            }
            if self._clock.now() >= until:
                raise OutcomeUnknownError("shopify: it took too long since the shipment was entered; it is read again")
            payload = await self._client.mutate(CREATE_FULFILLMENT, {"fulfillment": fulfillment})
            if errors := user_errors(payload):
                raise ChannelRefusedError(
                    f"the shop does not fulfil it: {errors[0]}; see the order's fulfilment there, then replay"
                )
            made.append(_number((payload.get("fulfillment") or {}).get("id")))
        return made

    async def _correct(self, effect: ChannelEffect, one: MadeFulfillment) -> None:
        variables = {
            "id": f"gid://shopify/Fulfillment/{one.id}",
            "tracking": self._tracking(effect),
            "notify": self._out.notify_customer,
        }
        if errors := user_errors(await self._client.mutate(UPDATE_TRACKING, variables)):
            raise ChannelRefusedError(
                f"the shop does not take the tracking numbers: {errors[0]}; correct fulfilment {one.id} there by hand"
            )

    def _tracking(self, effect: ChannelEffect) -> dict[str, Any]:
        numbers, carrier = effect.content["tracking_numbers"], effect.content.get("carrier")
        company = self._out.carriers.get(str(carrier), str(carrier)) if carrier else None
        return {"numbers": list(numbers), **({"company": company} if company else {})}


def _number(gid: object) -> str:
    return str(gid).rpartition("/")[2]


def _made(row: Mapping[str, Any]) -> MadeFulfillment:
    lines: dict[str, int] = {}
    for each in row["fulfillmentLineItems"]:
        line_id = _number(each["lineItem"]["id"])
        if each["quantity"] > 0:
            lines[line_id] = lines.get(line_id, 0) + each["quantity"]
    numbers = tuple(each["number"] for each in row.get("trackingInfo") or () if each.get("number"))
    return MadeFulfillment(_number(row["id"]), str(row["status"]), numbers, lines)


def _shows(one: MadeFulfillment, numbers: Sequence[str]) -> bool:
    shown = set(one.tracking_numbers)
    return shown <= set(numbers) and len(shown) == min(len(set(numbers)), _NUMBERS_READ)


def _wanted_locations(effect: ChannelEffect) -> frozenset[str]:
    return frozenset(str(line["location"]) for line in effect.content["lines"] if line.get("location"))


def _lines_of(effect: ChannelEffect, order: MarkedOrder, open_lines: Sequence[FulfillableLine]) -> dict[str, int]:
    """Units of a shipment by the order line's id. A line keyed by people has none, and is found by its sku.

    Raises:
        ChannelRefusedError: It is no line of the order, or no whole units.
    """
    known = {line.line_id for line in open_lines} | {line for one in order.fulfillments for line in one.lines}
    lines: dict[str, int] = {}
    for line in effect.content["lines"]:
        quantity = Decimal(str(line["quantity"]))
        if quantity != int(quantity) or quantity <= 0:
            raise ChannelRefusedError(
                f"{quantity} of {line.get('sku')} cannot be fulfilled: Shopify has whole units", "format_refused"
            )
        line_id = str(line.get("line_id"))
        if line_id not in known:
            line_id = next((each.line_id for each in open_lines if each.sku and each.sku == line.get("sku")), "")
        if not line_id:
            raise ChannelRefusedError(
                f"{line.get('sku') or 'a line'} is on no line of the order that is still to be fulfilled; fulfil it "
                "in the shop by hand, and discard this"
            )
        lines[line_id] = lines.get(line_id, 0) + int(quantity)
    return lines


def _taken(
    left: Mapping[str, int], wanted: frozenset[str], open_lines: Sequence[FulfillableLine]
) -> list[list[dict[str, Any]]]:
    """What is left of a shipment, taken from fulfilment orders; one list a location, since a fulfilment has but one.

    Fulfilment orders at the shipment's own location come first, then the others as they stand.

    Raises:
        ChannelRefusedError: They have not so many units.
    """
    by_location: dict[str | None, dict[str, list[dict[str, Any]]]] = {}
    for line_id, units in left.items():
        rest = units
        mine = [each for each in open_lines if each.line_id == line_id]
        for each in sorted(mine, key=lambda each: each.location not in wanted):
            quantity = min(rest, each.remaining)
            if quantity > 0:
                rows = by_location.setdefault(each.location, {}).setdefault(each.order_id, [])
                rows.append({"id": each.id, "quantity": quantity})
                rest -= quantity
        if rest:
            raise ChannelRefusedError(
                f"{units} of line {line_id} were shipped and {units - rest} are still to be fulfilled in the shop; "
                "see whether they were fulfilled, cancelled or put on hold there, then replay or discard this"
            )
    return [
        [{"fulfillmentOrderId": order_id, "fulfillmentOrderLineItems": rows} for order_id, rows in orders.items()]
        for orders in by_location.values()
    ]
