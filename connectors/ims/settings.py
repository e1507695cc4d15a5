"""`[connectors.<name>]` with `kind = "ims"`."""

import re
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from connectors.base.settings import ConnectorSettings, OutSettings, Secret, folder_of, invalid
from connectors.ims.address import InboxAddress, an_inbox, an_outbox
from connectors.ims.mappings import CsvSettings, JsonSettings, MappingSettings

#: A look at a server costs it a connection's worth of work; a folder costs nothing.
REMOTE_POLL_S = 30
#: Which settings of an inbox are for which kind.
_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "known_hosts": ("sftp",),
    "host_key": ("sftp",),
    "key_file": ("sftp",),
    "key_passphrase": ("sftp",),
    "password": ("sftp", "https"),
    "token": ("https",),
    "ca_file": ("https",),
    "done": ("https",),
    "max_file_bytes": ("sftp", "https"),
}


def _shown(inbox: Path | InboxAddress | None) -> str | None:
    return None if inbox is None else str(inbox)


class ImsOutSettings(OutSettings):
    """Where what B1 says is written to."""

    outbox: Annotated[Path, PlainValidator(an_outbox), PlainSerializer(str, when_used="json")] = Field(
        description="The folder that gets a JSON-lines file for each thing that B1 says; of this connector alone"
    )


# `json` is what one writes in the file; that pydantic has a deprecated method of that name is no reason to call it
# something else there.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", 'Field name "json"', UserWarning)

    class ImsSettings(ConnectorSettings):
        """Where the files are, how one gets at them, and what those mean that are not JSON lines."""

        kind: Literal["ims"] = Field(description="ims")
        out: ImsOutSettings | None = Field(default=None, description="What it receives; none: nothing")
        inbox: Annotated[
            Path | InboxAddress | None, PlainValidator(an_inbox), PlainSerializer(_shown, when_used="json")
        ] = Field(
            default=None,
            validate_default=True,
            description="The folder that the inventory system writes files into, or sftp://user@host/path, "
            "https://host/path/; none: it only receives",
        )
        csv: dict[str, CsvSettings] = Field(
            default_factory=dict, description="Mappings of CSV files, by a name of yours"
        )
        json: dict[str, JsonSettings] = Field(  # type: ignore[assignment]  # over pydantic's deprecated method
            default_factory=dict, description="Mappings of JSON documents, by a name of yours"
        )
        levels_include_dispatches: bool | None = Field(
            default=None,
            description="true: a count falls with each dispatch too, and their units are taken off its change, "
            "or B1 would "
            "book them twice; false: counts know nothing of dispatches. Demanded where one warehouse has both",
        )
        known_hosts: Path | None = Field(
            default=None, description="sftp: a file with the server's key, as ssh-keyscan writes it, once checked"
        )
        host_key: str | None = Field(
            default=None,
            description="sftp: the fingerprint of the server's key instead, SHA256:... as ssh-keygen -l has it",
        )
        key_file: Secret | None = Field(default=None, description="sftp: our private key, as file:path or env:NAME")
        key_passphrase: Secret | None = Field(default=None, description="sftp: what opens key_file")
        password: Secret | None = Field(
            default=None, description="sftp, or https with user@ in the URL: as env:NAME or file:path"
        )
        token: Secret | None = Field(default=None, description="https: a bearer token, as env:NAME or file:path")
        ca_file: Path | None = Field(default=None, description="https: CA certificates (PEM); none: the usual ones")
        done: Literal["keep", "delete"] = Field(
            default="keep", description="https: keep a file that is read, and remember it; or delete it at the server"
        )
        max_file_bytes: int = Field(
            default=256 * 1024 * 1024,
            ge=1,
            le=16 * 1024 * 1024 * 1024,
            description="sftp, https: a larger file is not fetched, and the connector waits until somebody acts",
        )

        @model_validator(mode="before")
        @classmethod
        def _looks_less_often(cls, table: Any) -> Any:
            is_remote = isinstance(table, Mapping) and "://" in str(table.get("inbox", ""))
            return {"poll_interval_s": REMOTE_POLL_S, **table} if is_remote else table

        @field_validator("inbox")
        @classmethod
        def _is_needed(cls, inbox: Path | InboxAddress | None, info: ValidationInfo) -> Path | InboxAddress | None:
            # A faulty `out` is not in `data`; its own problem is told, and not one of the inbox beside it.
            if inbox is None and info.data.get("out", True) is None:
                raise PydanticKnownError("missing")
            return inbox

        @field_validator("known_hosts", "ca_file")
        @classmethod
        def _is_there(cls, file: Path | None, info: ValidationInfo) -> Path | None:
            if file is None:
                return None
            if not (folder_of(info) / file).is_file():
                raise invalid("no_file", "names no file; put the file there, or fix the path")
            return folder_of(info) / file

        @field_validator("host_key")
        @classmethod
        def _is_a_fingerprint(cls, key: str | None) -> str | None:
            if key is not None and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", key):
                raise invalid(
                    "host_key", "is no fingerprint; write SHA256: and 43 characters, as ssh-keygen -l shows it"
                )
            return key.rstrip("=") if key is not None else None

        @model_validator(mode="after")
        def _fits_together(self) -> Self:
            scheme = self.inbox.scheme if isinstance(self.inbox, InboxAddress) else ""
            scheme = "https" if scheme == "http" else scheme
            for name, schemes in _ONLY_FOR.items():
                if name in self.model_fields_set and getattr(self, name) is not None and scheme not in schemes:
                    kinds = " and ".join(f"{each}://" for each in schemes)
                    raise invalid("inbox_settings", f"{name} is for an inbox at {kinds}; take it out")
            match self.inbox:
                case InboxAddress(scheme="sftp", user=user):
                    self._check_sftp(user)
                case InboxAddress(user=user):
                    if (user is None) != (self.password is None):
                        raise invalid(
                            "password", "a password goes with a user; write https://user@host/path/ and password"
                        )
                    if self.token is not None and self.password is not None:
                        raise invalid("token", "token and password are both there; keep the one that the server wants")
                case _:
                    pass
            return self

        def maps(self, event: str, field: str | None = None) -> bool:
            """Whether a mapping makes such events, with such a field."""
            mappings = [*self.csv.values(), *self.json.values()]
            return any(each.event == event and (field is None or field in each.mapped) for each in mappings)

        def _check_sftp(self, user: str | None) -> None:
            if user is None:
                raise invalid("inbox", "inbox names no user; write sftp://user@host/path")
            if (self.known_hosts is None) == (self.host_key is None):
                raise invalid(
                    "host_key",
                    "the server's key must be known beforehand, by one of known_hosts and host_key; "
                    "ask its owner for the fingerprint (ssh-keygen -l) and write it as host_key",
                )
            if self.password is None and self.key_file is None:
                raise invalid(
                    "password", 'nothing to sign on with; add key_file = "file:path" or password = "env:NAME"'
                )
            if self.key_passphrase is not None and self.key_file is None:
                raise invalid("key_passphrase", "key_passphrase opens nothing; add key_file, or take it out")


def mapping_of(name: str, settings: ImsSettings) -> MappingSettings | None:
    """The mapping that a file is read by, by its name; None: it is JSON lines, or not ours."""
    if name.endswith((".jsonl", ".part")):
        return None
    if name.endswith(".json"):
        return next((each for each in settings.json.values() if fnmatchcase(name, each.files)), None)
    return next((each for each in settings.csv.values() if fnmatchcase(name, each.files)), None)
