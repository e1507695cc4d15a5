"""`[connectors.<name>]` with `kind = "seko"`."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from connectors.base.settings import (
    ConnectorSettings,
    OutSettings,
    Secret,
    Settings,
    invalid,
    is_bare_http,
    listed,
    one_to_one,
)
from connectors.seko.journal import PushJournal
from connectors.seko.records import FIELDS

Service = Literal["dispatch", "receipt", "adjustment", "movement", "summary"]
Reason = Literal["receipt", "return", "damaged", "lost", "found", "count", "other"]


OrderField = Literal["SalesOrderNumber", "SalesOrderReference", "InterfaceRecordId"]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class PathSettings(Settings):
    """Where each service is polled, below `url`; {from} and {to} are times; empty: not polled. Confirmed for v1."""

    dispatch: str = Field(default="dispatches/v1/status/{from}/{to}.json?status=Dispatched")
    adjustment: str = Field(default="stock/v1/adjustment/{from}/{to}.json")
    movement: str = Field(default="stock/v1/movement/{from}/{to}.json")
    receipt: str = Field(default="", description="SEKO documents goods received by GUID only, never by time")

    @field_validator("*")
    @classmethod
    def _has_both_times(cls, value: str) -> str:
        if value and (
            value.count("{from}") != 1 or value.count("{to}") != 1 or value.startswith("/") or "://" in value
        ):
            raise invalid(
                "path", 'is no path below url with {from} and {to}; write "stock/v1/movement/{from}/{to}.json"'
            )
        return value


def _safe_url(value: str, info: ValidationInfo) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid("url", "is not the hub's address; write https://hub.supplystream.com/hub/api")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise invalid("url", "carries more than an address; the key belongs in api_key")
    if is_bare_http(parts, info):
        raise invalid("plain_http", "would send the key unencrypted; use https://")
    return value.rstrip("/")


HubUrl = Annotated[str, AfterValidator(_safe_url)]
CancelCode = Literal["001", "002", "003", "004", "005", "006"]


class OutPathSettings(Settings):
    """Where iHub takes what, below `out.url`."""

    order: str = Field(default="salesorders/v4/websubmit")
    cancel: str = Field(default="salesorders/v3/{number}/cancel", pattern=r"\{number\}")
    status: str = Field(
        default="salesorders/v1/{guid}/status.json",
        description="Where an order is looked for by our own id; empty: nowhere",
        pattern=r"^$|\{guid\}",
    )
    product_submit: str = Field(default="products/v4/submit")
    product_update: str = Field(default="products/v4/update")


class SekoOutSettings(OutSettings):
    """What SEKO receives: orders and items. Its stock is its own, and what was dispatched it says itself."""

    url: HubUrl = Field(default="https://ihub.supplystream.com:8081/api", description="Below it `paths`")
    api_key: Secret | None = Field(default=None, description="Key of iHub; none: the connector's")
    key_parameter: Literal["api_key", "token"] = Field(default="api_key", description="Its name in the query")
    paths: OutPathSettings = OutPathSettings()
    request_root: bool = Field(default=False, description="Whether a body stands under Request, as in v1")
    order_number: str = Field(
        default="{order_id}",
        description="SalesOrderNumber, of {order_id}, {order_number}, {doc_entry}; unique at SEKO for ever",
    )
    order_type: str = Field(default="Web", description="OrderType of every order")
    couriers: dict[str, str] = Field(
        default_factory=dict, description='carrier, or carrier/service, = SEKO\'s names of them, as "DPD/Next Day"'
    )
    cancel_codes: dict[str, CancelCode] = Field(
        default={"cancelled": "001", "not_released": "002"}, description="Why an order is withdrawn = SEKO's code"
    )
    cancel_code: CancelCode = Field(default="006", description="Of reasons that cancel_codes does not name")
    transliterate: bool = Field(default=False, description="Names, addresses and texts in ASCII: Zoë is Zoe")
    sku_pattern: str = Field(default="", description="Pattern that the whole of each sku must match; empty: any")
    product: dict[str, bool | int | float | str] = Field(
        default_factory=dict,
        description="Fields of each product that B1 says nothing of; GrossWeight and GrossWeightUOM are needed",
    )
    supplier: str = Field(default="", description="SupplierCode of each product")

    @field_validator("order_number")
    @classmethod
    def _names_an_order(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]*\{(order_id|order_number|doc_entry)\}[A-Za-z0-9._-]*", value):
            raise invalid("order_number", 'names no order; write "{order_id}", and letters, digits, . _ - around it')
        return value

    @field_validator("sku_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        return _pattern(value)

    @model_validator(mode="after")
    def _fits_seko(self) -> Self:
        for name, why in (
            ("stock", "SEKO's stock is its own"),
            ("tracking", "what SEKO dispatched it knows"),
            ("prices", "SEKO keeps no prices"),
        ):
            if getattr(self, name):
                raise invalid("out", f"{name} is set, and {why}; take it out")
        if self.items and not {"GrossWeight", "GrossWeightUOM"} <= self.product.keys():
            raise invalid(
                "product",
                "SEKO takes no product without a weight, and B1's is not read; write "
                'product = { GrossWeight = 0.1, GrossWeightUOM = "KG" }',
            )
        return self


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error:
        raise invalid("pattern", 'is no regular expression; write one such as "TR-.*"') from None
    return value


class SekoSettings(ConnectorSettings):
    """How SEKO is read. `locations` maps facilities (DC codes) to WhsCodes, one to one; every `*_s` is in seconds."""

    kind: Literal["seko"] = Field(description="seko")
    out: SekoOutSettings | None = Field(default=None, description="What it receives; none: nothing")

    push_secrets: Annotated[tuple[Secret, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=2, description="What iHub sends with each push, or two while it rotates; none: no pushes"
    )
    push_auth: Literal["header", "basic"] = Field(
        default="header", description="header: push_header holds the secret; basic: the secret is user:password"
    )
    push_header: str = Field(default="X-Api-Key", description="Header of the key", pattern=r"^[A-Za-z0-9-]{1,100}$")
    push_path: str = Field(default="", description="Its path at our webhook server; empty: / and the connector's name")

    url: HubUrl = Field(default="https://hub.supplystream.com/hub/api", description="Below it the paths of the polls")
    api_key: Secret | None = Field(default=None, description="Key of the hub's API; none: nothing is polled")
    key_parameter: Literal["token", "api_key"] = Field(default="token", description="Its name in the query")
    paths: PathSettings = PathSettings()
    poll_interval_s: float = Field(
        default=900, gt=0, le=86_400, description="Between two looks at the hub; a push, or a gap in its numbers, wakes"
    )
    overlap_s: float = Field(
        default=7200, ge=0, le=172_800, description="How far each look goes back: three tries of a push take 45 minutes"
    )
    slice_s: float = Field(default=86_400, ge=60, le=2_678_400, description="The longest time asked for at once")
    first_look_s: float = Field(
        default=86_400, ge=0, le=31_536_000, description="How far the first look goes back where start_at is not set"
    )
    timeout_s: float = Field(default=30, gt=0, le=300, description="For one answer")
    gap_patience_s: float = Field(
        default=3600, ge=0, le=604_800, description="How long a missing sequence number is waited and looked for"
    )

    integration_id: str = Field(default="", description="Our client code: a message of another one is refused")
    dcs: Names = Field(default=(), description="DC codes to poll; none: those that locations names")
    order_id: OrderField | None = Field(
        default=None,
        description="Which of SEKO's fields is the order id of order_source; none: SalesOrderNumber, and where we load "
        "the orders SalesOrderReference",
    )
    shipment_id: Literal["DispatchId", "DispatchNumber"] = Field(
        default="DispatchId", description="Which of SEKO's fields makes a dispatch one"
    )
    line_ids: Literal["none", "line_number"] = Field(
        default="none", description="line_number: SEKO's LineNumber is the order's line_id; none: lines go by sku"
    )
    short_dispatch: Literal["leave", "cancel_rest"] = Field(
        default="leave", description="A short dispatch is final at SEKO; cancel_rest: it closes the order's rest in B1"
    )
    fields: dict[Service, dict[str, str]] = Field(
        default_factory=dict, description="By service: our name of a field = SEKO's, where it is none of those we know"
    )
    sellable_types: Names = Field(
        default=("Available Stock", "Available", "Web Stock"),
        description="Location types that are the facility's own warehouse, under the DC code",
    )
    segregated_types: Names = Field(
        default=(), description="Location types with a warehouse of their own: DC code / type, as DCCL01/Quarantine"
    )
    held_types: Names = Field(
        default=("Quarantine", "Query", "QC", "Returns", "Cross Dock"),
        description="Types not in B1: what goes there leaves, what comes from there arrives; by default what the "
        "others name is out",
    )
    received_into: str = Field(
        default="Available Stock", description="The location type that received goods count in, before any movement"
    )
    returned_into: str = Field(default="Available Stock", description="The same of goods that a customer sent back")
    known_deliveries: str = Field(
        default="", description="Pattern of delivery numbers whose goods B1 has: cancelled orders put back, transfers"
    )
    reasons: dict[str, Reason] = Field(default_factory=dict, description="SEKO's reason code = ours")
    default_reason: Reason = Field(default="other", description="Of codes that reasons does not name")
    hold_reasons: dict[str, Reason] = Field(
        default_factory=dict, description="Held location type = reason of what goes there or comes from there"
    )

    compare_nightly: bool = Field(default=True, description="Compare the nightly stock with the movements that came")
    timezone: str = Field(default="Europe/London", description="The facilities' own: their night ends at its midnight")
    summary_columns: dict[str, str] = Field(
        default={
            "QuantityOnHand": "Available Stock",
            "QuantityInAllocated": "Available Stock",
            "QuantityInPick": "Available Stock",
            "QuantityInPutAway": "",
            "QuantityInQuarantine": "Quarantine",
            "QuantityInReturns": "Returns",
            "QuantityInCrossDock": "Cross Dock",
        },
        description='Column of the nightly stock = location type it counts to; "": received_into',
    )

    #: Of this object alone: the webhook server and the source of one process are made with the same settings.
    _journal: PushJournal = PrivateAttr(default_factory=PushJournal)

    @property
    def journal(self) -> PushJournal:
        """What was pushed, for the source in the same process."""
        return self._journal

    def spelling(self, service: str, field: str, usual: str) -> str:
        """SEKO's name of a field of ours, case-folded."""
        return next(
            (named.get(field, usual) for name, named in self.fields.items() if name == service), usual
        ).casefold()

    @property
    def dc_codes(self) -> tuple[str, ...]:
        return self.dcs or tuple(sorted({name.partition("/")[0] for name in self.locations}))

    @property
    def order_field(self) -> OrderField:
        """Which of SEKO's fields is the order's id; the number of one that we load may have a revision."""
        is_loading = self.out is not None and self.out.orders and self.out.mode == "live"
        return self.order_id or ("SalesOrderReference" if is_loading else "SalesOrderNumber")

    @property
    def polled(self) -> tuple[Service, ...]:
        """The services that a look at the hub covers."""
        if self.api_key is None:
            return ()
        names: tuple[Service, ...] = ("dispatch", "receipt", "adjustment", "movement")
        return tuple(name for name in names if getattr(self.paths, name))

    @field_validator("locations")
    @classmethod
    def _one_to_one(cls, value: dict[str, str]) -> dict[str, str]:
        return one_to_one(value, "a facility")

    @field_validator("fields")
    @classmethod
    def _names_ours(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for service, names in value.items():
            known = FIELDS[service] - {"lines"}
            for name in names:
                if name not in known:
                    raise invalid(
                        "fields", f"{service}.{name} is no field of ours; write one of: {', '.join(sorted(known))}"
                    )
        return value

    @field_validator("known_deliveries")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        return _pattern(value)

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, LookupError):
            raise invalid("timezone", "is no time zone; write one of the IANA names, such as Europe/London") from None
        return name

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.slice_s < 2 * self.overlap_s:
            raise invalid(
                "slice", "slice_s is below twice overlap_s, so that a look would hardly move on; make it longer"
            )
        if self.out is not None and self.out.api_key is None and self.api_key is None:
            raise invalid("no_key", "neither api_key nor out.api_key is set, and out needs one; set it")
        if not self.push_secrets and not self.polled and self.out is None:
            raise invalid(
                "no_input", "neither push_secrets nor api_key is set, so nothing would be read; set one, best both"
            )
        if self.push_auth == "basic" and any(
            each.is_resolved and ":" not in each.reveal() for each in self.push_secrets
        ):
            raise invalid("basic", "push_auth is basic, and a secret has no colon; write user:password")
        by_name: dict[str, str] = {}
        for label in ("sellable_types", "segregated_types", "held_types"):
            for each in getattr(self, label):
                # What is held by default is so only where nothing else is said of it.
                if by_name.setdefault(each.casefold(), label) != label and label in self.model_fields_set:
                    raise invalid("types", f"{each} is in {by_name[each.casefold()]} and in {label}; keep it in one")
        for label, names in (
            ("received_into", [self.received_into]),
            ("returned_into", [self.returned_into]),
            ("summary_columns", [each for each in self.summary_columns.values() if each]),
        ):
            for each in names:
                if each.casefold() not in by_name:
                    raise invalid(
                        "types",
                        f"{label} names {each}, which is in none of sellable_types, segregated_types and held_types; "
                        "add it",
                    )
        return self
