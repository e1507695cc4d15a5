"""A shop as a `Sink`: shipments first, then items and prices, then levels."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError
from connectors.base.sending import away, one_by_one, refused
from connectors.base.sink import ChannelEffect, Delivered
from connectors.magento.client import MagentoClient
from connectors.magento.outbound.catalogue import ShownCatalogue
from connectors.magento.outbound.levels import SourceItemWriter
from connectors.magento.outbound.products import ProductWriter
from connectors.magento.outbound.shipments import ShipmentWriter
from connectors.magento.reading import ListReader
from connectors.magento.settings import MagentoOutSettings, MagentoSettings

Write = Callable[[Sequence[ChannelEffect]], Awaitable[Sequence[Delivered]]]


class MagentoSink:
    """What a shop is told; every write looks first, so that nothing has to be known of an earlier try.

    Args:
        name: The connector's.
        settings: Its own; `out` is there.
        clock: Ours.
        transport: In place of the network.
    """

    def __init__(
        self, name: str, settings: MagentoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        out = settings.out or MagentoOutSettings()
        self._client = MagentoClient(name, settings, clock, transport=transport)
        catalogue = ShownCatalogue(self._client, clock)
        self._shipments = ShipmentWriter(settings, self._client, ListReader(name, settings, self._client, clock), clock)
        self._products = ProductWriter(out, self._client, catalogue)
        self._levels = SourceItemWriter(name, out, self._client, catalogue)

    async def close(self) -> None:
        await self._client.close()

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        writers: Mapping[str, Write] = {
            "delivery_posted": self._report,
            "item_changed": self._write_items,
            "price_changed": self._products.write_prices,
            "stock_level": self._levels.write,
        }
        results = [
            refused(each, "a shop is told of no orders; take out.orders out of its configuration")
            for each in effects
            if each.type not in writers
        ]
        for kind, write in writers.items():
            some = [each for each in effects if each.type == kind]
            if not some:
                continue
            try:
                results += await write(some)
            except (RetriableError, FatalError) as error:
                if not results:
                    raise
                # What was written stays written; the next call meets the error first.
                found = error if isinstance(error, RetriableError) else RetriableError(str(error))
                results += [away(each, found) for each in some]
        return results

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        levels = [each for each in effects if each.type == "stock_level"]
        prices = [each for each in effects if each.type == "price_changed"]
        return {**await self._levels.current(levels), **await self._products.current_prices(prices)}

    async def _report(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        shown = await self._shipments.read(effects)
        return await one_by_one(effects, lambda effect: self._shipments.write(effect, shown))

    async def _write_items(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        shown = await self._products.attributes(effects)
        return await one_by_one(effects, lambda effect: self._products.write_item(effect, shown))
