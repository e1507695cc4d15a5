"""`[connectors.<name>]` with `kind = "seko"`."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from connectors.base.settings import ConnectorSettings, Secret, Settings, invalid, is_bare_http, listed, one_to_one
from connectors.seko.journal import PushJournal
from connectors.seko.records import FIELDS

Service = Literal["dispatch", "receipt", "adjustment", "movement", "summary"]
Reason = Literal["receipt", "return", "damaged", "lost", "found", "count", "other"]


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


class SekoSettings(ConnectorSettings):
    """How SEKO is read. `locations` maps facilities (DC codes) to WhsCodes, one to one; every `*_s` is in seconds."""

    kind: Literal["seko"] = Field(description="seko")

    push_secrets: Annotated[tuple[Secret, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=2, description="What iHub sends with each push, or two while it rotates; none: no pushes"
    )
    push_auth: Literal["header", "basic"] = Field(
        default="header", description="header: push_header holds the secret; basic: the secret is user:password"
    )
    push_header: str = Field(default="X-Api-Key", description="Header of the key", pattern=r"^[A-Za-z0-9-]{1,100}$")
    push_path: str = Field(default="", description="Its path at our webhook server; empty: / and the connector's name")

    url: str = Field(default="https://hub.supplystream.com/hub/api", description="Below it the paths of the polls")
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
    order_id: Literal["SalesOrderNumber", "SalesOrderReference", "InterfaceRecordId"] = Field(
        default="SalesOrderNumber", description="Which of SEKO's fields is the order id of order_source"
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
    def polled(self) -> tuple[Service, ...]:
        """The services that a look at the hub covers."""
        if self.api_key is None:
            return ()
        names: tuple[Service, ...] = ("dispatch", "receipt", "adjustment", "movement")
        return tuple(name for name in names if getattr(self.paths, name))

    @field_validator("url")
    @classmethod
    def _safe_url(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise invalid("url", "is not the hub's address; write https://hub.supplystream.com/hub/api")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise invalid("url", "carries more than an address; the key belongs in api_key")
        if is_bare_http(parts, info):
            raise invalid("plain_http", "would send the key unencrypted; use https://")
        return value.rstrip("/")

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
        try:
            re.compile(value)
        except re.error:
            raise invalid("pattern", 'is no regular expression; write one such as "TR-.*"') from None
        return value

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
        if not self.push_secrets and not self.polled:
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
