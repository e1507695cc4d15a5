"""Which dead letters a command is about: one set of conditions for all of `streams dlq`. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState
from schemas.topics import dead_letter_topic

#: Every state that a dead letter may have, open ones first.
STATES = ("dead", "parked", "held", "posted", "no_op", "replayed", "discarded")
#: In `Selection.states`: whatever its state.
ANY_STATE = "all"


class SelectionError(Exception):
    """No dead letter, or several, begin with an id that was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions that must all hold; one that is empty always does.

    Attributes:
        ids: Ids, or the beginnings of ids.
        reasons: One of these.
        topic: The event's or the dead letter's, without the configuration's prefix or with it.
        owner: Who acts.
        order: The order's id as its source names it.
        item: The sku, or the item of B1 that it waits for.
        since, until: When it first failed: `[since, until)`.
        states: One of these; empty: open ones, or any where ids are given.
    """

    ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    topic: str | None = None
    owner: str | None = None
    order: str | None = None
    item: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for, so that all that is open is chosen."""
        return self == Selection()

    def chooses(self, letter: DeadLetterState, topic_prefix: str = "") -> bool:
        """Whether a dead letter is meant."""
        return (
            self._in_state(letter)
            and (not self.ids or letter.id.startswith(self.ids))
            and (not self.reasons or letter.reason in self.reasons)
            and (self.topic is None or topic_prefix + self.topic.removeprefix(topic_prefix) in topics_of(letter))
            and (self.owner is None or letter.owner == self.owner)
            and (self.order is None or letter.order_id == self.order)
            and (self.item is None or letter.sku == self.item or letter.waits_for == f"item:{self.item}")
            and (self.since is None or letter.first_failed_at >= self.since)
            and (self.until is None or letter.first_failed_at < self.until)
        )

    def choose(self, letters: Iterable[DeadLetterState], topic_prefix: str = "") -> list[DeadLetterState]:
        """Those that are meant, the oldest failure first.

        Raises:
            SelectionError: An id that was given is nobody's, or the beginning of several.
        """
        every = list(letters)
        for id_ in self.ids:
            named = {letter.id for letter in every if letter.id.startswith(id_)}
            if len(named) != 1 and id_ not in named:
                raise SelectionError(
                    f"{len(named)} dead letters begin with {id_}" if named else f"there is no dead letter {id_}"
                )
        chosen = [letter for letter in every if self.chooses(letter, topic_prefix)]
        return sorted(chosen, key=lambda letter: (letter.first_failed_at, letter.id))

    def as_json(self) -> dict[str, Any]:
        """What was asked for, as a plan and the audit keep it."""
        asked = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value) for name, value in asked.items() if value}

    def _in_state(self, letter: DeadLetterState) -> bool:
        if not self.states:
            return bool(self.ids) or letter.state in OPEN_STATES
        return ANY_STATE in self.states or letter.state in self.states


def topics_of(letter: DeadLetterState) -> set[str]:
    """The topics that a dead letter may be looked for under: of its event, and of its bytes."""
    return {letter.topic, letter.letter_topic, dead_letter_topic(letter.topic)}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value
