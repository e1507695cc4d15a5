"""Webhooks: signed over their bytes, sent at least once, in any order, given up after eight tries."""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

_TRIES: Final = 8


@dataclass(slots=True)
class Webhook:
    """A delivery that is under way."""

    topic: str
    body: bytes
    id: str
    event_id: str
    triggered_at: str
    tries: int = 0


class WebhookOutbox:
    """Deliveries that wait, and how they are sent.

    Args:
        domain: The shop's.
        secret: The app's client secret.
        version: Of the API, in the headers.
        random: For rates and orders of delivery.
    """

    def __init__(self, domain: str, secret: str, version: str, random: Random) -> None:
        self.domain, self.secret = domain, secret
        self.subscriptions: set[str] = set()
        self.outbox: list[Webhook] = []
        self.rates: dict[str, float] = {}
        self._version, self._random = version, random

    async def deliver(self, post: Callable[[Mapping[str, str], bytes], Awaitable[int]]) -> None:
        """Send what waits once: in any order, some twice, some not at all (`rates`: `twice`, `lost`).

        Args:
            post: Sends headers and body to the subscription's address; returns the status, 0 when nothing answered.
        """
        waiting, self.outbox = self.outbox, []
        self._random.shuffle(waiting)
        for one in waiting:
            if one.topic not in self.subscriptions or self._random.random() < self.rates.get("lost", 0):
                continue
            for _ in range(2 if self._random.random() < self.rates.get("twice", 0) else 1):
                status = await post(self.headers_of(one), one.body)
            if not 200 <= status < 300:
                one.tries += 1
                if one.tries >= _TRIES:
                    self.subscriptions.discard(one.topic)
                else:
                    self.outbox.append(one)

    def headers_of(self, one: Webhook) -> dict[str, str]:
        """The headers of a delivery, with its signature."""
        mac = hmac.new(self.secret.encode(), one.body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": one.topic,
            "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-Hmac-SHA256": base64.b64encode(mac).decode(),
            "X-Shopify-API-Version": self._version,
            "X-Shopify-Webhook-Id": one.id,
            "X-Shopify-Event-Id": one.event_id,
            "X-Shopify-Triggered-At": one.triggered_at,
        }
