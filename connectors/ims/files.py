"""Opens a file with the reader that its name asks for."""

from connectors.ims.document_reader import DocumentReader
from connectors.ims.group_reader import GroupReader
from connectors.ims.inboxes.inbox import File, Memory
from connectors.ims.line_reader import LineReader, RowReader
from connectors.ims.mappings import CsvSettings, JsonSettings
from connectors.ims.reader import FilePosition, Reader
from connectors.ims.settings import ImsSettings, mapping_of


def open_reader(file: File, position: FilePosition | None, memory: Memory, settings: ImsSettings) -> Reader:
    """Go on in a file at a position that must be of the same content, else at its beginning.

    Raises:
        OSError: It cannot be read.
    """
    at = position if position is not None and (position.file, position.digest) == (file.name, file.digest) else None
    at = at or FilePosition(file.name, file.digest, memory=memory)
    mapping = mapping_of(file.name, settings)
    if isinstance(mapping, JsonSettings):
        return DocumentReader(file, at, mapping)
    if isinstance(mapping, CsvSettings):
        return GroupReader(file, at, mapping) if mapping.needs_whole_file else RowReader(file, at, mapping)
    return LineReader(file, at)
