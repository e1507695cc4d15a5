"""What a file would become, without an inbox and without publishing."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from connectors.base.context import EventContext
from connectors.base.errors import RejectedError
from connectors.ims.files import open_reader
from connectors.ims.inboxes.inbox import File
from connectors.ims.reader import ReadStep
from connectors.ims.settings import ImsSettings
from connectors.ims.source import is_ours


def read_file(path: Path, name: str, settings: ImsSettings, now: datetime) -> Iterator[ReadStep]:
    """The steps through a file as connector `name` takes them; its own name says which mapping is meant.

    Raises:
        RejectedError: The connector would not read a file of that name, or it cannot be opened.
    """
    if not is_ours(path.name, settings):
        patterns = [each.files for each in (*settings.csv.values(), *settings.json.values())]
        raise RejectedError(
            f"{name} does not read files of the name {path.name}; name it *.jsonl, or as one of its mappings says"
            + (f": {', '.join(patterns)}" if patterns else " (it has none)")
        )
    try:
        handle = path.open("rb")
        modified = datetime.fromtimestamp(path.stat().st_mtime_ns // 1_000_000 / 1000, UTC)
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        file = File(path.name, handle, handle.tell(), digest, (), is_known=False, modified=modified)
    except OSError as error:
        raise RejectedError(f"{path} cannot be opened ({error.strerror}); fix the path, or its rights") from error
    reader = open_reader(file, None, (), settings)
    try:
        yield from reader.steps(EventContext(name, settings.company, settings, now))
    finally:
        reader.close()
