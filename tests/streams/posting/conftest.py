import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.streams.posting.under_test import PosterUnderTest
from tests.streams.virtual import Loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": Loop}


@pytest.fixture
async def desk() -> AsyncIterator[PosterUnderTest]:
    """An open poster with an empty queue."""
    desk = PosterUnderTest()
    await desk.open()
    yield desk
    await desk.close()
