"""Where the reading of a shop is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base import cursor_text
from connectors.base.cursor_text import moment_of, moment_text


@dataclass(frozen=True, slots=True)
class EmittedChanges:
    """An order's state whose changes were emitted.

    Attributes:
        at: Its `updatedAt`, as Shopify wrote it.
        keys: Of what was emitted (`OrderChange.key`).
    """

    at: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShopifyCursor:
    """Where a pass is. Times are Shopify's.

    Attributes:
        since: The pass lists what changed from then on; None: everything.
        began: When this pass began; None: none is under way.
        after: Behind this page of the list.
        whole: Everything that happened until then has been emitted; None: no pass has come to its end yet.
        emitted: What was emitted of orders that changed since `overlap_s` before `began`.
        waiting: `order/key` of what is not over, however old.
        locations: Of the counts, by location: since when.
        turn: The location that this pass is at; None: still at the orders.
        level_after: Behind this page of its counts.
        counted_since: Of the counts, by location: when the first reading of all of them was done.
        counted: Of counts that moved lately, by `location/item`, Shopify's second in which they stood so.
    """

    since: datetime | None = None
    began: datetime | None = None
    after: str | None = None
    whole: datetime | None = None
    emitted: Mapping[str, EmittedChanges] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    locations: Mapping[str, datetime] = field(default_factory=dict)
    turn: str | None = None
    level_after: str | None = None
    counted_since: Mapping[str, datetime] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)

    def to_text(self) -> str:
        return cursor_text.to_text(
            {
                "since": moment_text(self.since),
                "began": moment_text(self.began),
                "after": self.after,
                "whole": moment_text(self.whole),
                "told": {order: [each.at, *each.keys] for order, each in self.emitted.items()},
                "waiting": sorted(self.waiting),
                "locations": {name: moment_text(at) for name, at in self.locations.items()},
                "turn": self.turn,
                "level_after": self.level_after,
                "counted_since": {name: moment_text(at) for name, at in self.counted_since.items()},
                "counted": self.counted,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> "ShopifyCursor":
        """What `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        return cursor_text.from_text(text, cls._of, "shopify")

    @classmethod
    def _of(cls, found: Any) -> "ShopifyCursor":
        return cls(
            since=moment_of(found["since"]),
            began=moment_of(found["began"]),
            after=found["after"],
            whole=moment_of(found["whole"]),
            emitted={order: EmittedChanges(at, tuple(keys)) for order, (at, *keys) in found["told"].items()},
            waiting=frozenset(found["waiting"]),
            locations={name: datetime.fromisoformat(at) for name, at in found["locations"].items()},
            turn=found["turn"],
            level_after=found["level_after"],
            counted_since={name: datetime.fromisoformat(at) for name, at in found["counted_since"].items()},
            counted={str(name): int(at) for name, at in found["counted"].items()},
        )


def recent(emitted: Mapping[str, EmittedChanges], since: datetime) -> dict[str, EmittedChanges]:
    """What the next pass will list again."""
    found: dict[str, EmittedChanges] = {}
    for order, each in emitted.items():
        try:
            is_recent = datetime.fromisoformat(each.at) >= since
        except (ValueError, TypeError):
            is_recent = False  # it has no time that can be read, and a dead letter that says so
        if is_recent:
            found[order] = each
    return found
