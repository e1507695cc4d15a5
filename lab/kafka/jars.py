"""Kafka's jars: which they are, with their digests (`jars.sha256`), and how they get here.

Each is fetched by its own coordinate, in pure Python, and taken only if its SHA-256 is the one that is checked in. No
resolver runs: the list is the resolution that Maven made for `org.apache.kafka:kafka_2.13:4.1.0` and, since the broker
logs nothing without it, `org.apache.logging.log4j:log4j-slf4j-impl` (D7).
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.kafka.errors import ADVICE, KafkaSetupError

VERSION = "4.1.0"
LIST = Path(__file__).with_name("jars.sha256")
_ANSWER_WITHIN_S = 30


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of the class path.

    Attributes:
        sha256: The digest of its bytes, hexadecimal.
    """

    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def jars() -> list[Jar]:
    """All of them, in the order of the list."""
    rows = (line.split() for line in LIST.read_text(encoding="utf-8").splitlines())
    return [Jar(digest, *coordinate.split(":")) for digest, coordinate in rows]


def cache_folder() -> Path:
    """Where the jars are kept: `$B1_STREAMS_CACHE`, or a folder in the user's cache, by version."""
    cache = os.environ.get("B1_STREAMS_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "b1-streams") / f"kafka-{VERSION}"


def install(on_progress: Callable[[str], None] = lambda _line: None) -> Path:
    """Fetch what is missing or has another digest; safe when several processes do it at once.

    Args:
        on_progress: Is called with one line for each step.

    Returns:
        The folder with the jars. It holds these and nothing else.

    Raises:
        KafkaSetupError: One of them could not be fetched, or is not the one that we know.
    """
    folder = cache_folder()
    if not _unusable(folder):
        on_progress(f"Kafka {VERSION} is installed")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _unusable(folder)
        if wanted:
            on_progress(f"Fetching Kafka {VERSION}: {len(wanted)} jars, once")
        with tempfile.TemporaryDirectory(dir=folder.parent) as workshop:
            for jar in wanted:
                _fetch(jar, Path(workshop)).rename(folder / jar.file_name)
        _remove_strangers(folder)
    on_progress(f"Kafka {VERSION} is installed")
    return folder


def _unusable(folder: Path) -> list[Jar]:
    """What is not in the folder with the right bytes."""
    return [jar for jar in jars() if not _is_right(folder / jar.file_name, jar)]


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _remove_strangers(folder: Path) -> None:
    """The class path is `folder/*`: a jar that is not on the list would be loaded too."""
    names = {jar.file_name for jar in jars()}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _fetch(jar: Jar, workshop: Path) -> Path:
    """Get one jar into the workshop, and check it."""
    try:
        # Imported here: the extra may be missing, and nobody who has the jars needs it.
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as error:
        raise KafkaSetupError(f"Kafka's jars are fetched with jgo: pip install 'b1-streams[lab]', {ADVICE}.") from error
    context = MavenContext(repo_cache=workshop, timeout=_ANSWER_WITHIN_S)
    try:
        path = Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())
    except (RuntimeError, OSError) as error:  # not there, or no answer: what `requests` raises is an OSError
        cause = type(error).__name__
        raise KafkaSetupError(f"{jar} could not be fetched ({cause}): check the network, {ADVICE}.") from error
    if not _is_right(path, jar):
        raise KafkaSetupError(f"{jar} was fetched, and its SHA-256 is not {jar.sha256}: it is not used.")
    return path
