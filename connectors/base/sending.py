"""What the sinks of all vendors share: one effect after the other, and the channel's words without anybody's name."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from connectors.base.errors import FatalError, OutcomeUnknownError, RejectedError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered

T = TypeVar("T")
#: After so many writes in a row of which nobody knows the end, the channel is taken to be away; one alone may be the
#: fault of its own effect, and must not stand in the way of those behind it.
MAX_UNKNOWN_IN_A_ROW = 3
MAX_WORDS = 300
_E_MAIL = re.compile(r"[^\s<>,;:\"']+@[^\s<>,;:\"']+")
#: "GB" or "1" of an address would take letters out of every word.
_SHORTEST_PERSONAL = 3
#: Of a content what is about a person.
_PERSONAL = ("ship_to",)


class ChannelRefusedError(RejectedError):
    """A channel will never take an effect as it is, or we do not send it so.

    Attributes:
        reason: `channel_refused` or `format_refused`.
    """

    def __init__(self, error: str, reason: Literal["channel_refused", "format_refused"] = "channel_refused") -> None:
        super().__init__(error)
        self.reason = reason


async def one_by_one(
    effects: Sequence[ChannelEffect], tell: Callable[[ChannelEffect], Awaitable[Delivered]]
) -> list[Delivered]:
    """Tell a channel one effect after the other, and go on as far as it answers.

    Args:
        effects: In the order in which they are to be told.
        tell: Raises ChannelRefusedError, RetriableError: nothing of it was done; OutcomeUnknownError; FatalError.

    Raises:
        RetriableError, FatalError: Where nothing was done at all.
    """
    told: list[Delivered] = []
    lost = 0
    for at, effect in enumerate(effects):
        try:
            told.append(await tell(effect))
            lost = 0
        except ChannelRefusedError as error:
            told.append(Delivered(k=effect.k, outcome="refused", reason=error.reason, error=str(error)))
            lost = 0
        except OutcomeUnknownError as error:
            told.append(Delivered(k=effect.k, outcome="unknown", error=str(error)))
            lost += 1
            if lost == MAX_UNKNOWN_IN_A_ROW:
                return [*told, *_away(effects[at + 1 :], str(error))]
        except RetriableError as error:
            if not told:
                raise
            return [*told, *_away(effects[at:], str(error), error.retry_after_s)]
        except FatalError as error:
            if not told:
                raise
            return [*told, *_away(effects[at:], str(error))]  # the next call meets it first
    return told


def sent(effect: ChannelEffect, ref: str | None = None) -> Delivered:
    """The channel has it; `ref` is its own name of the subject."""
    return Delivered(k=effect.k, outcome="sent", ref=ref)


def refused(effect: ChannelEffect, error: ChannelRefusedError | str) -> Delivered:
    """It never will be taken as it is."""
    reason = error.reason if isinstance(error, ChannelRefusedError) else "channel_refused"
    return Delivered(k=effect.k, outcome="refused", reason=reason, error=channel_words(str(error), effect))


def unknown(effect: ChannelEffect, error: OutcomeUnknownError, *, retry_after_s: float | None = None) -> Delivered:
    """It may have been done."""
    return Delivered(k=effect.k, outcome="unknown", error=str(error), retry_after_s=retry_after_s)


def away(effect: ChannelEffect, error: RetriableError) -> Delivered:
    """Nothing of it was done."""
    return Delivered(k=effect.k, outcome="away", error=str(error), retry_after_s=error.retry_after_s)


def chunks(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The rows, so many at a time."""
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _away(effects: Iterable[ChannelEffect], error: str, retry_after_s: float | None = None) -> list[Delivered]:
    return [Delivered(k=each.k, outcome="away", error=error, retry_after_s=retry_after_s) for each in effects]


def channel_words(text: str, effect: ChannelEffect) -> str:
    """What a channel said of an effect, without what it may quote about a person, at most `MAX_WORDS` characters."""
    said = _E_MAIL.sub("***", " ".join(text.split()))
    personal = _personal_values(effect.content) | _personal_values(effect.before or {})
    for value in sorted(personal, key=len, reverse=True):
        said = re.sub(re.escape(value), "***", said, flags=re.IGNORECASE)
    return said[:MAX_WORDS] or "nothing that says why"


def _personal_values(content: Mapping[str, Any]) -> set[str]:
    found = {str(value).strip() for name in _PERSONAL for value in (content.get(name) or {}).values() if value}
    words = {word for value in found for word in value.split()}
    return {value for value in found | words if len(value) >= _SHORTEST_PERSONAL}
