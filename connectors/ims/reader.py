"""What reading a file is: where one is in it, what a step through it brings, and what becomes of what is refused."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from connectors.base.context import EventContext
from connectors.base.cursor_text import from_text, to_text
from connectors.base.source import Item, RefusedRecord
from connectors.base.validate import MAX_IDENTITY_CHARS
from connectors.ims.errors import LineError
from connectors.ims.inboxes.inbox import File, Memory
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.settings import ImsSettings

ImsContext = EventContext[ImsSettings]
_OTHER_IDENTITIES = ("shipment_id", "refund_id")
TOO_LONG = f"the line has more than {MAX_LINE_BYTES} bytes, of which the dead letter has the first; split the event"


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A record of a file; the cursor of this source.

    Attributes:
        file: Name in the inbox.
        digest: SHA-256 of its content, hexadecimal: the same name with other content is another file.
        line: The last line that is acknowledged, from 1; of a document or of grouped rows: the last record.
        offset: Bytes up to the end of that line; of a document or of grouped rows all of them, once the last record is.
        memory: What the inbox wants to be told again, see `Inbox.remember`.
        unmapped: Names that lie on a server and that no mapping takes, as of the last look, for `streams status`.
    """

    file: str
    digest: str
    line: int = 0
    offset: int = 0
    memory: Memory = ()
    unmapped: tuple[str, ...] = field(default=(), compare=False)

    def to_text(self) -> str:
        found: dict[str, object] = {
            "file": self.file,
            "digest": self.digest,
            "line": self.line,
            "offset": self.offset,
        }
        kept = {"memory": self.memory, "unmapped": self.unmapped}
        return to_text(found | {name: values for name, values in kept.items() if values})

    @classmethod
    def from_text(cls, text: str) -> "FilePosition":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        return from_text(
            text,
            lambda found: cls(
                str(found["file"]),
                str(found["digest"]),
                int(found["line"]),
                int(found["offset"]),
                tuple(str(each) for each in found.get("memory", ())),
                tuple(str(each) for each in found.get("unmapped", ())),
            ),
            "ims",
        )


@dataclass(frozen=True, slots=True)
class ReadStep:
    """One step through a file.

    Attributes:
        item: None: an empty line, a comment, the header.
        number: The line it begins at, or the number of the record, from 1; 0: the file as a whole.
        size: Its bytes.
    """

    item: Item | None
    number: int
    size: int


class Reader(Protocol):
    """One file while it is read.

    Lifecycle: `steps` as often as one likes, left at any step; `close` once. `position` is behind the last step taken.
    """

    file: File
    position: FilePosition

    @property
    def is_read(self) -> bool: ...

    def steps(self, context: ImsContext) -> Iterator[ReadStep]: ...

    def close(self) -> None: ...


class FileReader:
    """What all readers have in common."""

    def __init__(self, file: File, position: FilePosition) -> None:
        self.file, self.position = file, position

    @property
    def is_read(self) -> bool:
        return self.position.offset >= self.file.size

    def close(self) -> None:
        self.file.close()

    def refuse_file(self, reason: str, problem: str, event_type: str | None) -> ReadStep:
        """One dead letter for all of the file, which is behind us with it."""
        self.position = replace(self.position, offset=self.file.size)
        self.file.handle.seek(0)
        value = self.file.handle.read(min(self.file.size, MAX_LINE_BYTES))
        error = LineError(reason, f"{problem} ({self.file.size} bytes, sha256 {self.file.digest})", event_type)
        return ReadStep(refused(error, value, self.position, 0), 0, self.file.size)


def refused(
    error: LineError, value: bytes, position: FilePosition, number: int, *, event_type: str | None = None
) -> RefusedRecord:
    names = ("event_id", "order_id", "sku", *_OTHER_IDENTITIES)
    ids = {name: _short(error.fields.get(name)) for name in names}
    other = next((ids[name] for name in _OTHER_IDENTITIES if ids[name]), None)
    return RefusedRecord(
        event_type=error.event_type or event_type,
        reason=error.reason,
        error=str(error),
        value=value,
        origin=position.file,
        digest=position.digest,
        number=number,
        event_id=ids["event_id"] or other,
        order_id=ids["order_id"],
        sku=ids["sku"],
    )


def _short(value: object) -> str | None:
    """An identity for people to find the dead letter by; nothing that only might be one."""
    if isinstance(value, str) and 0 < len(value) <= MAX_IDENTITY_CHARS and value.isprintable():
        return str(value)
    return None
