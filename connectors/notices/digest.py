"""What a target is sent: notices that are alike, counted, with examples, as JSON and as a mail. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from schemas.records import Notice

_EXAMPLE_FIELDS = ("id", "text", "next_step", "order_id", "sku", "letter", "dedupe_key")
_EVENT_KINDS = frozenset({"dead", "parked", "released", "replayed", "discarded", "blocked"})


@dataclass(frozen=True, slots=True)
class NoticeGroup:
    """Notices of one kind, reason, owner and company.

    Attributes:
        count: How many there are.
        first_at: When the first one was.
        last_at: When the last one was.
        examples: A few of them, the first ones.
    """

    kind: str
    severity: str
    company: str
    connector: str | None
    owner: str
    reason: str | None
    count: int
    first_at: datetime
    last_at: datetime
    examples: tuple[Notice, ...]

    @property
    def title(self) -> str:
        what = f"{self.count:,} {self.kind.replace('_', ' ')}" if self.count > 1 else self.kind.replace("_", " ")
        why = f": {self.reason}" if self.reason else f": {self.connector}" if self.connector else ""
        return _line(f"{self.company or 'no company'}: {what}{why}", 300)


@dataclass(frozen=True, slots=True)
class DigestMessage:
    """One message; `id` is made of the notices in it, so that the same message sent again has the same."""

    id: str
    groups: tuple[NoticeGroup, ...]

    def as_json(self) -> bytes:
        return json.dumps({"id": self.id, "groups": [_as_json(group) for group in self.groups]}).encode()

    @property
    def subject(self) -> str:
        """One line: the first group, and how many more there are."""
        more = f" (and {len(self.groups) - 1} more)" if len(self.groups) > 1 else ""
        return _line(f"[streams] {self.groups[0].title}{more}", 200)

    @property
    def text(self) -> str:
        """The mail's body, plain text."""
        return "\n\n".join(_paragraph(group) for group in self.groups) + "\n"


def _as_json(group: NoticeGroup) -> dict[str, object]:
    shown = {name: value for name, value in asdict(group).items() if name != "examples"}
    return {
        **shown,
        "first_at": group.first_at.isoformat(),
        "last_at": group.last_at.isoformat(),
        "examples": [
            {**{name: getattr(notice, name) for name in _EXAMPLE_FIELDS}, "at": notice.at.isoformat()}
            for notice in group.examples
        ],
    }


def _paragraph(group: NoticeGroup) -> str:
    since = group.first_at.isoformat(timespec="seconds")
    lines = [f"{group.title} ({group.severity}; {group.owner} acts; since {since})"]
    for notice in group.examples:
        named = [
            f"{what} {value}"
            for what, value in (("order", notice.order_id), ("sku", notice.sku), ("dead letter", notice.letter))
            if value
        ]
        lines.append(_line(f"- {', '.join(named)}{': ' if named else ''}{notice.text}", 1_000))
    if group.count > len(group.examples):
        lines.append(f"- ... and {group.count - len(group.examples):,} more")
    steps = dict.fromkeys(notice.next_step for notice in group.examples if notice.next_step)
    lines += [_line(f"What helps: {step}", 1_000) for step in steps]
    if group.kind in _EVENT_KINDS:
        lines.append(f"Look: streams dlq group --owner '{group.owner}'")
    return "\n".join(lines)


def _line(text: str, cap: int) -> str:
    """One line of bounded length, whatever a shop or B1 has put into it."""
    visible = "".join(each if each.isprintable() else " " for each in text)
    return visible if len(visible) <= cap else f"{visible[:cap]}..."


def severest(groups: Sequence[NoticeGroup]) -> list[NoticeGroup]:
    """The order in which they are read: critical first, then the most."""
    order = ("critical", "warning", "info")
    return sorted(groups, key=lambda group: (order.index(group.severity), -group.count, group.title))
