"""Settings that every connector has, and the type that keeps a secret."""

import ipaddress
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, SupportsIndex
from urllib.parse import SplitResult

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MASK = "***"


def folder_of(info: ValidationInfo) -> Path:
    """The folder that relative paths start from: the configuration file's.

    Whoever validates settings gives it as `context={"folder": Path, "environ": Mapping}`; without it, the working
    folder and the process's environment are taken.
    """
    folder = (info.context or {}).get("folder")
    return Path(folder) if folder is not None else Path()


def _environ_of(info: ValidationInfo) -> Mapping[str, str]:
    environ: Mapping[str, str] | None = (info.context or {}).get("environ")
    return os.environ if environ is None else environ


class Secret:
    """A secret, given by reference (`env:NAME` or `file:path`), that shows itself to nobody who does not ask.

    `reveal` is the only way to the value; repr, str, format, pickle and JSON show `***`. The reference is resolved when
    the settings are validated, so that a missing one is found before anything starts; where the settings are read by
    somebody who has no use for it (`context={"secrets": False}`), it is not.
    """

    __slots__ = ("_value", "reference")

    def __init__(self, reference: str, value: str | None) -> None:
        self.reference = reference
        self._value = value

    @property
    def is_resolved(self) -> bool:
        return self._value is not None

    def reveal(self) -> str:
        """The value.

        Raises:
            LookupError: It was not resolved: a mistake of ours.
        """
        if self._value is None:
            raise LookupError("the settings were read without their secrets")
        return self._value

    @classmethod
    def resolve(cls, reference: str, folder: Path, environ: Mapping[str, str], *, needed: bool = True) -> Self:
        """Read what the reference names, where it is needed; the last line break of a file is not part of the secret.

        Raises:
            PydanticCustomError: It is not a reference, or names nothing.
        """
        kind, _, name = reference.partition(":")
        if kind in ("env", "file") and name and not needed:
            return cls(reference, None)
        if kind == "env" and name:
            value = environ.get(name, "")
            if not value:
                raise PydanticCustomError(
                    "secret_missing", "the environment variable {name} is not set; set it to the secret", {"name": name}
                )
            return cls(reference, value)
        if kind == "file" and name:
            try:
                value = (folder / name).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
            except (OSError, ValueError):
                value = ""
            if not value:
                raise PydanticCustomError(
                    "secret_missing",
                    "the file {name} cannot be read or is empty; put the secret there, as text, or fix its rights",
                    {"name": name},
                )
            return cls(reference, value)
        raise PydanticCustomError(
            "secret_literal",
            "a secret is never written here; write env:NAME or file:path, and the secret into that variable or file",
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK, when_used="json"),
        )

    @classmethod
    def _validate(cls, value: object, info: core_schema.ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        reference, needed = value if isinstance(value, str) else "", (info.context or {}).get("secrets", True)
        return cls.resolve(reference, folder_of(info), _environ_of(info), needed=needed)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[object, ...]:
        return str, (MASK,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self.reference, self._value) == (other.reference, other._value)

    def __hash__(self) -> int:
        return hash(self.reference)


class Settings(BaseModel):
    """The ground of all settings: frozen, no unknown keys, and no input value in a message (it may be a secret)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class OrdersSettings(Settings):
    warehouse: str | None = Field(default=None, description="WhsCode for order lines that name no location")


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def listed(value: object) -> object:
    """One text as a list of one, for lists that may be written without brackets."""
    return (value,) if isinstance(value, str) else value


def invalid(kind: str, text: str) -> PydanticCustomError:
    """What a check of settings raises; the text is shown as it stands."""
    # A template in braces would be filled in by pydantic; our messages are finished text.
    return PydanticCustomError(kind, "{text}", {"text": text})


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: an IP address without brackets, or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_bare_http(url: SplitResult, info: ValidationInfo) -> bool:
    """Whether a URL is `http://` off this machine, where everybody could read what is sent.

    In a local setup, `context={"local": True}`, none is.
    """
    is_local = (info.context or {}).get("local")
    return url.scheme == "http" and not (is_local or is_loopback(url.hostname or ""))


def one_to_one(locations: dict[str, str], what: str) -> dict[str, str]:
    """The locations as they are, once no two of them are the same WhsCode.

    Args:
        locations: The connector's own names = WhsCode.
        what: What such a name stands for there, as "a facility".

    Raises:
        PydanticCustomError: Two are.
    """
    first: dict[str, str] = {}
    for name, code in locations.items():
        if first.setdefault(code, name) != name:
            raise invalid("twins", f"{first[code]} and {name} are both {code}; {what} is one WhsCode, one to one")
    return locations


class OutSettings(Settings):
    """`[connectors.<name>.out]`: what the connector receives (contract "Out of B1"); kinds add what they need."""

    mode: Literal["live", "shadow", "off"] = Field(
        default="live", description="shadow: compute, compare and report, and write nothing"
    )
    stock: bool = Field(
        default=False, description="Sellable stock of the warehouses whose sellable_on names this connector"
    )
    levels_by_location: bool = Field(default=False, description="One level per warehouse instead of the sum")
    interval_s: float = Field(
        default=120, ge=1, le=86_400, description="At most one level of a sku in it; a fall to zero goes at once"
    )
    buffer: Decimal = Field(default=Decimal(0), ge=0, description="Units of each sku that are kept back")
    reserves: bool = Field(
        default=True,
        description="The channel takes its own open orders off the figure itself; false: they are taken off here",
    )
    tracking: bool = Field(default=False, description="Deliveries of this connector's orders, with tracking numbers")
    notify_customer: bool = Field(default=True, description="Whether the channel writes to the customer then")
    prices: int | None = Field(default=None, ge=1, description="A list of price_lists; none: no prices")
    items: bool = Field(default=False, description="Item master data")
    orders: bool = Field(
        default=False, description="Released orders whose lines leave from this connector's warehouses"
    )

    @property
    def is_on(self) -> bool:
        """Whether anything goes out, or would."""
        return self.mode != "off"


class ConnectorSettings(Settings):
    """One `[connectors.<name>]`; each kind has a subclass with what it needs beside this."""

    kind: str = Field(description="A row of connectors/registry.py")
    company: str = Field(description="The company it feeds, as in [companies.<name>]")
    enabled: bool = Field(
        default=True, description="false: read no more, but keep its name, locations and orders known to the pipeline"
    )
    poll_interval_s: float = Field(
        default=1, gt=0, le=86_400, description="Seconds between two looks at an idle source"
    )
    start_at: Annotated[AwareDatetime | None, BeforeValidator(_empty_is_none)] = Field(
        default=None, description="Events that occurred before it end as no_op"
    )
    order_source: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="Connectors whose order ids it names, searched in order; none: itself"
    )
    locations: dict[str, str] = Field(default_factory=dict, description="Its own names of places = WhsCode")
    orders: OrdersSettings = OrdersSettings()
    out: OutSettings | None = Field(default=None, description="What it receives; none: nothing")
