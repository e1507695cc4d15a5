"""Webhooks: genuine ones wake the poll."""

import base64
from collections.abc import Sequence

from connectors.shopify.settings import ShopifySettings
from connectors.webhooks.hook import Delivery, Hook, Pushed, matches, sign

_PREFIXES = (b"x-shopify-", b"shopify-")


def hook_of(name: str, settings: ShopifySettings) -> Hook | None:
    """How the shop's webhooks are received; None where no secret is configured.

    They are wake-ups: an order's webhook has the shape of another API, as of another moment than the poll's, and a
    fact emitted in two forms would be two. What they announce is read from the API right after.
    """
    if not settings.webhook_secrets:
        return None

    def verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
        return _is_genuine(delivery, secrets, settings.shop.encode())

    return Hook(
        connector=name,
        company=settings.company,
        path=settings.webhook_path or f"/{name}",
        secrets=settings.webhook_secrets,
        verify=verify,
        translate=_emit_nothing,
        delivery_id=lambda delivery: _header(delivery, b"webhook-id"),
    )


def _is_genuine(delivery: Delivery, secrets: Sequence[bytes], shop: bytes) -> bool:
    signed = matches(
        _header(delivery, b"hmac-sha256"), [base64.b64encode(sign(secret, delivery.body)) for secret in secrets]
    )
    # One app may be in several shops, with one secret.
    return signed and (_header(delivery, b"shop-domain") or b"").lower() == shop


def _header(delivery: Delivery, name: bytes) -> bytes | None:
    return next((found for prefix in _PREFIXES if (found := delivery.headers.get(prefix + name)) is not None), None)


def _emit_nothing(_delivery: Delivery) -> tuple[Pushed, ...]:
    return ()
