"""One posting on its way through the poster, with everybody who waits for its end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from schemas.events import OrderEvent
from schemas.records import DeadLetterState, Document, Posting, StockBatch

How = Literal["posted", "no_op"]
#: Called once: how the occurrence ended, or None where its letter's state says it.
Finish = Callable[[How | None], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a posting ended, and what the trail says of it: created, adopted, adopted_cancelled or no_op."""

    how: How
    trail: str
    documents: tuple[Document, ...] = ()


@dataclass(slots=True, eq=False)
class Work:
    """A posting that is admitted and has not ended. K is admitted once: further occurrences follow the first (design 16.2)."""

    posting: Posting
    event: OrderEvent | StockBatch
    finish: Finish
    sequence: int  # the posting's offset in the company's queue; a cancellation's, where its barrier let it pass
    letter: DeadLetterState | None = None  # where it comes out of the letters
    landed: bool = False  # B1 has its claim though it is a dead or held letter: taken over, never sent
    followers: list[Finish] = field(default_factory=list)
    attempts: int = 0

    @property
    def k(self) -> str:
        return self.posting.k

    @property
    def origin(self) -> str:
        """Which occurrence this is: goes into the claim, so that a redelivery is told from a source's repeat."""
        return origin_of(self.posting)


def origin_of(posting: Posting) -> str:
    return f"1 {posting.topic}/{posting.partition}/{posting.offset}"
