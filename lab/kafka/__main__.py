"""`python -m lab.kafka`: fetch Kafka's jars, unless `KAFKA_BOOTSTRAP_SERVERS` names a cluster that is used instead."""

import os
import sys

from lab.kafka.errors import KafkaSetupError
from lab.kafka.jars import install
from lab.kafka.java import find_java


def main() -> int:
    """0 when the broker could start now; 1 with one line on what is missing."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if servers:
        _print(f"Kafka is at {servers}; no jars are fetched")
        return 0
    try:
        find_java()
        folder = install(_print)
    except KafkaSetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _print(str(folder))
    return 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
