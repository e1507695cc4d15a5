"""Where every connector stands."""

from connectors.base.clock import SystemClock
from connectors.base.cursors import Position
from connectors.base.metrics import NoMetrics
from schemas.codec import Codec
from streams.config.load import Config
from streams.connect.group import ConnectorFactory
from streams.kafka.log import Log


async def positions(config: Config, log: Log, codec: Codec) -> dict[str, Position]:
    """Where every connector stands, with the levels that ended there as no-ops; nobody is disturbed.

    Raises:
        RetriableError: Kafka did not answer.
        FatalError: A cursor cannot be read.
    """
    factory = ConnectorFactory(config, log, codec, SystemClock(), NoMetrics())
    found = {name: factory.cursors(name) for name in config.connectors}
    for cursors in found.values():
        await cursors.look()
    return {name: cursors.position for name, cursors in found.items()}
