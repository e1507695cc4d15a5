"""A frozen selection of dead letters, with what a replay of each would do; as a file that a person can read. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

Would = Literal["post", "already_there", "fail"]


class PlanError(Exception):
    """A file is no plan, or not as it was made."""


@dataclass(frozen=True, slots=True)
class PlannedLetter:
    """One dead letter of a plan; `why` in words where there is something to say."""

    id: str
    would: Would
    why: str | None = None


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay is to be about.

    Attributes:
        made_at: When; what has ended since is already there.
        by: The person.
        selection: What was asked for.
        letters: In the order in which they would be replayed.
    """

    made_at: datetime
    by: str
    selection: Mapping[str, Any]
    letters: tuple[PlannedLetter, ...]

    @property
    def hash(self) -> str:
        """Of its ids."""
        return hash_of(letter.id for letter in self.letters)

    def text(self) -> str:
        """As it lies in its file."""
        plan = {
            "made_at": self.made_at.isoformat(),
            "by": self.by,
            "selection": dict(self.selection),
            "hash": self.hash,
            "letters": [asdict(letter) for letter in self.letters],
        }
        return json.dumps(plan, indent=2, ensure_ascii=True) + "\n"


def read_plan(text: str) -> ReplayPlan:
    """The plan in a file's text.

    Raises:
        PlanError: It is none, or dead letters were put in or taken out by hand.
    """
    try:
        found = json.loads(text)
        letters = tuple(PlannedLetter(row["id"], row["would"], row.get("why")) for row in found["letters"])
        plan = ReplayPlan(datetime.fromisoformat(found["made_at"]), found["by"], dict(found["selection"]), letters)
        known = all(isinstance(one.id, str) and one.would in get_args(Would) for one in letters)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PlanError("it is not a plan that streams dlq plan has written") from None
    if not letters or not known or plan.made_at.tzinfo is None:
        raise PlanError("it is not a plan that streams dlq plan has written")
    if found.get("hash") != plan.hash:
        raise PlanError("its dead letters are not those that it was made for: its hash does not fit them")
    return plan


def hash_of(ids: Iterable[str]) -> str:
    """Of the ids of a selection, whatever their order: 16 characters."""
    return hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()[:16]
