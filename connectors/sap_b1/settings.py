"""One `[companies.<name>]`: where its B1 is and how events become its documents (contract section 4).

Every fault names its key, what is wrong and, after a semicolon, what fixes it. Durations are seconds.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from connectors.base.settings import Secret, Settings, folder_of, invalid, is_bare_http

EventType = Literal["order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued", "stock_adjusted"]
StockReason = Literal["receipt", "return", "damaged", "lost", "found", "count", "transfer", "other"]

_LIMITS_CARD_CODE = 15  # OCRD.CardCode
_LIMITS_WHS_CODE = 8  # OWHS.WhsCode


def _text(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise invalid("empty", "is empty; name it, or leave the key out where it is optional")
    return value


Text = Annotated[str, BeforeValidator(_text)]


class WindowSettings(Settings):
    length_s: float = Field(default=60, ge=1, le=300, description="Seconds from a window's first event to its seal")
    max_members: int = Field(default=1000, ge=1, le=100_000, description="Events in one window")
    max_lines: int = Field(default=50, ge=1, le=1000, description="Lines of one stock document")


class CustomerSettings(Settings):
    policy: Literal["account", "match", "create"] = Field(
        default="account",
        description="account: all to card_code; match: by e-mail, else refuse; create: one card per customer",
    )
    card_code: Text | None = Field(
        default=None, max_length=_LIMITS_CARD_CODE, description="The customer of policy account"
    )

    @model_validator(mode="after")
    def _account_has_a_card(self) -> "CustomerSettings":
        if self.policy == "account" and self.card_code is None:
            raise invalid("no_card", "policy account has no card_code; name the CardCode that all orders go to")
        return self


class TaxSettings(Settings):
    field: Literal["VatGroup", "TaxCode"] = Field(
        default="VatGroup",
        description="The localisation's: VatGroup where there is VAT, TaxCode where there is sales tax",
    )
    default: Text | None = Field(default=None, description="B1's code for events that name none; none: refuse them")
    codes: dict[Text, Text] = Field(default_factory=dict, description="The channel's tax code = B1's")


class TotalsSettings(Settings):
    preview: bool = Field(default=True, description="Ask B1 for its total before an order with grand_total is posted")


class FreightSettings(Settings):
    expense_code: int | None = Field(default=None, ge=0, description="AdditionalExpenses.ExpensCode of shipping")


class InvoiceSettings(Settings):
    on: Literal["dispatch", "never"] = Field(default="dispatch", description="dispatch: an invoice per delivery")

    @field_validator("on", mode="before")
    @classmethod
    def _no_boolean(cls, value: object) -> object:
        # TOML has no `on`, YAML-minded people write true.
        if isinstance(value, bool):
            raise invalid("boolean", 'is a boolean; write "dispatch" or "never"')
        return value


class RefundSettings(Settings):
    without_order: Literal["refuse", "post"] = Field(default="refuse", description="A refund that names no order")
    adjustment_expense_code: int | None = Field(
        default=None, ge=0, description="AdditionalExpenses.ExpensCode of goodwill"
    )
    adjustment_account: Text | None = Field(default=None, description="G/L account of goodwill without lines")


class OrderRules(Settings):
    require_address: bool = Field(default=False, description="Refuse orders without a whole ship_to")


class WarehouseSettings(Settings):
    """One B1 warehouse: who owns its count, and under which name."""

    owner: Text = Field(description="The connector that owns its count")
    location: Text = Field(description="The owner's name for it")
    sellable_on: tuple[Text, ...] = Field(default=(), description="Connectors that sell from it; none: not sold")
    returns_by: Literal["refund", "adjustment"] = Field(
        default="refund", description="Who brings returned goods back into stock; the other moves none"
    )
    gl_account: dict[StockReason, Text] = Field(
        default_factory=dict, description="G/L account by reason; without one B1 decides"
    )

    @field_validator("owner", mode="before")
    @classmethod
    def _one_owner(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            raise invalid(
                "owners", "has several owners; a count has one: name the connector that counts this warehouse"
            )
        if value is None or (isinstance(value, str) and not value.strip()):
            raise invalid("no_owner", "has no owner; name the connector that counts this warehouse")
        return value


class CompanySettings(Settings):
    """One company database of B1, with every rule that turns events into its documents."""

    partition: int | None = Field(
        default=None,
        ge=0,
        description="Of the company topics; unique, never changed; may be left out for a single company",
    )
    service_layer_url: str = Field(description="With /b1s/v2")
    company_db: Text
    username: Text
    password: Secret
    verify_tls: bool | Path = Field(default=True, description="true, or a file of trusted CAs")
    timezone: str = Field(description="IANA name; posting dates are in it")
    currency: str = Field(description="ISO 4217; what B1 keeps its books in")
    idempotency: Literal["claim", "guard", "lookup"] = Field(
        default="claim",
        description="How a second document is kept out: B1's atomic change sets, our block in B1's notification "
        "procedure, or looking it up after a quiet period",
    )
    session_limit: int = Field(default=2, ge=1, le=32, description="Service Layer sessions of the poster")
    in_flight: int = Field(default=8, ge=1, le=64, description="Writes under way at a time")
    park_max_age_s: float = Field(default=86_400, gt=0, description="A parked event is dead after it")
    lock_park_after_s: float = Field(default=60, ge=0, description="A locked item is parked after it")
    items_only_mapped: bool = Field(default=False, description="true: a sku that items lacks is unmapped_item")
    flows: dict[EventType, Literal["on", "off"]] = Field(
        default_factory=dict, description="off: its events end as no_op"
    )
    dedupe_horizon_days: int = Field(default=35, ge=1, le=3650, description="Older stock events are too_old")
    window: WindowSettings = WindowSettings()
    customers: CustomerSettings
    tax: TaxSettings = TaxSettings()
    totals: TotalsSettings = TotalsSettings()
    freight: FreightSettings = FreightSettings()
    shipping_types: dict[Text, int] = Field(default_factory=dict, description="carrier/service = ShippingTypes.Code")
    items: dict[Text, Text] = Field(default_factory=dict, description="sku = ItemCode, only where they differ")
    invoices: InvoiceSettings = InvoiceSettings()
    refunds: RefundSettings = RefundSettings()
    orders: OrderRules = OrderRules()
    warehouses: dict[Text, WarehouseSettings] = Field(description="WhsCode = who owns it and what it is called there")

    @field_validator("service_layer_url")
    @classmethod
    def _safe_url(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise invalid("url", "is not a URL; write https://HOST:50000/b1s/v2")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise invalid("url", "carries more than an address; credentials belong in username and password")
        if is_bare_http(parts, info):
            raise invalid(
                "plain_http", "would send the password unencrypted; use https://, or kafka.local = true in a demo setup"
            )
        if not parts.path.rstrip("/").endswith("/b1s/v2"):
            raise invalid("url", "is not the OData v4 root; end it with /b1s/v2")
        return value.rstrip("/")

    @field_validator("verify_tls", mode="before")
    @classmethod
    def _verified(cls, value: object, info: ValidationInfo) -> object:
        if value is False or (isinstance(value, str) and value.strip().lower() in ("false", "no", "off", "0", "")):
            raise invalid("verify_tls", "cannot be switched off; name a file with the CA that signed the certificate")
        if isinstance(value, str) and value.strip().lower() in ("true", "yes", "on", "1"):
            return True
        if isinstance(value, str | Path):
            file = folder_of(info) / value
            if not file.is_file():
                raise invalid("ca_file", "names no file; put the CA's certificate (PEM) there, or fix the path")
            return file
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise invalid("timezone", "is no IANA time zone; write one as Europe/London") from exc
        return value

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", value):
            raise invalid("currency", "is no ISO 4217 code; write three capital letters, as GBP")
        return value

    @field_validator("shipping_types")
    @classmethod
    def _carriers_once(cls, value: dict[str, int]) -> dict[str, int]:
        _refuse_twins(value, (name.casefold() for name in value), "differ only in case; keep one")
        return value

    @field_validator("warehouses")
    @classmethod
    def _places_once(cls, value: dict[str, WarehouseSettings]) -> dict[str, WarehouseSettings]:
        if not value:
            raise invalid("no_warehouse", "is empty; map at least one warehouse")
        long = [code for code in value if len(code) > _LIMITS_WHS_CODE]
        if long:
            raise invalid("whs_code", f"{', '.join(long)} is longer than a WhsCode (8); write B1's own code")
        _refuse_twins(
            value,
            ((w.owner, w.location) for w in value.values()),
            "are the same location of the same owner; a location feeds one warehouse: give each its own",
        )
        return value


def _refuse_twins(names: Iterable[str], keys: Iterable[object], remedy: str) -> None:
    groups: dict[object, list[str]] = {}
    for name, key in zip(names, keys, strict=True):
        groups.setdefault(key, []).append(name)
    twins = [" and ".join(group) for group in groups.values() if len(group) > 1]
    if twins:
        raise invalid("twins", f"{', '.join(twins)} {remedy}")
