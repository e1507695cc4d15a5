import asyncio
from collections.abc import Callable, Mapping

from tests.streams.virtual import Loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": Loop}
