"""`[connectors.<name>]` with `kind = "veeqo"`."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from connectors.base.settings import ConnectorSettings, OutSettings, Secret, invalid, is_bare_http, one_to_one


def _names(value: object) -> object:
    """A name or a list of names; ids may be written as numbers."""
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in values)


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


Name = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


class VeeqoOutSettings(OutSettings):
    """What Veeqo receives. What we write there must not come back: each kind of write names where it goes."""

    warehouse: Name = Field(default="", description="Warehouse id that gets the level; none with levels_by_location")
    channel: Name = Field(default="", description="Channel id of the orders that we make: one of its own")
    customer_id: int = Field(default=0, ge=0, description="Veeqo's customer of the orders that we make")
    payment_type: Literal["none", "cash", "credit_card", "bank_transfer", "paypal", "checkmo", "online_finance"] = (
        Field(
            default="bank_transfer", description="Of the orders that we make: B1 releases what is paid, or on account"
        )
    )
    delivery_methods: dict[str, int] = Field(
        default_factory=dict, description="carrier/service, or carrier, = Veeqo's delivery method id"
    )
    allocates: bool = Field(
        default=True, description="Reserve an order's lines in B1's warehouse, unless Veeqo has by its own rules"
    )
    ships_from: Names = Field(
        default=(), description="Warehouse ids whose deliveries B1 brings to Veeqo: their shipments are not reported"
    )
    update_remote_order: bool = Field(
        default=False, description="Whether Veeqo tells the shop of a shipment; false where we do"
    )
    creates: bool = Field(default=True, description="Whether an item that Veeqo lacks is made there")
    owned: tuple[Literal["title", "upc_code"], ...] = Field(
        default=("title", "upc_code"), description="Fields of a product that are B1's; no other is touched"
    )

    @property
    def written(self) -> tuple[str, ...]:
        """Warehouse ids whose stock moves by what we write."""
        return (
            *((self.warehouse,) if self.stock and self.warehouse else ()),
            *(self.ships_from if self.tracking else ()),
        )

    @model_validator(mode="after")
    def _names_where_it_goes(self) -> Self:
        if self.stock and bool(self.warehouse) == self.levels_by_location:
            raise invalid(
                "warehouse", 'stock goes to one warehouse id, warehouse = "11", or by levels_by_location = true'
            )
        if self.orders and not (self.channel and self.customer_id):
            raise invalid("channel", "orders need a channel of their own and a customer; add channel and customer_id")
        if self.tracking and not self.ships_from:
            raise invalid("ships_from", 'tracking needs the warehouses that B1 ships from; add ships_from = ["11"]')
        return self


class VeeqoSettings(ConnectorSettings):
    """How Veeqo is read. `locations` maps warehouse ids to WhsCodes, one to one; every `*_s` is in seconds."""

    kind: Literal["veeqo"] = Field(description="veeqo")
    out: VeeqoOutSettings | None = Field(default=None, description="What it receives; none: nothing")
    url: str = Field(default="https://api.veeqo.com", description="Where the API is, without a path")
    api_key: Secret = Field(description="Of a Veeqo user made for this connector, as env:NAME or file:path")
    auth: Literal["key", "bearer"] = Field(
        default="key", description="key: x-api-key, for private use; bearer: an OAuth token of an app-store app"
    )
    poll_interval_s: float = Field(
        default=60, gt=0, le=86_400, description="Between two looks at orders and shipments (R76: 1 to 5 minutes)"
    )
    reads: tuple[Literal["orders", "dispatches", "stock"], ...] = Field(
        default=("orders", "dispatches", "stock"),
        description="What it brings; without dispatches, shipped units are part of the stock's deltas",
    )
    unplaced_statuses: Names = Field(
        default=("awaiting_payment", "on_hold"), description="An order in one of these is not placed yet"
    )
    relayed_channels: Names = Field(
        default=(),
        description="Channels (id or type_code) whose orders another connector brings, or we wrote ourselves: only "
        "their shipments are reported, under the order's number; name that connector in order_source",
    )
    ignored_warehouses: Names = Field(
        default=(), description="Warehouse ids whose stock is not reported: not ours to count, or written by us"
    )
    tax_code: str = Field(
        default="{country}-{rate}", description='A line\'s tax code, of {country} and {rate} ("20"); "": none'
    )
    currency: str = Field(
        default="",
        pattern="^([A-Z]{3})?$",
        description="Of orders that name none, nor their channel; empty: they are refused",
    )
    merged_orders: Literal["refuse", "place"] = Field(
        default="refuse",
        description="An order that Veeqo has merged into another (merged_to_id): refuse: a dead letter, as its "
        "lines are in "
        "the other one; place: an order like any other",
    )
    stock_reason: Literal["receipt", "return", "damaged", "lost", "found", "count", "other"] = Field(
        default="other", description="Reason of stock deltas: Veeqo gives none"
    )
    stock_interval_s: float = Field(default=300, ge=0, le=86_400, description="Between two sweeps over all stock")
    settle_s: float = Field(
        default=2,
        ge=1,
        le=600,
        description="A count taken this near to a shipment of the same goods is taken again at the next sweep",
    )
    overlap_s: float = Field(
        default=7200,
        ge=0,
        le=172_800,
        description="How far behind the newest change each look begins; 2 h also covers a filter read as UK local time",
    )
    memory_days: float = Field(
        default=7, ge=1, le=90, description="How long a finished order is remembered; also how far a recheck reaches"
    )
    recheck_interval_s: float = Field(
        default=14_400,
        ge=60,
        le=604_800,
        description="Between two looks that reach back memory_days, for changes that do not move updated_at",
    )
    page_size: int = Field(default=100, ge=1, le=100, description="Rows per request; Veeqo cuts more than 100")
    page_cap: int = Field(
        default=100, ge=1, le=100_000, description="Pages of orders to go deep; beyond, by created[before]"
    )
    requests_per_s: float = Field(default=5, gt=0, le=100, description="How fast Veeqo's bucket drains")
    burst: int = Field(
        default=50, ge=1, le=100, description="Our part of Veeqo's bucket of 100: other apps may share the key"
    )

    def counts(self, warehouse: str) -> bool:
        """Whether the stock of a warehouse is reported: not where we write it ourselves."""
        written = self.out.written if self.out is not None and self.out.is_on else ()
        return "stock" in self.reads and warehouse not in (*self.ignored_warehouses, *written)

    def ships(self, warehouse: str) -> bool:
        """Whether what leaves from a warehouse is reported: not where B1 brings it to Veeqo."""
        is_ours = self.out is not None and self.out.is_on and self.out.tracking and warehouse in self.out.ships_from
        return not is_ours

    def relays(self, channel_id: str, type_code: str | None) -> bool:
        """Whether a channel's orders come from elsewhere: another connector brings them, or we made them."""
        ours = (self.out.channel,) if self.out is not None and self.out.is_on and self.out.orders else ()
        return not {channel_id, type_code}.isdisjoint((*self.relayed_channels, *ours))

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise invalid("url", "is not the API's address; write https://api.veeqo.com")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise invalid("url", "carries more than an address; the key belongs in api_key")
        if is_bare_http(parts, info):
            raise invalid("plain_http", "would send the key unencrypted; use https://")
        return value.rstrip("/")

    @field_validator("locations")
    @classmethod
    def _one_to_one(cls, value: dict[str, str]) -> dict[str, str]:
        return one_to_one(value, "a warehouse of Veeqo")

    @field_validator("tax_code")
    @classmethod
    def _fills_in(cls, value: str) -> str:
        try:
            value.format(country="GB", rate="20")
        except (LookupError, ValueError, AttributeError):
            raise invalid("tax_code", 'cannot be filled in; write "{country}-{rate}"') from None
        return value
