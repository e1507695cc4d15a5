"""A state as it is shown: in `streams status`, `streams order` and `/readyz`, one form for all of them."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from schemas.components import HOLD_REASONS
from schemas.records import ComponentState
from streams.telemetry.component_states import STALE_S, age_s


@dataclass(frozen=True, slots=True)
class HeldComponent:
    """A company, connector or partition that does not work.

    Attributes:
        state: away | held.
        since: Aware UTC.
        detail: B1's, the vendor's or our own words.
        waiting: Postings or events that wait for it, as last counted.
        age_s: How long ago a process last spoke of it.
    """

    kind: str
    name: str
    state: str
    reason: str
    since: datetime
    owner: str
    detail: str | None
    waiting: int
    age_s: float

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "since": self.since.isoformat()}

    def __str__(self) -> str:
        row = HOLD_REASONS.get(self.reason)
        words = row.words if row is not None else self.reason
        waiting = f", {self.waiting} wait" if self.waiting else ""
        acts = f", {self.owner} acts{': ' + row.remedy if row is not None else ''}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.name}: {words} since {self.since.astimezone():%Y-%m-%d %H:%M}{waiting}{acts}{detail}"


def shown(state: ComponentState, now: datetime) -> HeldComponent | None:
    """How a published state reads now; None: it works. Pure."""
    old_s = round(age_s(state, now), 1)
    if old_s > STALE_S:
        row = HOLD_REASONS["not_running"]
        last = f"last heard of {old_s:.0f} s ago: {state.state}"
        detail = last if state.reason is None else f"{last}, {state.reason}: {state.detail or ''}"
        return HeldComponent(
            state.kind, state.name, row.state, row.name, state.at, row.owner, detail, state.waiting, old_s
        )
    if state.reason is None:
        return None
    return HeldComponent(
        state.kind,
        state.name,
        state.state,
        state.reason,
        state.since,
        state.owner or "platform",
        state.detail,
        state.waiting,
        old_s,
    )
