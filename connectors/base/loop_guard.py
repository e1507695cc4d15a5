"""What we wrote at a vendor ourselves must not come back as something new."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoopGuard:
    """Knows our own writing by the marks that we leave in it.

    Attributes:
        marks: Any of them is enough; an empty text is no mark.
    """

    marks: frozenset[str]

    @classmethod
    def of(cls, *marks: str) -> "LoopGuard":
        return cls(frozenset(filter(None, marks)))

    def is_own(self, *, tags: Iterable[str] = (), reference: object = None, texts: Iterable[str] = ()) -> bool:
        """Whether a vendor's object is ours.

        Args:
            tags: One of them is a mark.
            reference: A text that begins with a mark: the number under which we know it.
            texts: One of them has a mark in it, as a comment.
        """
        return (
            not self.marks.isdisjoint(tags)
            or (isinstance(reference, str) and any(reference.startswith(mark) for mark in self.marks))
            or any(mark in text for text in texts for mark in self.marks)
        )
