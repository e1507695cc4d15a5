"""Which changes of companies, connectors and partitions are notices."""

from collections.abc import Mapping, Sequence
from typing import Literal

from connectors.base.log import Outgoing
from connectors.base.notices import NoticeWriter
from schemas.components import HOLD_REASONS
from schemas.notices import of_component
from schemas.records import ComponentState, Notice

_OWNER = "platform"
#: By whether it stands still, and whether it comes back by itself.
_KINDS: Mapping[tuple[bool, bool], Literal["held", "freed", "breaker_opened", "breaker_closed"]] = {
    (True, False): "held",
    (True, True): "breaker_opened",
    (False, False): "freed",
    (False, True): "breaker_closed",
}


class ComponentNews:
    """Makes the records of notices from changes; a `streams.telemetry.component_states.News`.

    Args:
        writer: Makes the records.
        companies: The company of each connector.
    """

    def __init__(self, writer: NoticeWriter, companies: Mapping[str, str]) -> None:
        self._writer, self._companies = writer, companies

    def __call__(self, before: ComponentState | None, now: ComponentState) -> Sequence[Outgoing]:
        """What is sent with the state of now."""
        return self._writer.records([self._news(before, now)])

    def _news(self, before: ComponentState | None, now: ComponentState) -> Notice | None:
        was = None if before is None else before.reason
        if was == now.reason:
            return None
        row = HOLD_REASONS.get(now.reason or was or "")
        words = now.reason or was if row is None else row.words
        is_away = row is not None and row.state == "away"
        stands_still = now.reason is not None
        return of_component(
            _KINDS[stands_still, is_away],
            company=self._company_of(now),
            connector=now.name if now.kind == "connector" else None,
            part=f"{now.kind} {now.name}" if now.kind not in ("company", "connector") else None,
            owner=_OWNER if row is None else row.owner,
            why=f"{words}{f': {now.detail}' if now.detail else ''}" if stands_still else f"it was held: {words}",
            since=now.since,
            at=now.at,
            next_step=row.remedy if row is not None and stands_still else None,
        )

    def _company_of(self, state: ComponentState) -> str:
        if state.kind == "company":
            return state.name
        return self._companies.get(state.name, "") if state.kind == "connector" else ""
