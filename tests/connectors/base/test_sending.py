"""How a channel is told several things: as far as it answers, and no further."""

from datetime import UTC, datetime

import pytest

from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.sending import ChannelRefusedError, channel_words, one_by_one
from connectors.base.sink import ChannelEffect, Delivered

OK = None


def effect(k, **content):
    return ChannelEffect(k=k, type="order_released", content=content, as_of=datetime(2026, 12, 1, tzinfo=UTC))


async def outcomes(*happens):
    """What becomes of effects of which each ends so, and how many of them were tried."""
    tried = []

    async def tell(one):
        tried.append(one.k)
        if happens[int(one.k)] is not OK:
            raise happens[int(one.k)]
        return Delivered(k=one.k, outcome="sent")

    told = await one_by_one([effect(str(number)) for number in range(len(happens))], tell)
    assert [each.k for each in told] == [str(number) for number in range(len(happens))]
    return [each.outcome for each in told], len(tried)


LOST, AWAY = OutcomeUnknownError("lost"), RetriableError("busy", retry_after_s=7)


async def test_one_that_is_refused_or_lost_does_not_stop_the_next():
    assert await outcomes(ChannelRefusedError("no"), LOST, OK) == (["refused", "unknown", "sent"], 3)


async def test_a_channel_that_is_away_or_loses_everything_is_left_alone():
    assert await outcomes(OK, AWAY, OK) == (["sent", "away", "away"], 2)
    assert await outcomes(LOST, LOST, LOST, OK) == (["unknown", "unknown", "unknown", "away"], 3)
    assert await outcomes(OK, FatalError("key"), OK) == (["sent", "away", "away"], 2)


@pytest.mark.parametrize("error", [AWAY, FatalError("key")])
async def test_where_nothing_was_done_the_error_itself_is_raised(error):
    with pytest.raises(type(error)):
        await outcomes(error, OK)


def test_the_channels_words_are_shown_without_what_is_about_a_person():
    one = effect("1", ship_to={"name": "Mia Odum", "street": "4 Lime Row", "country": "GB", "phone": "0113"})
    said = channel_words('Order W-1:\n MIA  of "4 Lime Row" <mia@example.test> GB is no good ' + "x" * 400, one)
    assert said.startswith('Order W-1: *** of "***" <***> GB is no good')
    assert len(said) == 300
    withdrawn = ChannelEffect(
        k="1", type="order_withdrawn", content={}, as_of=one.as_of, before={"ship_to": {"name": "Mia Odum"}}
    )
    assert channel_words("W-1 of Odum is unknown", withdrawn) == "W-1 of *** is unknown"
    assert channel_words(" ", one) == "nothing that says why"
