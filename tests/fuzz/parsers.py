"""The parsers of every vendor, fed with answers that the vendor never gave."""

import asyncio
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx

from connectors.base.context import EventContext
from connectors.base.errors import FatalError, RetriableError
from connectors.base.http import HttpAnswer
from connectors.ims import json_lines
from connectors.ims import records as ims
from connectors.ims.errors import LineError
from connectors.ims.translate import translate as translate_line
from connectors.magento import listing as magento
from connectors.magento.cursor import ListProgress, MagentoCursor
from connectors.magento.reading import LISTS
from connectors.magento.settings import MagentoSettings
from connectors.magento.source import MagentoSource
from connectors.sap_b1.change_set import B1Answer, decode_body
from connectors.sap_b1.reading.cursor import ReadingCursor
from connectors.seko.settings import SekoSettings
from connectors.seko.source import SekoSource
from connectors.shopify.client import QueryAnswer
from connectors.shopify.client import json_of as parse_answer
from connectors.shopify.cursor import ShopifyCursor
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.source import ShopifySource
from connectors.veeqo.client import VeeqoPage
from connectors.veeqo.client import _rows as rows_of
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.source import VeeqoSource
from lab.simulators.magento.prices import BundlePart, CartItem
from lab.simulators.magento.state import MagentoShop
from lab.simulators.magento.wire import encoded as magento_encoded
from lab.simulators.sap_b1.wire.replies import encode
from lab.simulators.seko import app as seko_simulator
from lab.simulators.shopify import app as shopify_simulator
from lab.simulators.veeqo.state import Account as VeeqoAccount
from lab.simulators.veeqo.state import Line as VeeqoLine
from lab.simulators.veeqo.wire import dump
from schemas.events import EVENT_TYPES
from tests.connectors.sap_b1.reading.stage import B1
from tests.fuzz.harness import CLOCK, NOW, Outlet, Violation, check_message
from tests.fuzz.mutation import CANARY, Mutator

ENVIRON = {"A": "a-secret", "B": "b-secret"}
PERSON = f"Mia {CANARY}"
MAIL = f"{CANARY}@example.test"
_AGO = timedelta(hours=2)


@dataclass
class Texts:
    """A target whose input is one text, changed."""

    name: str
    mutator: Mutator
    outlet: Outlet

    def draw(self, random: Random) -> Any:
        return self.mutator.mutate(random)


# ---- ims: a line of a file


def _lines() -> list[bytes]:
    folder = Path(ims.__file__).parents[2] / "schemas/examples"
    found: list[bytes] = []
    for path in sorted(folder.rglob("*.json")):
        fields = json.loads(path.read_bytes())
        if path.parents[1].name not in EVENT_TYPES:
            continue
        found.append(json.dumps(_marked(fields)).encode())
    level = {
        "type": "stock_adjusted",
        "event_id": "l1",
        "sku": "A",
        "location": "MAIN",
        "level": "12",
        "sequence": 5,
        "reason": "count",
    }
    return [*found, json.dumps({**level, "occurred_at": "2026-11-21T09:30:00+00:00"}).encode()]


_PERSONAL = frozenset({"email", "phone", "street", "street2", "note", "reference"})


def _marked(value: Any, inside: str = "") -> Any:
    if isinstance(value, dict):
        return {
            name: f"{CANARY} {name}"
            if name in _PERSONAL or (name == "name" and inside in ("customer", "ship_to", "bill_to"))
            else _marked(each, name)
            for name, each in value.items()
        }
    return [_marked(each, inside) for each in value] if isinstance(value, list) else value


class Line(Texts):
    async def feed(self, given: bytes) -> None:
        try:
            event_type, fields = json_lines.parse(given)
            item = translate_line(ims.validate(event_type, fields, NOW), EventContext("wms", "acme", None, NOW))
        except LineError as error:
            check_message(str(error))
            return
        await self.outlet.take([item])


# ---- magento: a shop's lists


def _shop() -> MagentoShop:
    shop = MagentoShop(lambda: NOW - _AGO)
    parts = (
        BundlePart(sku="MUG", price=Decimal("7.00")),
        BundlePart(sku="TEA", quantity=Decimal(3), price=Decimal("1.50")),
    )
    carts = [
        (
            CartItem(sku="A", quantity=Decimal(2), price=Decimal(20), discount_percent=Decimal(10)),
            CartItem(sku="V", price=Decimal(5), kind="virtual"),
        ),
        (CartItem(sku="SHIRT", quantity=Decimal(3), price=Decimal("9.99"), kind="configurable"),),
        (
            CartItem(sku="BOX", quantity=Decimal(2), kind="bundle", parts=parts),
            CartItem(sku="SET", price=Decimal("9.99"), kind="bundle", parts=parts),
        ),
    ]
    for including in (False, True):
        shop.prices_include_tax = including
        for cart in carts:
            order = shop.place(
                *cart,
                state="processing",
                shipping=Decimal(3),
                customer=7 if including else None,
                customer_email=MAIL,
                customer_firstname=PERSON,
                customer_lastname=PERSON,
                customer_note=PERSON,
            )
            address = shop.order(order)["billing_address"]
            address |= {"firstname": PERSON, "lastname": PERSON, "street": [PERSON], "telephone": CANARY, "email": MAIL}
            shop.invoice(order)
            shop.ship(order)
            shop.refund(order, shipping=Decimal(3), adjustment_positive=Decimal(1))
    last = shop.place(*carts[0], state="processing")
    first = shop.item_ids(last, "A")[0]
    shop.invoice(last, {first: Decimal(1)})
    shop.cancel(last)
    return shop


def _of(rows: Sequence[bytes], ids: Sequence[str]) -> list[bytes]:
    """Rows that have one of the ids, or belong to an order that has."""
    marks = [f'"{name}":{id_},'.encode() for name in ("entity_id", "order_id") for id_ in ids]
    return [row for row in rows if any(mark in row for mark in marks)]


class Lists(Texts):
    """The row that changed, in the list of its kind; the rows that it names are as they were."""

    def __init__(self, name: str, outlet: Outlet) -> None:
        shop = _shop()
        self._listed = {kind: [magento_encoded(row) for row in rows.values()] for kind, rows in shop.lists.items()}
        self._kinds = [kind for kind, rows in self._listed.items() for _ in rows]
        super().__init__(name, Mutator([row for rows in self._listed.values() for row in rows]), outlet)
        table = {
            "kind": "magento",
            "company": "acme",
            "base_url": "https://shop.example",
            "auth": "bearer",
            "token": "env:A",
            "virtual_source": "online",
            "flows": ["orders", "shipments", "creditmemos"],
        }
        changes: Sequence[dict[str, Any]] = (
            {},
            {"currency": "base", "tax_codes": "applied", "adjustment_tax_rate": "20", "wait_for_payment": True},
        )
        settings = [MagentoSettings.model_validate(table | each, context={"environ": ENVIRON}) for each in changes]
        self._sources = [MagentoSource("wms", each, CLOCK) for each in settings]

    def draw(self, random: Random) -> Any:
        at = random.randrange(len(self._kinds))
        return random.randrange(2), self._kinds[at], self.mutator.mutate(random, self.mutator.examples[at])

    async def feed(self, given: tuple[int, str, bytes]) -> None:
        source, kind, row = self._sources[given[0]], given[1], given[2]
        listed = self._listed

        class Client:
            async def search(
                self, path: str, groups: Sequence[Sequence[tuple[str, str, str]]], _sort: Any, _size: int
            ) -> magento.Listing:
                wanted = {value for group in groups for _, how, value in group if how == "in"}
                if path == kind:
                    rows = [row]
                elif wanted:
                    rows = _of(listed[path], [each for one in wanted for each in one.split(",")[:9]])
                else:
                    rows = listed[path][:1]
                try:
                    return magento.parse_listing(
                        b'{"items":[' + b",".join(rows) + b'],"total_count":' + str(len(rows)).encode() + b"}"
                    )
                except ValueError:
                    raise RetriableError("no list") from None

        source._reader.client = Client()  # type: ignore[assignment]  # only what it asks of one
        cursor: str | None = MagentoCursor(kind, {each: ListProgress() for each in LISTS}).to_text()
        for _ in range(5):
            try:
                batch = await source.read(cursor)
            except (RetriableError, FatalError) as error:
                check_message(str(error))
                return
            await self.outlet.take(batch.items)
            cursor = batch.cursor
            if cursor is None or f'"turn":"{kind}"' not in cursor:
                return
        raise Violation("never done")


# ---- veeqo: an account's lists


def _account() -> VeeqoAccount:
    account = VeeqoAccount(lambda: NOW - _AGO, canary=CANARY)
    account.add_warehouse(11, "Main")
    account.add_warehouse(12, "Side")
    account.add_product("A", {11: 100, 12: 3})
    account.add_product("B", {11: "7.5"})
    line = VeeqoLine
    person = {
        "first_name": PERSON,
        "last_name": PERSON,
        "company": None,
        "address1": CANARY,
        "address2": None,
        "city": "Leeds",
        "state": "",
        "zip": "LS1",
        "country": "GB",
        "phone": CANARY,
        "email": MAIL,
    }
    customer = {"id": 91, "email": MAIL, "phone": CANARY, "billing_address": [person]}
    more = {"customer": customer, "deliver_to": person, "customer_note": {"text": PERSON}}
    account.place_order(
        line("A", 2, "10.00", discount="0.5"), line("B", 1, "3.333333"), delivery_cost=Decimal("3.50"), **more
    )
    two = account.place_order(
        line("A", 3, "16.666666666667"), additional_order_level_taxless_discount=Decimal("1.25"), **more
    )
    account.dispatch(two, 11, {"A": 1})
    account.dispatch(two, 12, {"A": 2}, tracking=None)
    account.cancel(account.place_order(line("B", 1, "5.00"), **more), PERSON)
    return account


class Account(Texts):
    def __init__(self, name: str, outlet: Outlet) -> None:
        account = _account()
        self._orders = [dump(row).encode() for row in account.orders.values()]
        self._products = [dump(row).encode() for row in account.products]
        super().__init__(name, Mutator([*self._orders, *self._products]), outlet)
        table = {"kind": "veeqo", "company": "acme", "api_key": "env:A"}
        changes: Sequence[dict[str, Any]] = ({}, {"relayed_channels": ["direct"], "unplaced_statuses": []})
        settings = [VeeqoSettings.model_validate(table | each, context={"environ": ENVIRON}) for each in changes]
        self._sources = [VeeqoSource("wms", each, CLOCK) for each in settings]

    def draw(self, random: Random) -> Any:
        at = random.randrange(len(self.mutator.examples))
        path = "/orders" if at < len(self._orders) else "/products"
        return random.randrange(2), path, self.mutator.mutate(random, self.mutator.examples[at])

    async def feed(self, given: tuple[int, str, bytes]) -> None:
        source, changed, row = self._sources[given[0]], given[1], given[2]
        rows = {"/orders": self._orders[:1], "/products": self._products[:1]} | {changed: [row, row]}

        class Client:
            async def page(self, path: str, params: Mapping[str, Any]) -> VeeqoPage:
                body = b"[" + b",".join(rows[path]) + b"]" if params["page"] == 1 else b"[]"
                return VeeqoPage(rows_of(path, body), 1_763_726_400_000, len(rows[path]), 100)

        source._client = Client()  # type: ignore[assignment]  # only what it asks of one
        cursor = None
        for _ in range(12):
            try:
                batch = await source.read(cursor)
            except (RetriableError, FatalError) as error:
                check_message(str(error))
                return
            await self.outlet.take(batch.items)
            if batch.idle:
                return
            cursor = batch.cursor
        raise Violation("never idle")


# ---- shopify: all answers about an order with what happened to it, and about counts


def _stores() -> list[shopify_simulator.Shop]:
    """A shop for each order, so that an exchange is short."""
    line = {"sku": "A", "quantity": 3, "price": "12.00", "discount": "1.50"}
    other = {"sku": "B", "quantity": 1, "price": "9.99"}
    address = {
        "name": PERSON,
        "company": None,
        "address1": CANARY,
        "address2": CANARY,
        "city": "Leeds",
        "zip": "LS1",
        "province": None,
        "provinceCode": None,
        "country": "United Kingdom",
        "countryCodeV2": "GB",
        "phone": CANARY,
    }
    who: dict[str, Any] = {"email": MAIL, "note": PERSON, "shippingAddress": address, "billingAddress": address}
    customer = {"id": "gid://shopify/Customer/77", "displayName": PERSON}
    shops = [shopify_simulator.Shop(clock=lambda: NOW - _AGO, bucket=1e9) for _ in range(4)]
    for shop in shops:
        shop.add_location("31", "Main")
    one, two, three, four = shops
    order = one.place_order(line, other, customer=customer, **who)
    one.fulfil(order, "31", {0: 2, 1: 1}, company="DPD", tracking="155")
    one.refund(
        order, [(0, 1, "RETURN", "31"), (0, 1, "NO_RESTOCK", None)], shipping="1.20", adjustment="0.50", note=PERSON
    )
    order = two.place_order(line, taxes_included=False, **who)
    two.add_line(order, other)
    two.remove(order, 0, 1)
    two.fulfil(order, None, {0: 1})
    two.finish_fulfilment(order, 0, "CANCELLED")
    three.cancel(three.place_order(line, {"sku": None, "quantity": 1, "price": "5.00"}, paid=False, **who))
    four.set_level("A", "31", 5)
    four.set_level("B", "31", 0)
    return shops


class Store(Texts):
    def __init__(self, name: str, outlet: Outlet) -> None:
        shops = _stores()
        table = {
            "kind": "shopify",
            "company": "acme",
            "shop": shops[0].domain,
            "access_token": "env:T",
            "stock_locations": ["31"],
        }
        changes: Sequence[dict[str, Any]] = (
            {},
            {
                "place_on": "paid",
                "tax_codes": "title",
                "refund_subtotals": "net",
                "skus": {"custom": "MISC"},
                "test_orders": True,
            },
        )
        context = {"environ": {"T": shops[0].token}}
        settings = [ShopifySettings.model_validate(table | each, context=context) for each in changes]
        self._sources = [ShopifySource("wms", each, CLOCK) for each in settings]
        exchanges = [asyncio.run(_exchange(shop, settings[0])) for shop in shops]
        super().__init__(name, Mutator([dump(each).encode() for each in exchanges]), outlet)

    def draw(self, random: Random) -> Any:
        return random.randrange(2), self.mutator.mutate(random)

    async def feed(self, given: tuple[int, bytes]) -> None:
        source, text = self._sources[given[0]], given[1]
        try:
            answers = parse_answer(text)
        except RetriableError as error:
            check_message(str(error))
            return
        asked = 0

        async def query(document: str, variables: Mapping[str, Any]) -> QueryAnswer:
            nonlocal asked
            asked += 1
            if asked > 500:
                raise Violation("asks for ever")
            found = answers.get(_asked(document, variables)) if isinstance(answers, dict) else None
            if not isinstance(found, dict):
                raise RetriableError("no answer")
            return QueryAnswer(found, NOW)

        source._client.query = query  # type: ignore[method-assign]  # what the network would have given
        cursor = json.dumps({**_BEFORE, "counted_since": {"31": (NOW - timedelta(days=1)).isoformat()}})
        for _ in range(2):  # the search's bound is not obeyed: the same comes for ever
            try:
                batch = await source.read(cursor)
            except (RetriableError, FatalError) as error:
                check_message(str(error))
                return
            await self.outlet.take(batch.items)
            if batch.idle:
                return
            cursor = batch.cursor or cursor


_BEFORE = json.loads(ShopifyCursor().to_text())


def _asked(document: str, variables: Mapping[str, Any]) -> str:
    """The name of an answer in an exchange: the operation, what it is about, and the page."""
    return " ".join(
        str(each)
        for each in (
            document.split("(", maxsplit=1)[0].rsplit(maxsplit=1)[-1],
            variables.get("id"),
            variables.get("after"),
        )
    )


async def _exchange(shop: shopify_simulator.Shop, settings: ShopifySettings) -> dict[str, Any]:
    """Every answer that a first reading of a shop gets."""
    source = ShopifySource("wms", settings, CLOCK, transport=httpx.ASGITransport(shop))
    answers: dict[str, Any] = {}
    real = source._client.query

    async def query(document: str, variables: Mapping[str, Any]) -> QueryAnswer:
        answer = await real(document, variables)
        answers[_asked(document, variables)] = answer.data
        return answer

    source._client.query = query  # type: ignore[method-assign]  # to hear it
    cursor = None
    while not (batch := await source.read(cursor)).idle:
        cursor = batch.cursor
    await source.close()
    return answers


# ---- seko: the hub's answers


def _hub() -> seko_simulator.Hub:
    hub = seko_simulator.Hub(clock=lambda: NOW - _AGO, key="b-secret")
    hub.stock = {("DCCL01", "Available Stock", sku, ""): 100 for sku in "AB"}
    hub.load_order("W-1", {"A": 2, "B": 3}, reference=PERSON)
    hub.dispatch("W-1", tracking="155")
    hub.adjust("A", -3)
    hub.move("A", 5, "Available Stock", "Quarantine")
    hub.receive("ASN-1", [("A", 5, "L1")])
    hub.end_day("2026-11-20")
    return hub


class Facility(Texts):
    """An answer as it came, and the same messages as iHub pushes them."""

    def __init__(self, name: str, outlet: Outlet) -> None:
        hub = _hub()
        table = {
            "kind": "seko",
            "company": "acme",
            "api_key": "env:B",
            "locations": {"DCCL01": "LON1"},
            "segregated_types": "QC",
            "held_types": "Quarantine",
            "summary_columns": {"QuantityOnHand": "Available Stock"},
            "short_dispatch": "cancel_rest",
        }
        settings = SekoSettings.model_validate(table, context={"environ": ENVIRON})
        self._source = SekoSource("wms", settings, CLOCK)
        answers = asyncio.run(_recorded(hub, settings))
        self._services = [service for service, _ in answers]
        super().__init__(
            name, Mutator([*(body for _, body in answers), *(hub.body([each]) for each in hub.messages)]), outlet
        )
        self._services += ["dispatch"] * (len(self.mutator.examples) - len(answers))

    def draw(self, random: Random) -> Any:
        at = random.randrange(len(self.mutator.examples))
        return self._services[at], self.mutator.mutate(random, self.mutator.examples[at])

    async def feed(self, given: tuple[str, bytes]) -> None:
        asked, body = given

        async def get(_url: str, *, what: str, params: Any) -> HttpAnswer:
            return HttpAnswer(200, httpx.Headers(), body if what == asked else b"[]")

        self._source._client._http.get = get  # type: ignore[method-assign,assignment]  # what the network would have given
        cursor = None
        for _ in range(4):
            try:
                batch = await self._source.read(cursor)
            except (RetriableError, FatalError) as error:
                check_message(str(error))
                return
            await self.outlet.take(batch.items)
            if batch.idle:
                return
            cursor = batch.cursor


async def _recorded(hub: seko_simulator.Hub, settings: SekoSettings) -> list[tuple[str, bytes]]:
    """The hub's answers to a first look, by service."""
    source, found = SekoSource("wms", settings, CLOCK, transport=httpx.ASGITransport(hub)), list[tuple[str, bytes]]()
    real = source._client._http.get

    async def get(url: str, *, what: str, params: Any) -> HttpAnswer:
        answer = await real(url, what=what, params=params)
        found.append((what, answer.body))
        return answer

    source._client._http.get = get  # type: ignore[method-assign,assignment]  # to record it
    await source.read(None)
    await source.close()
    return found


# ---- sap_b1: rows of what it is asked for


class Rows(Texts):
    def __init__(self, name: str, outlet: Outlet) -> None:
        b1 = B1()
        entry = b1.order(CardName=PERSON, Comments=MAIL)
        b1.deliver(entry, 1)
        self._rows = [
            (entity, encode(answer.body["value"][0]).encode())
            for entity in ("Orders", "DeliveryNotes", "Items")
            if (answer := b1.company.read(entity)).status == 200
        ]
        super().__init__(name, Mutator([row for _, row in self._rows]), outlet)
        self._source = b1.source()

    def draw(self, random: Random) -> Any:
        at = random.randrange(len(self._rows))
        return self._rows[at][0], self.mutator.mutate(random, self.mutator.examples[at])

    async def feed(self, given: tuple[str, bytes]) -> None:
        changed, row = given
        try:
            body = decode_body(b'{"value":[' + row + b"]}")
        except ValueError:
            return

        class Layer:
            async def read(self, paths: Sequence[str]) -> list[B1Answer]:
                return [B1Answer(200, body if path.startswith(f"{changed}?") else {"value": []}) for path in paths]

        self._source._b1 = Layer()  # type: ignore[assignment]  # only what it asks of one
        cursor = ReadingCursor(random_number(row)).to_text()
        for _ in range(12):
            try:
                batch = await self._source.read(cursor)
            except (RetriableError, FatalError) as error:
                check_message(str(error))
                return
            await self.outlet.take(batch.items)
            if batch.idle:
                return
            cursor = batch.cursor or ""
        raise Violation("never idle")


def random_number(row: bytes) -> int:
    """Of the row, so that each is another process's cursor: all is read anew."""
    return 1 + zlib.crc32(row)


def targets(outlet: Outlet) -> list[tuple[Any, float]]:
    """Every parser, with its share of the inputs."""
    return [
        (Line("ims", Mutator(_lines()), outlet), 3.0),
        (Lists("magento", outlet), 2.0),
        (Account("veeqo", outlet), 2.0),
        (Store("shopify", outlet), 2.0),
        (Facility("seko", outlet), 2.0),
        (Rows("sap_b1", outlet), 1.0),
    ]
