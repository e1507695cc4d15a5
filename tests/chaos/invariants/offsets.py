"""I7: nothing below a committed offset was without its end when it was committed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.chaos.evidence import ORDERS, SEALED, STATES, STOCK, Place, Record, decode
from tests.chaos.invariants.view import View, first_offset


@dataclass(frozen=True, slots=True)
class _Need:
    """What must be there before an offset may be committed: one of what is named."""

    documents: int | None = None  # the ledger's sequence
    letter: int | None = None  # an offset of `dead-letter-state`
    queue: int | None = None  # of `erp-orders`
    stock: int | None = None  # of `erp-stock`
    sealed: tuple[int, int] | None = None  # partition and offset of `stock-sealed`

    def met(self, documents: int, ends: Mapping[tuple[str, int], int]) -> bool:
        return (
            (self.documents is not None and self.documents <= documents)
            or (self.letter is not None and self.letter < ends[STATES, 0])
            or (self.queue is not None and self.queue < ends[ORDERS, 0])
            or (self.stock is not None and self.stock < ends[STOCK, 0])
            or (self.sealed is not None and self.sealed[1] < ends[SEALED, self.sealed[0]])
        )


def check_offsets(view: View) -> None:
    """Nothing below a committed offset was without its end when it was committed."""
    needs = _needs(view)
    reached: dict[Place, int] = {}
    for sample in view.evidence.samples:
        for where, committed in sample.committed.items():
            before = reached.get(where, 0)
            name = f"{where[0]}/{where[1]} at {sample.at_s:.1f} s"
            if committed < before:
                view.report("offsets", name, f"at least {before}", committed)
            for offset in range(before, committed):
                need = needs[where].get(offset)
                if need is None and where[0] == SEALED:
                    continue  # a record that does not count
                if need is None or not need.met(sample.documents, sample.ends):
                    view.report("offsets", name, f"nothing open below {committed}", f"{offset}: {need}")
            reached[where] = max(before, committed)


def _needs(view: View) -> dict[Place, dict[int, "_Need"]]:
    """By partition and offset, what must be there before the offset may be passed."""
    needs: dict[Place, dict[int, _Need]] = defaultdict(dict)
    for record, k in _queue_records(view):
        needs[record.topic, record.partition][record.offset] = _need_of(view, k)
    routed = {
        (posting["topic"], posting["partition"], posting["offset"]): record.offset
        for record in reversed(view.evidence.records[ORDERS])
        for posting in [decode("posting", record.value)]
    }
    for place in view.facts:
        topic, partition, offset = place
        if topic != "stock-adjusted":
            letter = first_offset(view.letter_of_fact.get(place))
            needs[topic, partition][offset] = _Need(queue=routed.get(place), letter=letter)
    for partition, epochs in view.epochs.items():
        for epoch in epochs:
            for offset in range(epoch.body["start"], epoch.body["end"]):
                needs["stock-adjusted", partition][offset] = _Need(sealed=(partition, epoch.offset))
            queued = [
                min((record.offset for record in view.stock_ks.get(k or "", ())), default=None)
                for index in range(len(epoch.body["batches"]))
                for k in [view.queued.get((partition, epoch.offset, index))]
            ]
            last = max((offset for offset in queued if offset is not None), default=-1)
            needs[SEALED, partition][epoch.offset] = _Need(stock=None if None in queued else last)
    return needs


def _queue_records(view: View) -> Iterator[tuple[Record, str]]:
    for topic in (ORDERS, STOCK):
        for record in view.evidence.records[topic]:
            yield record, decode("posting", record.value)["k"]


def _need_of(view: View, k: str) -> "_Need":
    kind = k.rpartition("-")[0]
    ks = [k]
    if kind == "stock_batch":
        ks = view.standing.get(k, [])
        if not ks and any(member[1] == k and member[0]["net"] == 0 for member in view.members.values()):
            return _Need(documents=0)
    elif kind == "dispatch_confirmed":
        ks = [k, *_invoice_of(view, k)]
    elif kind == "order_cancelled" and k in view.claims:
        return _Need(documents=0)  # a claim alone: the ledger does not say when
    sequences = [document["sequence"] for one in ks for document in view.documents.get(one, ())]
    documents = max(sequences) if sequences and len(sequences) >= len(ks) else None
    letters = [first_offset(letter) for letter in view.letter_of_k.get(k, ())]
    return _Need(documents=documents, letter=min((one for one in letters if one is not None), default=None))


def _invoice_of(view: View, k: str) -> list[str]:
    return [view.invoices[k]] if k in view.invoices else []
