"""The sections of `streams.toml` that belong to no company and no connector."""

import re
import ssl
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from connectors.base.settings import ConnectorSettings, Secret, Settings, folder_of
from connectors.notices.settings import NoticesSettings
from connectors.sap_b1.settings import CompanySettings
from connectors.webhooks.settings import WebhookSettings
from schemas.letters import REASONS

DEFAULT_METRICS_PORT = 9464
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


class KafkaSettings(Settings):
    """`[kafka]`; the names of the security settings are Kafka's own."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", description="host:port, separated by commas")
    topic_prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9-]{0,63})?$",
        description="Put before every topic and the group, e.g. acme-",
    )
    # The place reached in each partition rides in the commit's metadata, of which Kafka takes 4 KiB
    partitions: int = Field(default=12, ge=1, le=48, description="Partitions of the facts; never changed")
    replication_factor: int = Field(default=3, ge=1, le=9, description="Replicas of each topic")
    company_partitions: int = Field(
        default=16, ge=1, le=1000, description="Partitions of the companies' queues; never changed"
    )
    local: bool = Field(
        default=False, description="A demo or development setup: one replica, plaintext and http:// are accepted"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    ssl_cafile: Path | None = Field(default=None, description="CA certificates (PEM); none: the system's")
    ssl_certfile: Path | None = Field(default=None, description="Our own certificate (PEM), for mutual TLS")
    ssl_keyfile: Path | None = Field(default=None, description="Its key (PEM)")

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, servers: str) -> str:
        for server in servers.split(","):
            host, colon, port = server.strip().rpartition(":")
            if not (host and colon and port.isdigit() and 0 < int(port) < 65_536):
                raise PydanticCustomError("servers", "is not a list of host:port; write host:port, separated by commas")
        return ",".join(server.strip() for server in servers.split(","))

    @field_validator("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    @classmethod
    def _find_file(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None:
            return None
        found = folder_of(info) / file
        if not found.is_file():
            raise PydanticCustomError("no_file", "names no file; put the file there, or fix the path")
        return found

    def security(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka for encryption and sign-on, as `KafkaLog` takes them."""
        if self.security_protocol == "PLAINTEXT":
            return {}
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.ssl_certfile is not None:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            arguments["ssl_context"] = context
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password.reveal() if self.sasl_password else None
        return arguments


class SchemaRegistrySettings(Settings):
    url: str = Field(default="", description="A Confluent-compatible registry; empty: the embedded one")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise PydanticCustomError("url", "is not a URL; write https://host:port, or leave it empty")
        if urlsplit(url).password or urlsplit(url).username:
            raise PydanticCustomError("url_secret", "carries credentials; take them out of the URL")
        return url


class MetricsSettings(Settings):
    host: str = Field(default="127.0.0.1", description="The address that /metrics, /healthz and /readyz listen on")
    port: int = Field(default=DEFAULT_METRICS_PORT, ge=0, le=65_535, description="0: any free port")


class ScheduledReplaySettings(Settings):
    """One `[[replay.schedule]]`: dead letters of a reason that are replayed by themselves."""

    reason: str = Field(description="A reason of dead letters, as erp_refused")
    rate: float = Field(default=1.0, gt=0, description="Dead letters a second, at most")
    hours: str = Field(description='When, in the company\'s time zone: "20:00-06:00"; each is tried once in it')

    @field_validator("reason")
    @classmethod
    def _check_reason(cls, reason: str) -> str:
        if reason not in REASONS or REASONS[reason].ends_as != "dead":
            dead = ", ".join(row.name for row in REASONS.values() if row.ends_as == "dead")
            raise PydanticCustomError("reason", f"is no reason of dead letters; write one of: {dead}")
        return reason

    @field_validator("hours")
    @classmethod
    def _check_hours(cls, hours: str) -> str:
        if not _HOURS.fullmatch(hours):
            raise PydanticCustomError("hours", 'is no span of hours; write "20:00-06:00"')
        return hours

    def span_start(self, now: datetime) -> datetime | None:
        """When the span of hours has begun in which a moment lies; None: it lies in none.

        `now` is aware, in the time zone that the hours are meant in.
        """
        start, end = (time.fromisoformat(text) for text in self.hours.split("-"))
        today = now.replace(hour=start.hour, minute=start.minute, second=0, microsecond=0)
        begun = today if now.time() >= start else today - timedelta(days=1)
        length = timedelta(hours=end.hour - start.hour, minutes=end.minute - start.minute) % timedelta(days=1)
        return begun if now - begun < (length or timedelta(days=1)) else None


class ReplaySettings(Settings):
    """`[replay]`: replays without a person; none by default."""

    schedule: tuple[ScheduledReplaySettings, ...] = ()


class Sections(Settings):
    """What may stand at the top of the file; used for its keys only."""

    kafka: KafkaSettings
    schema_registry: SchemaRegistrySettings
    metrics: MetricsSettings
    webhooks: WebhookSettings
    notices: NoticesSettings
    replay: ReplaySettings
    companies: dict[str, CompanySettings]
    connectors: dict[str, ConnectorSettings]
