"""A company with a shop that sells from LON1 and a warehouse that owns it, both told what B1 says; time is virtual."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from connectors.base.cursors import CURSORS, Cursors, out_name, partition_of
from connectors.base.errors import RetriableError
from connectors.base.publisher import Publisher
from connectors.base.sink import ChannelEffect, Delivered
from schemas.codec import embedded_codec
from schemas.events import Address, FactEvent
from schemas.readings import (
    B1Reading,
    DeliveryLineRead,
    DeliveryPosted,
    EffectState,
    ItemChanged,
    ItemPrice,
    OrderLineRead,
    OrderStatusChanged,
    StockLevelRead,
)
from schemas.records import Outcome
from streams.chain.keys import event_key, order_key
from streams.config.load import Config, parse
from streams.delivery.deliverer import Deliverer
from streams.delivery.feed import CompanyFeed
from streams.delivery.names import ReceiverNames
from streams.delivery.states import STATES, EffectStates
from tests.streams.fakes import ENVIRON, ROOT, MemoryLog, example
from tests.streams.virtual import NOW, Clock

CODEC = embedded_codec()
ADDRESS = Address(name="A. Buyer", street="1 High Street", city="London", postcode="N1 1AA", country="GB")


def settings(**out: Any) -> Config:
    """The example with B1 as a source; `out` is the shop's, or the warehouse's with `connector="warehouse"`."""
    data = example()
    data["kafka"] |= {"partitions": 2, "company_partitions": 2}
    data["connectors"]["b1"] = {"kind": "sap_b1", "company": "acme", "price_lists": [1]}
    connector = out.pop("connector", "shop")
    data["connectors"][connector]["out"] = {"outbox": f"out/{connector}", **out}
    return parse(data, ROOT, ENVIRON)


def item(code: str = "TS001-R", **fields: Any) -> ItemChanged:
    usual: dict[str, Any] = {
        "name": "T-shirt",
        "unit": "pcs",
        "is_sold": True,
        "is_stocked": True,
        "is_active": True,
        "batch_managed": False,
        "serial_managed": False,
        "prices": (ItemPrice(price_list=1, amount=Decimal("12.500000"), currency="GBP"),),
    }
    return ItemChanged(**{"company": "acme", "reading": 1, "as_of": NOW, "item_code": code, **usual, **fields})


def stock(on_hand: int | str, committed: int | str = 0, code: str = "TS001-R", **fields: Any) -> StockLevelRead:
    usual = {"company": "acme", "reading": 1, "as_of": NOW, "warehouse": "LON1", "ordered": Decimal(0)}
    return StockLevelRead(
        **{**usual, "item_code": code, "on_hand": Decimal(on_hand), "committed": Decimal(committed), **fields}
    )


def order_line(quantity: int = 2, **fields: Any) -> OrderLineRead:
    usual = {"line_num": 0, "line_id": "1", "item_code": "TS001-R", "warehouse": "LON1", "is_closed": False}
    return OrderLineRead(**{**usual, "quantity": Decimal(quantity), "open": Decimal(quantity), **fields})


def order(doc_entry: int = 7, *lines: OrderLineRead, **fields: Any) -> OrderStatusChanged:
    """A released order of the shop's 1001; `k=None` is one that people keyed."""
    usual = {
        "company": "acme",
        "reading": 1,
        "as_of": NOW,
        "doc_num": 2000 + doc_entry,
        "k": order_key("acme", "shop", "1001"),
        "number": "1001",
        "status": "open",
        "is_released": True,
        "ship_to": ADDRESS,
        "shipping_type": 3,
        "changed_at": NOW,
    }
    return OrderStatusChanged(**{**usual, "doc_entry": doc_entry, "lines": lines or (order_line(),), **fields})


def delivery(doc_entry: int = 5, **fields: Any) -> DeliveryPosted:
    usual = {
        "company": "acme",
        "reading": 1,
        "as_of": NOW,
        "doc_num": 3000 + doc_entry,
        "k": None,
        "order_k": order_key("acme", "shop", "1001"),
        "is_cancelled": False,
        "tracking_numbers": ("DPD1",),
        "shipping_type": 3,
        "lines": (
            DeliveryLineRead(
                line_id="1", item_code="TS001-R", warehouse="LON1", quantity=Decimal(2), order_entry=7, order_line=0
            ),
        ),
        "created_at": NOW + timedelta(seconds=1),
    }
    return DeliveryPosted(**{**usual, "doc_entry": doc_entry, **fields})


def posted(event: Any, at: datetime = NOW, outcome: str = "created") -> Outcome:
    return Outcome(
        k=event_key(event),
        kind="order_placed",
        company="acme",
        source=event.source,
        event_ids=(event.event_id,),
        order_id=event.order_id,
        outcome=outcome,
        attempts=1,
        topic="order-placed",
        partition=0,
        offset=0,
        queued_at=at,
        at=at,
    )


class Channel:
    """A channel that remembers by K what it was told, and whether it was told twice without a look.

    Attributes:
        told: Every effect that it took, in order.
        figures: By sku, what it shows.
        answers: What it says instead of taking the next effects: an outcome, or an error to raise; `late`: it takes it
            and says that nobody knows.
    """

    def __init__(self) -> None:
        self.told: list[ChannelEffect] = []
        self.calls: list[Sequence[ChannelEffect]] = []
        self.answers: list[Any] = []
        self.doubles: list[str] = []
        self.called = asyncio.Event()
        self.figures: dict[str, str] = {}

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        self.calls.append(effects)
        self.called.set()
        await asyncio.sleep(0.01)
        results = []
        for effect in effects:
            answer = self.answers.pop(0) if self.answers else "sent"
            if isinstance(answer, BaseException):
                raise answer
            has_it = effect.k in {each.k for each in self.told}
            if answer in ("sent", "late"):
                if not has_it:
                    self.told.append(effect)
                elif not effect.doubtful:
                    self.doubles.append(effect.k)
            outcome = "unknown" if answer == "late" else answer
            results.append(Delivered(k=effect.k, outcome=outcome, error=None if outcome == "sent" else "no"))
        return results

    async def current(self, effects: Sequence[ChannelEffect]) -> dict[str, str | None]:
        return {each.k: self.figures.get(each.content["sku"]) for each in effects}

    async def close(self) -> None: ...

    @property
    def said(self) -> list[tuple[str, Any]]:
        """Type and what matters of each effect."""
        shown = {"stock_level": "sellable", "price_changed": "price", "order_withdrawn": "reason"}
        return [
            (each.type, each.content.get(shown.get(each.type, "order_id"), each.content.get("sku")))
            for each in self.told
        ]


class Delivery:
    """One connector's deliverer over a broker in memory."""

    def __init__(self, config: Config, connector: str = "shop") -> None:
        self.config, self.connector = config, connector
        self.log, self.clock, self.channel = MemoryLog.of(config), Clock(), Channel()
        self.publisher = Publisher(self.log, CODEC, self.clock, config.topic, config.company_partition)
        self.why: list[str | None] = []

    def make(self) -> Deliverer:
        own, company = self.config.connectors[self.connector], self.config.companies["acme"]
        assert own.out is not None
        partition, topic = partition_of(self.connector, self.config.kafka.partitions), self.config.topic
        name = out_name(self.connector)
        return Deliverer(
            self.connector,
            "acme",
            own.out,
            ReceiverNames(self.connector, own, company),
            feed=CompanyFeed("acme", self.config, self.log, CODEC, self.clock),
            sink=self.channel,
            states=EffectStates(self.connector, self.log, CODEC, topic=topic(STATES), partition=partition),
            cursors=Cursors(name, self.log, CODEC, self.clock, topic=topic(CURSORS), partition=partition),
            clock=self.clock,
            start_at=own.start_at,
            currency=company.currency,
            random=Random(1),
            on_state=self.why.append,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.make().run(stop))
        try:
            yield task
        finally:
            stop.set()
            await task

    async def say(self, *items: B1Reading | FactEvent | Outcome) -> None:
        """Publish, as the source, a connector and the poster do."""
        for each in items:
            if isinstance(each, Outcome):
                await self.log.send(self.config.topic("erp-outcomes"), 0, each.k.encode(), CODEC.encode(each))
                continue
            record = self.publisher.prepare(each)
            await self.publisher.publish([record])  # type: ignore[list-item]  # it fits

    async def states(self) -> dict[tuple[str, ...], EffectState]:
        partition = partition_of(self.connector, self.config.kafka.partitions)
        states = EffectStates(self.connector, self.log, CODEC, topic=self.config.topic(STATES), partition=partition)
        await states.load()
        return states.by_subject


def content(state: EffectState) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(state.content)
    return found


AWAY = RetriableError("the channel does not answer")
