"""What a file would become, without an inbox and without publishing."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from connectors.base.errors import RejectedError
from connectors.ims.files import Origin, Taken, open_reader
from connectors.ims.inboxes.inbox import File
from connectors.ims.settings import ImsSettings
from connectors.ims.source import is_ours


def read_file(path: Path, name: str, settings: ImsSettings, now: datetime) -> Iterator[Taken]:
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
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        file = File(path.name, handle, handle.tell(), digest, (), is_known=False)
    except OSError as error:
        raise RejectedError(f"{path} cannot be opened ({error.strerror}); mend the path, or its rights") from error
    reader = open_reader(file, None, (), settings, Origin(name, settings.company))
    try:
        yield from reader.items(now)
    finally:
        reader.close()
