"""SEKO told what B1 says: released orders, once each, their withdrawal, and the product master.

SEKO has no key of a call: that nothing is loaded twice rests on its refusal of a number that it has. Where the end of
an earlier try is not known, or the number is there, the order is looked for under our own id.
"""

import re
from collections.abc import Mapping, Sequence

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError
from connectors.base.sending import ChannelRefusedError, channel_words, one_by_one
from connectors.base.sink import ChannelEffect, Delivered
from connectors.seko.hub import HubAnswer, SekoHub
from connectors.seko.loads import number_of, order_load, product_body
from connectors.seko.settings import SekoSettings

#: SEKO's words are matched loosely: it publishes some of them, and promises none.
_EXISTS = re.compile(r"already\s+exist|duplicate", re.IGNORECASE)
_UNKNOWN = re.compile(r"does\s+not\s+exist|not\s+found", re.IGNORECASE)
_IS_CANCELLED = re.compile(r"(already|is|been)\s+cancel", re.IGNORECASE)
_HAS_LEFT = re.compile(r"dispatched", re.IGNORECASE)


class SekoSink:
    """A client's hub as a `Sink`.

    Args:
        name: The connector's.
        settings: Its own; `out` is there.
        clock: For dates in `Retry-After`.
        transport: In place of the network.
    """

    def __init__(
        self, name: str, settings: SekoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        if settings.out is None:
            raise FatalError(f"{name} receives nothing; add [connectors.{name}.out]")
        self._settings, self._out = settings, settings.out
        self._hub = SekoHub(settings, settings.out, clock, transport)

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        return await one_by_one(effects, self._tell)

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        """Nothing: SEKO's stock is its own, and it keeps no prices for us."""
        del effects
        return {}

    async def close(self) -> None:
        await self._hub.close()

    async def _tell(self, effect: ChannelEffect) -> Delivered:
        match effect.type:
            case "order_released":
                return await self._load(effect)
            case "order_withdrawn":
                return await self._cancel(effect)
            case "item_changed":
                return await self._load_product(effect)
            case _:
                raise ChannelRefusedError(f"SEKO takes no {effect.type}; switch it off in out")

    # ---- orders

    async def _load(self, effect: ChannelEffect) -> Delivered:
        load = order_load(effect, self._settings, self._out)
        sent = Delivered(k=effect.k, outcome="sent", ref=load.number)
        if effect.doubtful and await self._hub.has_order(load.guid):
            return sent
        answer = await self._hub.load_order(load.body)
        if answer.is_success:
            return sent
        if _EXISTS.search(answer.message):
            is_ours = await self._hub.has_order(load.guid)
            # Where SEKO cannot be asked whose it is, an earlier try of ours is the likely one.
            if is_ours or (is_ours is None and effect.doubtful):
                return sent
        raise _refused(f"order {load.number}", answer, effect)

    async def _cancel(self, effect: ChannelEffect) -> Delivered:
        number = effect.ref or number_of(effect.before or effect.content, self._out)
        code = self._out.cancel_codes.get(str(effect.content.get("reason")), self._out.cancel_code)
        answer = await self._hub.cancel_order(number, code)
        # What is to be: SEKO does not send it. It may never have had it, or know already.
        is_so = any(words.search(answer.message) for words in (_UNKNOWN, _IS_CANCELLED))
        # An order that was dispatched short is closed in B1 for that: there is nothing left of it at SEKO either.
        is_over = effect.content.get("reason") == "closed" and _HAS_LEFT.search(answer.message)
        if answer.is_success or is_so or is_over:
            return Delivered(k=effect.k, outcome="sent", ref=number)
        raise _refused(f"cancellation of order {number}", answer, effect)

    # ---- products

    async def _load_product(self, effect: ChannelEffect) -> Delivered:
        """Submit what SEKO does not have, update what it has; which of the two it is, SEKO knows best."""
        sku = str(effect.content["sku"])
        sent = Delivered(k=effect.k, outcome="sent", ref=sku)
        is_known = effect.before is not None
        if not is_known and not effect.content.get("active", True):
            return sent  # it has no such product, and needs none
        body = product_body(effect, self._out)
        first, second = self._hub.submit_product, self._hub.update_product
        if is_known:
            first, second = second, first
        answer = await first(body)
        if not answer.is_success and (_UNKNOWN if is_known else _EXISTS).search(answer.message):
            answer = await second(body)
        if answer.is_success:
            return sent
        raise _refused(f"product {sku}", answer, effect)


def _refused(subject: str, answer: HubAnswer, effect: ChannelEffect) -> ChannelRefusedError:
    words = channel_words(answer.message, effect)
    return ChannelRefusedError(f'{subject}: SEKO says "{words}"; correct it in B1 or at SEKO, then retry it')
