"""One item's whole story: what B1 says, what each channel may sell and is told, every term with its time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.base.clock import Clock
from connectors.base.cursors import partition_of
from schemas.codec import Codec
from schemas.readings import EffectState, ItemChanged
from streams.config.load import Config
from streams.delivery.feed import CompanyFeed
from streams.delivery.names import ReceiverNames
from streams.delivery.states import STATES, EffectStates
from streams.delivery.view import ZERO
from streams.delivery.wanted import StockTerms, Wants, decimal_text
from streams.kafka.log import Log
from streams.query.effects import receivers


@dataclass(frozen=True, slots=True)
class ChannelItem:
    """What one channel may sell of an item, and what it was told of it.

    Attributes:
        sku: The channel's name of it.
        terms: What the figure is made of, by warehouse; none: it does not sell it, or B1 has said nothing of it yet.
        buffer: Units that are kept back.
        told: What it was told, or is to be: levels, prices, master data.
    """

    connector: str
    sku: str
    terms: Sequence[StockTerms]
    buffer: str
    told: Sequence[EffectState]

    def as_json(self) -> dict[str, Any]:
        return {
            "connector": self.connector,
            "sku": self.sku,
            "buffer": self.buffer,
            "terms": [
                {
                    "warehouse": terms.reading.warehouse,
                    "on_hand": decimal_text(terms.reading.on_hand),
                    "committed": decimal_text(terms.reading.committed),
                    "own_open": decimal_text(terms.own_open),
                    "under_way": decimal_text(terms.under_way),
                    "figure": decimal_text(terms.figure),
                    "as_of": terms.reading.as_of.isoformat(),
                }
                for terms in self.terms
            ],
            "told": [
                {
                    "id": "/".join(state.subject),
                    "type": state.type,
                    "state": state.state,
                    "content": state.content,
                    "sent": state.sent,
                    "sent_at": state.sent_at.isoformat() if state.sent_at else None,
                    "reason": state.reason,
                    "error": state.error,
                    "since": state.since.isoformat(),
                }
                for state in self.told
            ],
        }


@dataclass(frozen=True, slots=True)
class ItemStory:
    """One item of one company.

    Attributes:
        item: As B1 says it is; None: it has not been read.
        channels: Who is told something of it, or sells it.
    """

    company: str
    item_code: str
    item: ItemChanged | None
    channels: Sequence[ChannelItem]

    @property
    def flags(self) -> dict[str, bool]:
        """What decides whether it can be sold."""
        if self.item is None:
            return {}
        names = ("is_active", "is_sold", "is_stocked", "batch_managed", "serial_managed")
        return {name: getattr(self.item, name) for name in names}

    def as_json(self) -> dict[str, Any]:
        return {
            "company": self.company,
            "item_code": self.item_code,
            "name": self.item.name if self.item else None,
            "as_of": self.item.as_of.isoformat() if self.item else None,
            **self.flags,
            "channels": [channel.as_json() for channel in self.channels],
        }


async def stories(
    log: Log, config: Config, codec: Codec, clock: Clock, code: str, channel: str | None = None
) -> list[ItemStory]:
    """The item in every company that B1 or a channel's map knows it in; `code` is an ItemCode or a sku.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state was written by something newer than we are.
    """
    found = []
    for company in sorted({each.company for each in receivers(config).values()}):
        feed = CompanyFeed(company, config, log, codec, clock)
        await feed.sync()
        item_code = config.companies[company].items.get(code, code)
        channels = [
            each
            for name in receivers(config)
            if config.connectors[name].company == company and channel in (None, name)
            for each in await _channel(log, config, codec, feed, name, item_code, clock.now())
        ]
        item = feed.view.items.get(item_code)
        if item is not None or any(each.terms or each.told for each in channels):
            found.append(ItemStory(company, item_code, item, channels))
    return found


async def _channel(
    log: Log, config: Config, codec: Codec, feed: CompanyFeed, name: str, item_code: str, now: datetime
) -> list[ChannelItem]:
    settings, partition = config.connectors[name], partition_of(name, config.kafka.partitions)
    company, out = config.companies[settings.company], settings.out
    assert out is not None  # noqa: S101 -- a receiver
    states = EffectStates(name, log, codec, topic=config.topic(STATES), partition=partition)
    await states.load()
    names = ReceiverNames(name, settings, company)
    wants = Wants(name, out, names, feed.view, start=now, currency=company.currency)
    found = []
    for sku in names.skus(item_code):
        told = [state for state in states.by_subject.values() if state.sku == sku]
        terms = wants.terms(item_code) if out.stock else []
        if told or terms or out.items or out.prices is not None:
            buffer = decimal_text(out.buffer if out.stock else ZERO)
            found.append(ChannelItem(name, sku, terms, buffer, told))
    return found
