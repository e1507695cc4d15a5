"""`[connectors.<name>]` with `kind = "shopify"`."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from connectors.base.settings import ConnectorSettings, OutSettings, Secret, Settings, invalid, is_bare_http, listed

EventName = Literal["order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued"]
EVENTS: tuple[EventName, ...] = ("order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued")


#: Compared quantities and idempotency keys are mandatory from then on (shopify.dev changelog, 2026-04).
FIRST_OUT_VERSION = "2026-04"


class SkuSettings(Settings):
    """What stands for lines that have no sku in the shop; without it such an order is refused, and says so."""

    gift_card: str | None = Field(default=None, description="For gift cards that are sold")
    custom: str | None = Field(default=None, description="For goods typed in by hand, that are no product")


class ShopifyOutSettings(OutSettings):
    """What the shop is told."""

    location: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,20}$",
        description="Id of the location whose figure is set, where levels_by_location is false",
    )
    carriers: dict[str, str] = Field(
        default_factory=dict, description="Carrier as in shipping_types = how Shopify spells it; none: as it is"
    )
    item_fields: Annotated[tuple[Literal["barcode", "tracked"], ...], BeforeValidator(listed)] = Field(
        default=("barcode",), description="What of a variant B1 owns; nothing else of it is ever written"
    )


class ShopifySettings(ConnectorSettings):
    kind: Literal["shopify"] = Field(description="shopify")
    out: ShopifyOutSettings | None = Field(default=None, description="What it receives; none: nothing")
    shop: str = Field(description="The shop's own domain", pattern=r"^[a-z0-9][a-z0-9-]{0,99}\.myshopify\.com$")
    url: str = Field(default="", description="Where its API is; empty: https:// and the shop's domain")
    access_token: Secret = Field(description="The app's Admin API token")
    webhook_secrets: Annotated[tuple[Secret, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=2, description="The app's client secret, or two while it rotates; none: no webhooks"
    )
    webhook_path: str = Field(default="", description="Its path at our door; empty: / and the connector's name")
    api_version: str = Field(default="2026-04", pattern=r"^20[0-9]{2}-(01|04|07|10)$")
    poll_interval_s: float = Field(default=30, gt=0, le=86_400, description="Seconds between two looks; webhooks wake")
    overlap_s: float = Field(
        default=300, ge=0, le=86_400, description="How far each look goes back behind the last: what was indexed late"
    )
    settle_s: float = Field(
        default=2, ge=0, le=60, description="A level is read so long after it moved: Shopify's times are whole seconds"
    )
    timeout_s: float = Field(default=30, gt=0, le=300, description="For one answer")
    events: Annotated[tuple[EventName, ...], BeforeValidator(listed)] = Field(
        default=EVENTS, description="What is read; leave out dispatch_confirmed where another system reports dispatches"
    )
    place_on: Literal["placed", "authorized", "paid"] = Field(
        default="placed", description="When an order is one: at once, when its payment is promised, when it is made"
    )
    test_orders: bool = Field(
        default=False, description="true: take orders of the test gateway too; never in production"
    )
    ignore_tags: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=("b1-streams",), description="Orders with one of these tags are ours: they never come back"
    )
    stock_locations: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="Ids of the locations whose counts Shopify owns; none: no stock is read"
    )
    stock_quantity: Literal["on_hand", "available"] = Field(
        default="on_hand", description="The count; available is without what orders have committed"
    )
    inventory_skus: dict[str, str] = Field(
        default_factory=dict, description="Id of an inventory item = sku, where several share one or it has none"
    )
    skus: SkuSettings = SkuSettings()
    tax_codes: Literal["country-rate", "title", "none"] = Field(
        default="country-rate",
        description="The tax code of a line: GB-20, the title of its taxes, or (none) the rate alone: 20",
    )
    home_country: str | None = Field(
        default=None,
        pattern=r"^[A-Z]{2}$",
        description="Country of sales that have no address, as at a till; none: their tax code is the rate alone",
    )
    adjustment_tax_rate: Decimal = Field(
        default=Decimal(0),
        ge=0,
        lt=100,
        description="Percent contained in refunds of an amount, of which no tax is stated",
    )
    adjustment_tax_code: str | None = Field(
        default=None, description="Tax code of money beside the lines of refunds; none: by the tax that Shopify states"
    )
    rounding_tolerance: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Minor units (pence) by which rows may miss the order's total or the refund's money; the "
        "largest takes it",
    )
    refund_subtotals: Literal["as_order", "net"] = Field(
        default="as_order", description="Whether a refund's subtotals hold tax when the order's prices do, or never"
    )

    @model_validator(mode="after")
    def _is_reachable(self, info: ValidationInfo) -> Self:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or is_bare_http(parts, info):
            raise PydanticCustomError("url", "url is not https://; write https://, or leave it out")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise PydanticCustomError("url", "url has more than host, port and path; take it out")
        return self

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        out = self.out
        if out is None or not out.is_on:
            return self
        if self.api_version < FIRST_OUT_VERSION:
            raise invalid("out_version", f"out needs api_version {FIRST_OUT_VERSION} or later; write it")
        if out.orders:
            raise invalid("out_orders", "a shop is told of no orders; take out.orders out")
        if out.stock and not out.levels_by_location and out.location is None:
            raise invalid("out_location", "out.stock sets a figure at one location; name it as out.location")
        if out.stock and out.location in self.stock_locations:
            raise invalid(
                "out_counted",
                f"Shopify owns the count of location {out.location}; take it out of stock_locations, or set another",
            )
        return self

    @property
    def scopes_to_write(self) -> frozenset[str]:
        """Of the app, for what `out` names."""
        out = self.out
        if out is None or not out.is_on:
            return frozenset()
        wanted = {
            "read_products": out.stock or out.items or out.prices is not None,
            "write_inventory": out.stock,
            "write_products": out.items or out.prices is not None,
            "write_orders": out.tracking,
            "write_merchant_managed_fulfillment_orders": out.tracking,
        }
        return frozenset(scope for scope, is_wanted in wanted.items() if is_wanted)

    @property
    def base_url(self) -> str:
        return (self.url or f"https://{self.shop}").rstrip("/")
