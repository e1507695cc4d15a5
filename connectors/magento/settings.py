"""`[connectors.<name>]` with `kind = "magento"`."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from connectors.base.settings import ConnectorSettings, OutSettings, Secret, invalid, is_bare_http

Role = Literal["wait", "placed", "cancelled"]
Flow = Literal["orders", "shipments", "creditmemos"]

#: What a state of an order means here. `new` and `pending_payment` are not paid yet; an order may be `complete` or
#: `closed` when it is first seen. Logic goes by state: the status is the merchant's own text.
STATES: Mapping[str, Role] = {
    "new": "wait",
    "pending_payment": "wait",
    "payment_review": "wait",
    "holded": "wait",
    "processing": "placed",
    "complete": "placed",
    "closed": "placed",
    "canceled": "cancelled",
}
_STORE_CODE = re.compile("[A-Za-z][A-Za-z0-9_]{0,31}")
_OAUTH_CREDENTIALS = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")


def _with_defaults(value: object) -> object:
    return {**STATES, **value} if isinstance(value, Mapping) else value


def _numbers(value: object) -> object:
    return (value,) if isinstance(value, int) else value


#: What the shop's own people write (R9): no setting can make it ours.
_CONTENT = re.compile(
    r"name|sku|price|.*description|.*image.*|thumbnail|media_gallery|url_.*|meta_.*|status|visibility"
)


class MagentoOutSettings(OutSettings):
    """What the shop is told."""

    source: str | None = Field(
        default=None, description="Code of the source whose quantity is set, where levels_by_location is false"
    )
    backorders: bool = Field(
        default=False, description="At a quantity of zero the status stays as it is, instead of out of stock"
    )
    price_currency: str | None = Field(
        default=None, pattern=r"^[A-Z]{3}$", description="The shop's base currency; prices in another are refused"
    )
    item_attributes: dict[Literal["barcode", "unit", "item_code"], str] = Field(
        default_factory=dict, description="Field of an item = code of the attribute that B1 owns; no other is written"
    )
    carrier_titles: dict[str, str] = Field(
        default_factory=dict, description="Carrier as in shipping_types = title of a track; none: as it is"
    )
    carrier_codes: dict[str, str] = Field(
        default_factory=dict, description="Carrier as in shipping_types = code of an installed carrier; none: custom"
    )
    bundles: Literal["together", "separately"] = Field(
        default="together", description="How the shop ships bundles: by their own row, or by those of their parts"
    )

    @field_validator("item_attributes")
    @classmethod
    def _are_not_content(cls, attributes: dict[str, str]) -> dict[str, str]:
        taken = ", ".join(sorted(code for code in attributes.values() if _CONTENT.fullmatch(code)))
        if taken:
            raise invalid("item_attributes", f"names {taken}, which the shop owns; name attributes made for B1's data")
        return attributes


class MagentoSettings(ConnectorSettings):
    kind: Literal["magento"] = Field(description="magento")
    out: MagentoOutSettings | None = Field(default=None, description="What it receives; none: nothing")
    poll_interval_s: float = Field(
        default=30, gt=0, le=86_400, description="Seconds between two looks at a shop that had nothing new"
    )

    base_url: str = Field(
        description="The shop, as https://shop.example; http:// on loopback only, or with kafka.local"
    )
    store_code: str = Field(default="all", description="The store view in the URL; all sees every order")
    store_ids: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = Field(
        default=(), description="Only orders of these store views, by id; none: of all"
    )
    channels: dict[str, str] = Field(default_factory=dict, description="Store view id = channel; else the id itself")

    auth: Literal["bearer", "oauth1"] = Field(
        default="oauth1",
        description="oauth1: the integration's four credentials; bearer: one token, which the shop must allow",
    )
    token: Secret | None = Field(default=None, description="bearer: the access token")
    consumer_key: Secret | None = Field(default=None, description="oauth1")
    consumer_secret: Secret | None = Field(default=None, description="oauth1")
    access_token: Secret | None = Field(default=None, description="oauth1")
    access_token_secret: Secret | None = Field(default=None, description="oauth1")

    flows: tuple[Flow, ...] = Field(
        default=("orders", "shipments", "creditmemos"),
        description="What is read; leave out shipments where a warehouse reports the dispatches",
    )
    states: Annotated[dict[str, Role], BeforeValidator(_with_defaults)] = Field(
        default_factory=lambda: dict(STATES), description="State of an order = wait | placed | cancelled"
    )
    wait_for_payment: bool = Field(default=False, description="An order is placed only once nothing is due any more")
    refunded_states: tuple[int, ...] = Field(
        default=(2,), description="States of a credit memo that mean the money is given back: 1 open, 2 refunded"
    )

    currency: Literal["order", "base"] = Field(
        default="order", description="order: as the buyer paid; base: the shop's base currency"
    )
    rounding_tolerance: Decimal = Field(
        default=Decimal("0.05"),
        ge=0,
        le=1,
        description="Rows may differ from the totals by so much (a currency without cents: as many of its units "
        "as cents here); "
        "it goes into the largest row",
    )
    credits: tuple[str, ...] = Field(
        default=("gift_cards_amount", "customer_balance_amount", "reward_currency_amount"),
        description="Amounts by which the grand total is lower and that are means of payment (Adobe Commerce)",
    )
    tax_codes: Literal["rate", "applied", "none"] = Field(
        default="rate",
        description="rate: country and percent, as GB-20 (20 without a country); applied: the shop's tax rate "
        "code; none: 20",
    )
    adjustment_tax_rate: Decimal = Field(
        default=Decimal(0), ge=0, lt=100, description="Percent contained in adjustments of credit memos"
    )
    adjustment_tax_code: str | None = Field(
        default=None, description="Tax code of adjustments of credit memos; none: by their rate"
    )

    restock: bool = Field(
        default=True, description="Whether refunded goods that had left come back; the shop does not say"
    )
    source: str | None = Field(
        default=None, description="The place that shipments leave from where the shop names no MSI source"
    )
    virtual_source: str | None = Field(
        default=None,
        description="The place that virtual and downloadable goods leave from once they are invoiced; none: left "
        "to people",
    )
    carriers: dict[str, str] = Field(
        default_factory=dict, description="Carrier code, or title of a custom one = carrier, as in shipping_types"
    )

    overlap_s: int = Field(
        default=600, ge=60, le=86_400, description="Rows may show up so many seconds after newer ones"
    )
    page_size: int = Field(default=100, ge=1, le=300, description="Rows of one answer")
    timeout_s: float = Field(default=60, gt=0, le=600, description="Seconds to wait for an answer")
    own_mark: str = Field(
        default="b1-streams",
        min_length=4,
        description="Text in a comment (an order: at the start of ext_order_id) by which we know what we wrote",
    )

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("https", "http") or parts.username or parts.query or parts.fragment:
            raise invalid("base_url", "is not the URL of a shop; write it as https://shop.example")
        if is_bare_http(parts, info):
            raise invalid("base_url", "is http:// off this machine, where everybody could read it; use https://")
        return url.rstrip("/")

    @field_validator("store_code")
    @classmethod
    def _is_a_code(cls, code: str) -> str:
        if not _STORE_CODE.fullmatch(code):
            raise invalid("store_code", "is no store view code; write all, or one as in Stores > All Stores")
        return code

    @field_validator("store_ids")
    @classmethod
    def _are_ids(cls, ids: tuple[int, ...]) -> tuple[int, ...]:
        if any(each < 0 for each in ids):
            raise invalid("store_ids", "has an id below 0; write ids as in Stores > All Stores")
        return tuple(sorted(set(ids)))

    @field_validator("flows")
    @classmethod
    def _reads_something(cls, flows: tuple[Flow, ...]) -> tuple[Flow, ...]:
        if not flows or len(set(flows)) < len(flows):
            raise invalid("flows", "is empty or names one twice; write some of orders, shipments, creditmemos")
        return flows

    @field_validator("states")
    @classmethod
    def _make_sense(cls, states: dict[str, Role]) -> dict[str, Role]:
        unknown = ", ".join(sorted(states.keys() - STATES.keys()))
        if unknown:
            known = ", ".join(STATES)
            raise invalid("states", f"names {unknown}, which no order is ever in; write states, not statuses: {known}")
        if states["canceled"] == "placed":
            raise invalid("states", "takes canceled for placed; write wait or cancelled")
        if states["complete"] != "placed" or states["closed"] != "placed":
            raise invalid(
                "states", "complete and closed must be placed: an order may have come so far before it is first seen"
            )
        return states

    @field_validator("refunded_states")
    @classmethod
    def _are_states(cls, states: tuple[int, ...]) -> tuple[int, ...]:
        if not states or not set(states) <= {1, 2}:
            raise invalid("refunded_states", "must be [2], or [1, 2] where open credit memos count as well")
        return states

    @field_validator("credits")
    @classmethod
    def _are_amounts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(not re.fullmatch("[a-z][a-z_]*", name) or name.startswith("base_") for name in names):
            raise invalid("credits", "must be names of amounts without base_, as gift_cards_amount")
        return names

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        needed = ("token",) if self.auth == "bearer" else _OAUTH_CREDENTIALS
        missing = ", ".join(name for name in needed if getattr(self, name) is None)
        if missing:
            raise invalid("auth", f"{self.auth} needs {missing}; add it as env:NAME or file:path")
        return self

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        out = self.out
        if out is None or not out.is_on:
            return self
        if out.orders:
            raise invalid("out_orders", "a shop is told of no orders; take out.orders out")
        if out.stock and not out.levels_by_location and not out.source:
            raise invalid("out_source", "out.stock sets the quantity of one source; name it as out.source")
        if out.items and not out.item_attributes:
            raise invalid(
                "out_items", "out.items writes out.item_attributes, and names none; name them, or take it out"
            )
        return self
