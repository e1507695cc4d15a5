"""`[notices]`: who is told what, and by which way. Durations are seconds."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from connectors.base.settings import Secret, Settings, folder_of, invalid, is_bare_http, is_loopback, listed
from schemas.letters import REASONS
from schemas.notices import KINDS

OWNERS = tuple(sorted({reason.owner for reason in REASONS.values()}))
_ADDRESS = re.compile(r"[^@\s<>\",;]{1,64}@[^@\s<>\",;]{1,190}")


def _url(value: object) -> object:
    """An address may hold a token, so it may be given by reference as well; in either form it is shown to nobody."""
    return Secret("webhook", value) if isinstance(value, str) and "://" in value else value


class SmtpSettings(Settings):
    host: str = Field(min_length=1, description="The mail server")
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="tls: from the first byte (port 465); none: on this machine only"
    )
    username: str | None = None
    password: Secret | None = None
    sender: str = Field(description="The address that mail comes from")
    cafile: Path | None = Field(default=None, description="CA certificates (PEM); none: the system's")

    @field_validator("sender")
    @classmethod
    def _check_sender(cls, sender: str) -> str:
        return _address(sender)

    @field_validator("cafile")
    @classmethod
    def _find_file(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and not (folder_of(info) / file).is_file():
            raise invalid("no_file", "names no file; put the file there, or fix the path")
        return None if file is None else folder_of(info) / file

    @model_validator(mode="after")
    def _check_security(self) -> "SmtpSettings":
        if self.security == "none" and not is_loopback(self.host):
            raise invalid("smtp_plain", 'security is "none" off this machine; write "starttls" or "tls"')
        if (self.username is None) != (self.password is None):
            raise invalid("smtp_half", "username and password go together; add the other, or leave out both")
        return self


class NoticeTargetSettings(Settings):
    """One `[notices.targets.<name>]`: a webhook or addresses, and which notices go there."""

    webhook: Annotated[Secret | None, BeforeValidator(_url)] = Field(
        default=None, description="https://..., or env:NAME or file:path where the address itself is a secret"
    )
    secret: Secret | None = Field(default=None, description="Signs what goes to the webhook")
    email: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(default=(), description="Addresses")
    owners: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="Whose notices; none: everybody's"
    )
    kinds: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="dead, parked, released ...; none: every kind"
    )
    companies: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="Of which companies; none: of all"
    )
    severity: Literal["info", "warning", "critical"] = Field(default="info", description="This and above")

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, webhook: Secret | None, info: ValidationInfo) -> Secret | None:
        if webhook is None or not webhook.is_resolved:
            return webhook
        try:
            url = urlsplit(webhook.reveal())
            usable = url.scheme in ("http", "https") and bool(url.hostname)
        except ValueError:
            usable = False
        if not usable:
            raise invalid("webhook", "is no address; write https://host/path")
        if is_bare_http(url, info):
            raise invalid("webhook_plain", "is http:// off this machine; write https://")
        return webhook

    @field_validator("email")
    @classmethod
    def _check_email(cls, email: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_address(each) for each in email)

    @field_validator("owners")
    @classmethod
    def _check_owners(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        return _known("an owner", owners, OWNERS)

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return _known("a kind of notice", kinds, KINDS)

    @model_validator(mode="after")
    def _check_way(self) -> "NoticeTargetSettings":
        if (self.webhook is None) == (not self.email):
            raise invalid("target_way", "has a webhook or addresses, one of the two; write webhook or email")
        if self.secret is not None and self.webhook is None:
            raise invalid("target_secret", "has a secret and no webhook to sign for; take the secret out")
        return self


class NoticesSettings(Settings):
    """`[notices]`."""

    group_wait_s: float = Field(default=30, ge=0, le=3600, description="How long a first notice waits for more like it")
    group_interval_s: float = Field(default=300, ge=1, le=86_400, description="Between two messages of one group")
    blocked_after_s: float = Field(
        default=900, ge=60, le=86_400, description="How long a dead letter blocks others before that is a notice"
    )
    give_up_after_s: float = Field(
        default=21_600,
        ge=60,
        le=604_800,
        description="How long a message is tried; a notice older than that is not sent",
    )
    smtp: SmtpSettings | None = None
    # Each one's position rides in the commit's metadata, of which Kafka takes 4 KiB
    targets: dict[str, NoticeTargetSettings] = Field(default_factory=dict, max_length=32, description="By name")

    @field_validator("targets")
    @classmethod
    def _check_names(cls, targets: dict[str, NoticeTargetSettings]) -> dict[str, NoticeTargetSettings]:
        for name in targets:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}", name):
                raise invalid("target_name", "has a target whose name we cannot use; letters, digits, - and _")
        return targets

    @model_validator(mode="after")
    def _check_smtp(self) -> "NoticesSettings":
        if self.smtp is None and any(target.email for target in self.targets.values()):
            raise invalid("no_smtp", "has addresses and no mail server; add [notices.smtp]")
        return self


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise invalid("address", "is no e-mail address; write name@host")
    return text


def _known(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if set(given) - set(known):
        raise invalid("unknown_name", f"names what is not {what}; write one of: {', '.join(known)}")
    return given
