"""What became of an effect, in short."""

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sending import ChannelRefusedError, channel_words
from connectors.base.sink import ChannelEffect, Delivered


def sent(effect: ChannelEffect, ref: str) -> Delivered:
    return Delivered(k=effect.k, outcome="sent", ref=ref)


def refused(effect: ChannelEffect, error: ChannelRefusedError | str) -> Delivered:
    reason = error.reason if isinstance(error, ChannelRefusedError) else "channel_refused"
    return Delivered(k=effect.k, outcome="refused", reason=reason, error=channel_words(str(error), effect))


def unknown(effect: ChannelEffect, error: OutcomeUnknownError, *, retry_after_s: float | None = None) -> Delivered:
    wait_s = retry_after_s if retry_after_s is not None else getattr(error, "retry_after_s", None)
    return Delivered(k=effect.k, outcome="unknown", error=str(error), retry_after_s=wait_s)


def away(effect: ChannelEffect, error: RetriableError) -> Delivered:
    return Delivered(k=effect.k, outcome="away", error=str(error), retry_after_s=error.retry_after_s)
