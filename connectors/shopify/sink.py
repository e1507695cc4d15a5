"""A shop as a `Sink`: shipments first, then items and prices, then levels."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.sending import one_by_one, refused, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.shopify.client import ShopifyClient
from connectors.shopify.outbound.fields import FieldWriter
from connectors.shopify.outbound.fulfillments import FulfillmentWriter
from connectors.shopify.outbound.levels import LevelWriter
from connectors.shopify.outbound.variants import Variants
from connectors.shopify.settings import ShopifySettings

Write = Callable[[Sequence[ChannelEffect]], Awaitable[Sequence[Delivered]]]


class ShopifySink:
    """What a shop is told; every write looks first, so that nothing has to be known of an earlier try.

    Args:
        name: The connector's.
        settings: Its own; `out` is there.
        clock: Ours.
        transport: In place of the network.
        sleep: For tests.
    """

    def __init__(
        self,
        name: str,
        settings: ShopifySettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = ShopifyClient(settings, clock, transport=transport, sleep=sleep)
        variants = Variants(name, settings, self._client, clock)
        self._fulfillments = FulfillmentWriter(settings, self._client, clock)
        self._fields = FieldWriter(settings, self._client, variants, clock)
        self._levels = LevelWriter(name, settings, self._client, variants)

    async def close(self) -> None:
        await self._client.close()

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        groups: Mapping[Write, list[ChannelEffect]] = {
            self._report: [each for each in effects if each.type == "delivery_posted"],
            self._fields.write: [each for each in effects if each.type in ("item_changed", "price_changed")],
            self._levels.write: [each for each in effects if each.type == "stock_level"],
        }
        results = [
            refused(each, "a shop is told of no orders; take out.orders out of its configuration")
            for each in effects
            if each.type in ("order_released", "order_withdrawn")
        ]
        for write, some in groups.items():
            if not some:
                continue
            try:
                results += await write(some)
            except (RetriableError, FatalError) as error:
                if not results:
                    raise
                # What was written stays written; the next call meets the error first.
                wait_s = error.retry_after_s if isinstance(error, RetriableError) else None
                results += [
                    Delivered(k=each.k, outcome="away", error=str(error), retry_after_s=wait_s) for each in some
                ]
            except OutcomeUnknownError as error:
                results += [unknown(each, error) for each in some]
        return results

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        levels = [each for each in effects if each.type == "stock_level"]
        prices = [each for each in effects if each.type == "price_changed"]
        return {**await self._levels.current(levels), **await self._fields.current_prices(prices)}

    async def _report(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        return await one_by_one(effects, self._fulfillments.write)
