"""What outlives a process: how many batches there were, and up to where changes of documents were read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base.cursor_text import from_text, to_text


@dataclass(frozen=True, slots=True)
class ReadingCursor:
    """Where the reading of a company's B1 is.

    Attributes:
        reading: Of the last batch; each has the next number. The first one after a start leaves one number out: a
            paused process may still publish under it.
        marks: By entity set, the newest change that was read, in the company's local time as B1 writes it.
    """

    reading: int = 0
    marks: Mapping[str, datetime] = field(default_factory=dict)

    def to_text(self) -> str:
        marks = {name: mark.isoformat() for name, mark in self.marks.items()}
        return to_text({"reading": self.reading, "marks": marks})

    @classmethod
    def from_text(cls, text: str | None) -> "ReadingCursor":
        """What `to_text` wrote; None: nothing was read yet.

        Raises:
            CursorUnusableError: It is another kind's.
        """
        return cls() if text is None else from_text(text, cls._of, "sap_b1")

    @classmethod
    def _of(cls, found: Any) -> "ReadingCursor":
        marks = {str(name): datetime.fromisoformat(mark) for name, mark in found["marks"].items()}
        return cls(int(found["reading"]), marks)
