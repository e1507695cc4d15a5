"""`streams connect` as tests start it: `python connect_process.py CONFIG`. SIGTERM stops it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from connectors.base.errors import ConnectorError
from schemas.codec import embedded_codec
from streams.config.load import load
from streams.connect import runner as connect
from streams.kafka.client import KafkaLog
from streams.telemetry.metrics import Metrics


async def main() -> int:
    config = load(Path(sys.argv[1]), os.environ)
    log = KafkaLog(config.kafka.bootstrap_servers)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await log.start()
    try:
        await connect.run(config, stop, log=log, metrics=Metrics(config), codec=embedded_codec())
    except ConnectorError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    finally:
        await log.stop()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
