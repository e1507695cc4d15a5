"""Why a company, a connector, a partition, a target of notices or Kafka does not work: the closed list, with who acts and what they do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ComponentKind = Literal["company", "connector", "partition", "target", "kafka"]
#: away: comes back by itself; held: a person must act, it is tried again slowly meanwhile.
State = Literal["ok", "away", "held"]
KINDS: tuple[ComponentKind, ...] = ("company", "connector", "partition", "target", "kafka")


@dataclass(frozen=True, slots=True)
class HoldReason:
    """One reason.

    Attributes:
        state: What a component with this reason is.
        words: Completes "acme: ...".
        owner: Who acts.
        remedy: What they do.
    """

    name: str
    state: Literal["away", "held"]
    words: str
    owner: str
    remedy: str


_ROWS = (
    HoldReason("password_refused", "held", "B1 refuses the password", "platform", "companies.*.password, or B1's lock on the account"),
    HoldReason("unreachable", "away", "B1 does not answer", "platform", "the Service Layer, its network and certificate"),
    HoldReason("not_installed", "held", "the claim table or a field is missing in B1", "platform", "streams doctor --install"),
    HoldReason("tier_too_low", "held", "B1 keeps doubles out less well than configured", "platform", "streams doctor"),
    HoldReason("token_refused", "held", "the vendor refuses our credentials", "integration", "the connector's credentials and their rights"),
    HoldReason("source_away", "away", "the source does not answer", "integration", "the vendor's status page, our network"),
    HoldReason("channel_away", "away", "the channel does not take what it is told", "integration", "the vendor's status page, our network; what the detail says"),
    HoldReason("source_refused", "held", "the source cannot be read", "integration", "what the detail says"),
    HoldReason("cursor_bad", "held", "the stored position cannot be used", "integration", "what the detail says"),
    HoldReason("log_lost", "held", "the log is another one, or lacks what was not read yet", "platform", "streams topics accept"),
    HoldReason("foreign_partition", "held", "the queue belongs to another company", "platform", "companies.*.partition as it was"),
    HoldReason("kafka_away", "away", "Kafka does not answer", "platform", "the brokers, and the way from here to them"),
    HoldReason("registry_away", "away", "the schema registry does not answer", "platform", "the schema registry"),
    HoldReason("target_down", "away", "the target of notices does not take them", "platform", "notices.targets, and the mail server or web server behind it"),
    HoldReason("failed", "held", "an error that nothing here can handle", "platform", "the log of the process"),
    HoldReason("not_running", "held", "no process has spoken of it", "platform", "streams up, worker or connect; its log"),
)  # fmt: skip
HOLD_REASONS: Mapping[str, HoldReason] = {row.name: row for row in _ROWS}
