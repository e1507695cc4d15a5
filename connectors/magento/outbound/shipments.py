"""Shipments of the shop's orders with their tracks, each once.

A shipment of ours has a comment that names it, written by the same request that makes it; by that it is found again
after a lost answer, and left out by the source. One without, that somebody made with the same numbers and rows, is
taken for it too. A request whose end is unknown may still be at work in the shop: until `SETTLE_S` after it nothing is
repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connectors.base.clock import Clock
from connectors.base.errors import OutcomeUnknownError
from connectors.base.sending import ChannelRefusedError, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.magento.client import MagentoClient, ShopRefusedError
from connectors.magento.listing import texts_of_comments
from connectors.magento.reading import ListReader, id_or_none
from connectors.magento.settings import MagentoOutSettings, MagentoSettings

#: As long as a shop works at one request at most (PHP's and the proxies' limits are 30 to 60 s by default).
SETTLE_S = 60.0
_MAX_IN_DOUBT = 10_000
Units = dict[int, Decimal]  # by item_id of the order's row


@dataclass(frozen=True, slots=True)
class ShownShipment:
    """A shipment as the shop shows it; `tracks` are ids by number."""

    id: int
    units: Mapping[int, Decimal]
    tracks: Mapping[str, int]
    comments: Sequence[str]


@dataclass(frozen=True, slots=True)
class ShownOrders:
    """Orders and their shipments, by the order's id."""

    items: Mapping[int, Sequence[Mapping[str, Any]]]
    shipments: dict[int, list[ShownShipment]]


class ShipmentWriter:
    """Reports shipments to one shop.

    Args:
        settings: The connector's; `out` is there.
        client: Asks the shop.
        reader: Finds orders and shipments.
        clock: For how long a request may be at work.
    """

    def __init__(self, settings: MagentoSettings, client: MagentoClient, reader: ListReader, clock: Clock) -> None:
        self._settings, self._client, self._reader, self._clock = settings, client, reader, clock
        self._out = settings.out or MagentoOutSettings()
        self._doubted: dict[str, float] = {}  # K to when its last request may have begun

    async def read(self, effects: Sequence[ChannelEffect]) -> ShownOrders:
        """What the shop shows of the orders of some shipments; two searches for a hundred.

        Raises:
            RetriableError, FatalError: The shop cannot be read.
        """
        ids = sorted({order_id for each in effects if (order_id := _order_id(each)) is not None})
        orders = await self._reader.rows_with("orders", "entity_id", ids)
        shipments = await self._reader.rows_with("shipments", "order_id", ids)
        found: dict[int, list[ShownShipment]] = {order_id: [] for order_id in ids}
        for row in shipments:
            found.setdefault(_number(row.fields.get("order_id")), []).append(_shown(row.fields))
        items = {_number(row.fields.get("entity_id")): _listed(row.fields.get("items")) for row in orders}
        return ShownOrders(items, found)

    async def write(self, effect: ChannelEffect, shown: ShownOrders) -> Delivered:
        """Report one shipment, or what is not yet reported of it.

        Raises:
            ChannelRefusedError: It never can be as it is.
            RetriableError, OutcomeUnknownError, FatalError: As `Sink`.
        """
        order_id = _order_id(effect)
        if order_id is None or order_id not in shown.items:
            raise ChannelRefusedError(
                f"the shop has no order {effect.content['order_id']}; see it there, and discard this"
            )
        units = self._units(effect, shown.items[order_id])
        ours = self._ours(effect, units, shown.shipments[order_id])
        left = _left(units, ours)
        if any(left.values()) and (wait_s := self._doubt_s(effect)) > 0:
            error = OutcomeUnknownError("the shop may still be at work at an earlier request")
            return unknown(effect, error, retry_after_s=wait_s)
        made = [each.id for each in ours]
        self._doubt(effect)
        for source, rows in left.items():
            if rows:
                made.append(await self._ship(effect, order_id, source, rows))
        for each in ours:
            await self._correct(effect, order_id, each)
        self._doubted.pop(effect.k, None)
        return sent(effect, ",".join(map(str, made)))

    # ---- what was done

    def _ours(
        self, effect: ChannelEffect, units: Mapping[str | None, Units], shipments: Sequence[ShownShipment]
    ) -> list[ShownShipment]:
        mark = self._mark(effect)
        numbers = set(effect.content["tracking_numbers"])
        wanted = {item: quantity for rows in units.values() for item, quantity in rows.items()}

        def is_same(each: ShownShipment) -> bool:
            of_these = {item: quantity for item, quantity in each.units.items() if item in wanted}
            is_marked = any(self._settings.own_mark in text for text in each.comments)
            return not is_marked and set(each.tracks) == numbers and of_these == wanted

        marked = [each for each in shipments if mark in each.comments]
        return marked or [each for each in shipments if is_same(each)][:1]

    def _mark(self, effect: ChannelEffect) -> str:
        return f"{self._settings.own_mark}: shipment {effect.content['shipment_id']}"

    def _doubt(self, effect: ChannelEffect) -> None:
        self._doubted[effect.k] = self._clock.monotonic()
        while len(self._doubted) > _MAX_IN_DOUBT:
            self._doubted.pop(next(iter(self._doubted)))

    def _doubt_s(self, effect: ChannelEffect) -> float:
        """How long an earlier request may still be at work; where we have not seen it, it may have begun just now."""
        if not effect.doubtful:
            return 0.0
        now = self._clock.monotonic()
        return self._doubted.setdefault(effect.k, now) + SETTLE_S - now

    # ---- writing

    def _units(self, effect: ChannelEffect, items: Sequence[Mapping[str, Any]]) -> dict[str | None, Units]:
        """Units by the source they leave from and the order's row.

        A line keyed by people has no row's id, and is found by its sku.

        Raises:
            ChannelRefusedError: It is no row of the order.
        """
        by_id = {_number(item.get("item_id")): item for item in items}
        found: dict[str | None, Units] = {}
        bundles: dict[tuple[str | None, int], Units] = {}
        for line in effect.content["lines"]:
            source, quantity = line.get("location"), Decimal(str(line["quantity"]))
            item_id = id_or_none(line.get("line_id"))
            if item_id not in by_id:
                item_id = next((each for each, item in by_id.items() if item.get("sku") == line.get("sku")), None)
            if item_id is None or quantity <= 0:
                raise ChannelRefusedError(
                    f"{line.get('sku') or 'a line'} is on no row of the order; ship it in the shop by hand, and "
                    "discard this"
                )
            item = by_id[item_id]
            parent = by_id.get(_number(item.get("parent_item_id")))
            if parent is not None and parent.get("product_type") == "bundle" and self._out.bundles == "together":
                rows = bundles.setdefault((source, _number(parent["item_id"])), {})
            else:
                rows = found.setdefault(source, {})
            rows[item_id] = rows.get(item_id, Decimal(0)) + quantity
        for (source, parent_id), rows in bundles.items():
            found.setdefault(source, {})[parent_id] = _bundles_of(by_id, parent_id, rows)
        return found

    async def _ship(self, effect: ChannelEffect, order_id: int, source: str | None, rows: Units) -> int:
        body: dict[str, Any] = {
            "items": [{"order_item_id": item_id, "qty": float(quantity)} for item_id, quantity in rows.items()],
            "notify": self._out.notify_customer,
            "appendComment": False,  # it is for us, and not for the customer
            "comment": {"comment": self._mark(effect), "is_visible_on_front": 0},
            "tracks": [self._track(effect, number) for number in effect.content["tracking_numbers"]],
        }
        if source is not None:
            body["arguments"] = {"extension_attributes": {"source_code": source}}
        try:
            return _number(await self._client.write("POST", f"order/{order_id}/ship", body))
        except ShopRefusedError as error:
            raise ChannelRefusedError(
                f"the shop does not ship it: {error}; see what is left of the order there, then replay or discard this"
            ) from None

    async def _correct(self, effect: ChannelEffect, order_id: int, shipment: ShownShipment) -> None:
        """Give a shipment the numbers that it lacks, and take those away that we gave it before."""
        numbers = list(dict.fromkeys(effect.content["tracking_numbers"]))
        before = (effect.before or {}).get("tracking_numbers", ())
        for number in numbers:
            if number not in shipment.tracks:
                entity = {
                    **self._track(effect, number),
                    "order_id": order_id,
                    "parent_id": shipment.id,
                    "qty": float(sum(shipment.units.values(), Decimal(0))),
                    "weight": 0,
                    "description": "",
                }
                await self._client.write("POST", "shipment/track", {"entity": entity})
        for number, track_id in shipment.tracks.items():
            if number in before and number not in numbers and track_id:
                await self._client.write("DELETE", f"shipment/track/{track_id}")

    def _track(self, effect: ChannelEffect, number: str) -> dict[str, str]:
        carrier = str(effect.content.get("carrier") or "")
        return {
            "track_number": number,
            "title": self._out.carrier_titles.get(carrier, carrier) or "Carrier",
            "carrier_code": self._out.carrier_codes.get(carrier, "custom"),
        }


def _bundles_of(items: Mapping[int, Mapping[str, Any]], parent_id: int, parts: Units) -> Decimal:
    """How many bundles the units of their parts are.

    Raises:
        ChannelRefusedError: They are no whole number of them.
    """
    ordered = Decimal(str(items[parent_id]["qty_ordered"]))
    numbers = {
        parts.get(item_id, Decimal(0)) * ordered / Decimal(str(item["qty_ordered"]))
        for item_id, item in items.items()
        if _number(item.get("parent_item_id")) == parent_id
    }
    number = numbers.pop()
    if numbers or number != int(number):
        raise ChannelRefusedError(
            "parts of a bundle left alone, and the shop ships bundles whole; ship it there by hand, or set out.bundles"
        )
    return number


def _order_id(effect: ChannelEffect) -> int | None:
    return id_or_none(effect.content["order_id"])


def _number(value: object) -> int:
    return id_or_none(value) or 0


def _listed(value: object) -> Sequence[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _shown(fields: Mapping[str, Any]) -> ShownShipment:
    units: Units = {}
    for row in _listed(fields.get("items")):
        item_id = _number(row.get("order_item_id"))
        units[item_id] = units.get(item_id, Decimal(0)) + Decimal(str(row.get("qty", 0)))
    tracks = {str(row.get("track_number")): _number(row.get("entity_id")) for row in _listed(fields.get("tracks"))}
    return ShownShipment(_number(fields.get("entity_id")), units, tracks, texts_of_comments(fields))


def _left(units: Mapping[str | None, Mapping[int, Decimal]], ours: Sequence[ShownShipment]) -> dict[str | None, Units]:
    """What of a shipment is in none that the shop shows."""
    done: Units = {}
    for each in ours:
        for item_id, quantity in each.units.items():
            done[item_id] = done.get(item_id, Decimal(0)) + quantity
    left: dict[str | None, Units] = {}
    for source, rows in units.items():
        left[source] = {}
        for item_id, quantity in rows.items():
            taken = min(quantity, done.get(item_id, Decimal(0)))
            done[item_id] = done.get(item_id, Decimal(0)) - taken
            if quantity > taken:
                left[source][item_id] = quantity - taken
    return left
