"""What shadow mode would change: what `streams shadow report` says."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.base.cursors import partition_of
from schemas.codec import Codec
from schemas.readings import EffectState
from streams.config.load import Config
from streams.delivery.deliverer import FIGURES, figure_of
from streams.delivery.states import STATES, EffectStates
from streams.kafka.log import Log
from streams.query.effects import receivers


@dataclass(frozen=True, slots=True)
class ShadowChange:
    """One thing that a connector in shadow mode would say.

    Attributes:
        before: The figure that the channel shows; None: it is not known, or it has none.
        after: The figure that it would get; of what is no figure the fields that would be said, no personal data.
        since: When it first differed.
    """

    connector: str
    type: str
    id: str
    order_id: str | None
    sku: str | None
    before: str | None
    after: str
    since: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "connector": self.connector,
            "type": self.type,
            "id": self.id,
            "order_id": self.order_id,
            "sku": self.sku,
            "from": self.before,
            "to": self.after,
            "since": self.since.isoformat(),
        }


async def report(log: Log, config: Config, codec: Codec, connector: str | None = None) -> Sequence[ShadowChange]:
    """What connectors in shadow mode would say, the oldest difference first.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state was written by something newer than we are.
    """
    found: list[ShadowChange] = []
    for name in receivers(config):
        if connector in (None, name):
            partition = partition_of(name, config.kafka.partitions)
            states = EffectStates(name, log, codec, topic=config.topic(STATES), partition=partition)
            await states.load()
            found += [_change(state) for state in states.by_subject.values() if state.state == "shadow"]
    return sorted(found, key=lambda change: (change.since, change.connector, change.id))


def _change(state: EffectState) -> ShadowChange:
    is_figure = state.type in FIGURES
    before = json.loads(state.sent)[FIGURES[state.type]] if is_figure and state.sent is not None else None
    return ShadowChange(
        connector=state.connector,
        type=state.type,
        id="/".join(state.subject),
        order_id=state.order_id,
        sku=state.sku,
        before=state.shown if state.shown is not None else before,
        after=figure_of(state) if is_figure else _fields(state),
        since=state.since,
    )


def _fields(state: EffectState) -> str:
    content = json.loads(state.content)
    shown = ("name", "active", "revision", "reason", "shipment_id", "tracking_numbers")
    named = [f"{name} {content[name]}" for name in shown if content.get(name) not in (None, "")]
    lines = [f"{line['quantity']} x {line.get('sku')}" for line in content.get("lines", ())[:5]]
    return "; ".join([*named, *lines])
