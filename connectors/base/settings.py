"""Settings that every connector has, and the type that keeps a secret."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self, SupportsIndex

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
    the settings are validated, so that a missing one is found before anything starts.
    """

    __slots__ = ("_value", "reference")

    def __init__(self, reference: str, value: str) -> None:
        self.reference = reference
        self._value = value

    def reveal(self) -> str:
        return self._value

    @classmethod
    def resolve(cls, reference: str, folder: Path, environ: Mapping[str, str]) -> Self:
        """Read what the reference names; the last line break of a file is not part of the secret.

        Raises:
            PydanticCustomError: It is not a reference, or names nothing.
        """
        kind, _, name = reference.partition(":")
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
                    "the file {name} cannot be read or is empty; put the secret there, as text, or mend its rights",
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
        return cls.resolve(value if isinstance(value, str) else "", folder_of(info), _environ_of(info))

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


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


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
    order_source: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=(), description="Connectors whose order ids it names, searched in order; none: itself"
    )
    locations: dict[str, str] = Field(default_factory=dict, description="Its own names of places = WhsCode")
    orders: OrdersSettings = OrdersSettings()
