"""What one target is told and when: groups of notices that are alike, and how far it has been told. Pure."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.notices.digest import DigestMessage, NoticeGroup, severest
from connectors.notices.settings import NoticeTargetSettings
from schemas.records import Notice

_EXAMPLES = 5
_ORDER = ("info", "warning", "critical")

_Key = tuple[str, str | None, str, str, str | None]


@dataclass(slots=True)
class _PendingGroup:
    """Notices of one key that wait; never more of each than the first ones, however many there are."""

    severity: str
    due_s: float
    first_at: datetime
    last_at: datetime
    firsts: dict[int, int]  # partition -> offset of the first one
    count: int = 0
    examples: list[Notice] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass(slots=True)
class _Delivery:
    """What has been handed out and is not settled."""

    firsts: dict[int, int]
    count: int


class TargetGroups:
    """The notices of one target between reading and delivery: `add`, `next_message`, then `settle` that one.

    Its memory is bounded by the number of groups, which is closed: companies, connectors, kinds, owners, reasons.
    """

    def __init__(self, target: NoticeTargetSettings, group_wait_s: float, group_interval_s: float) -> None:
        self._target, self._wait_s, self._interval_s = target, group_wait_s, group_interval_s
        self._groups: dict[_Key, _PendingGroup] = {}
        self._told_s: dict[_Key, float] = {}
        self._told_to: dict[int, int] = {}  # partition -> the offset after the last notice that was seen
        self._skip_to: dict[int, int] = {}
        self._under_way: _Delivery | None = None

    # ---- partitions

    def assign(self, partition: int, position: int) -> None:
        """Begin at this offset: what lies before it has been told."""
        self._skip_to[partition] = self._told_to[partition] = position

    def revoke(self, partition: int) -> None:
        """Forget what waits of a partition that is somebody else's now; the other one tells it."""
        self._skip_to.pop(partition, None)
        self._told_to.pop(partition, None)
        for key, group in list(self._groups.items()):
            if group.firsts.pop(partition, None) is not None and not group.firsts:
                del self._groups[key]

    def position(self, partition: int) -> int:
        """The first offset that has not been told."""
        waiting = [group.firsts for group in self._groups.values()]
        if self._under_way is not None:
            waiting.append(self._under_way.firsts)
        offsets = (firsts[partition] for firsts in waiting if partition in firsts)
        return min((self._told_to[partition], *offsets))

    # ---- notices

    def add(self, partition: int, offset: int, notice: Notice, now_s: float) -> None:
        """Take a notice over, where it is this target's."""
        if offset < self._skip_to.get(partition, 0):
            return
        if self._wants(notice):
            key = _key_of(notice)
            group = self._groups.get(key)
            if group is None:
                told_s = self._told_s.get(key)
                due_s = now_s + self._wait_s if told_s is None else max(now_s, told_s + self._interval_s)
                group = _PendingGroup(notice.severity, due_s, notice.at, notice.at, {partition: offset})
                self._groups[key] = group
            group.firsts.setdefault(partition, offset)
            group.count += 1
            group.first_at, group.last_at = min(group.first_at, notice.at), max(group.last_at, notice.at)
            group.digest.update(notice.id.encode())
            if len(group.examples) < _EXAMPLES:
                group.examples.append(notice)
        self.passed(partition, offset)

    def passed(self, partition: int, offset: int) -> None:
        """This notice has been read, and is told or is nobody's."""
        if offset >= self._told_to.get(partition, offset):
            self._told_to[partition] = offset + 1

    @property
    def waiting(self) -> int:
        """How many notices have been read and not delivered."""
        under_way = self._under_way.count if self._under_way is not None else 0
        return under_way + sum(group.count for group in self._groups.values())

    def next_message(self, now_s: float) -> DigestMessage | None:
        """All groups that are due, as one message; None: nothing is due, or another message is under way."""
        due = [key for key, group in self._groups.items() if group.due_s <= now_s]
        if not due or self._under_way is not None:
            return None
        taken = {key: self._groups.pop(key) for key in due}
        firsts: dict[int, int] = {}
        digest = hashlib.sha256()
        for key, group in taken.items():
            self._told_s[key] = now_s
            digest.update(group.digest.digest())
            for partition, offset in group.firsts.items():
                firsts[partition] = min(offset, firsts.get(partition, offset))
        self._under_way = _Delivery(firsts, sum(group.count for group in taken.values()))
        groups = [_shown(key, group) for key, group in taken.items()]
        return DigestMessage(digest.hexdigest()[:32], tuple(severest(groups)))

    def settle(self) -> int:
        """The message under way is delivered or given up; how many notices were in it."""
        count = self._under_way.count if self._under_way is not None else 0
        self._under_way = None
        return count

    def _wants(self, notice: Notice) -> bool:
        target = self._target
        return (
            (not target.owners or notice.owner in target.owners)
            and (not target.kinds or notice.kind in target.kinds)
            and (not target.companies or notice.company in target.companies)
            and _ORDER.index(notice.severity) >= _ORDER.index(target.severity)
        )


def _key_of(notice: Notice) -> _Key:
    # A letter's connector makes no group of its own: one wrong mapping of three shops is one thing to fix.
    connector = None if notice.letter is not None else notice.connector
    return notice.company, connector, notice.kind, notice.owner, notice.reason


def _shown(key: _Key, group: _PendingGroup) -> NoticeGroup:
    company, connector, kind, owner, reason = key
    return NoticeGroup(
        kind=kind,
        severity=group.severity,
        company=company,
        connector=connector,
        owner=owner,
        reason=reason,
        count=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        examples=tuple(group.examples),
    )
