"""What an event that reuses an identity says otherwise than the first."""

from dataclasses import replace
from decimal import Decimal

import pytest

from schemas.events import digest_of
from tests.streams.posting.under_test import CODEC, PosterUnderTest, order


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("kept", [False, True])
async def test_the_dead_letter_of_a_reused_identity_says_what_differs_and_where_the_first_is(
    desk: PosterUnderTest, restarts: bool, kept: bool
) -> None:
    """From memory, or from its claim in B1; names of fields only, for their values may be personal."""
    first = order("1", note="for Jane Canary")
    second = replace(
        first, currency="EUR", note="for John Canary", lines=(replace(first.lines[0], quantity=Decimal(7)),)
    )
    second = replace(second, digest=digest_of(second))
    if kept:
        await desk.log.send("order-placed", 0, b"k", CODEC.encode(first))
    await desk.ended(await desk.take(first))
    if restarts:
        await desk.close()
        await desk.open()
    await desk.ended(await desk.take(second))
    (letter,) = desk.states().values()
    assert letter.reason == "id_reuse"
    assert "order-placed/0/0" in (letter.error or "")
    assert ("currency" in (letter.error or "")) is kept
    assert ("lines[0].quantity" in (letter.error or "")) is kept
    assert "Canary" not in (letter.error or "")
