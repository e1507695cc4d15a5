"""What a connector that receives has to offer: how a channel is told what B1 says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

EffectType = Literal[
    "item_changed", "price_changed", "stock_level", "order_released", "order_withdrawn", "delivery_posted"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEffect:
    """One thing that a channel is to be told. It was written down before it gets here, and is the same at every try.

    Attributes:
        k: Its identity; the same effect has the same one whenever it is sent.
        type: What of contract "Out of B1" it is.
        content: Its fields, as in a file of an `ims` outbox; quantities and prices are texts of exact decimals.
        as_of: When B1 was asked; of two effects about one subject the later one counts.
        before: The content that the channel took last about the same subject; None: none yet.
        doubtful: The end of an earlier try is not known: it may have been done. Look before it is written again.
        ref: The channel's own name of the subject, as an earlier `Delivered.ref` said.
        order_source: Of an order or a delivery, the connector whose order it is; None: people keyed it.
    """

    k: str
    type: EffectType
    content: Mapping[str, Any]
    as_of: datetime
    before: Mapping[str, Any] | None = None
    doubtful: bool = False
    ref: str | None = None
    order_source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of one effect.

    Attributes:
        k: Of the effect.
        outcome: sent: the channel has it, now or since an earlier try; refused: it never will as it is; unknown: sent,
            and nobody knows whether it was done; away: nothing was done, try it again.
        reason: Where refused: `channel_refused` or `format_refused`, or another of `schemas.letters.REASONS`.
        error: The channel's words and ours: what was wrong, where, what to do. No personal data, no secrets.
        ref: The channel's own name of the subject, given back with later effects about it.
        retry_after_s: How long the channel asked us to wait.
    """

    k: str
    outcome: Literal["sent", "refused", "unknown", "away"]
    reason: str | None = None
    error: str | None = None
    ref: str | None = None
    retry_after_s: float | None = None


class Sink(Protocol):
    """One connector's writing side.

    Lifecycle: `deliver` again and again, by one caller at a time; `close` once. No two effects of a call are about the
    same subject. A sink writes as few requests as the channel's API allows, keeps the order of those about one order,
    and never overwrites what the channel owns (descriptions, images, history).
    """

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        """Tell the channel; one result for each effect, in any order. An effect without a result is unknown.

        Raises:
            RetriableError: Nothing of it was done; the channel is away.
            OutcomeUnknownError: Any of it may have been done.
            FatalError: A person has to act (credentials, configuration).
        """
        ...

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        """By K, the figure that the channel shows now for `stock_level` and `price_changed`, as exact decimal text.

        For reports: what a write would change. None: it does not have it. An effect that the channel cannot be asked
        about is left out.

        Raises:
            RetriableError, FatalError: As `deliver`.
        """
        ...

    async def close(self) -> None:
        """Let go of files and connections."""
        ...
