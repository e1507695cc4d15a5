"""B1's memory of one order: its document and every delivery, invoice and credit memo of it. Pure.

The poster reads it by `queries` and `parse`, and keeps it in step with what it posts by `with_document`. Quantities are
inventory units; amounts are net, or tax, in the document's currency.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

from connectors.base.money import ZERO
from connectors.sap_b1.service_layer import quote_literal
from schemas.records import Document

MAX_ORDERS = 20  # of one query: its URL stays under 2 kB, and `or` of 20 keys is one seek each

# Object numbers of the Service Layer's base links: BoObjectTypes of SAP's Service Layer API reference.
ORDER, DELIVERY, INVOICE = 17, 15, 13
BASE_TYPES = {"Orders": ORDER, "DeliveryNotes": DELIVERY, "Invoices": INVOICE}
ENTITY_SETS = ("Orders", "DeliveryNotes", "Invoices", "CreditNotes")

_SELECT = (
    "DocEntry,DocNum,CardCode,NumAtCard,DocCurrency,DocumentStatus,Cancelled,CancelStatus,U_STREAMS_KEY,U_STREAMS_ORDER,"
    "DocumentLines,DocumentAdditionalExpenses,AddressExtension"
)
_CANCELLED_NOTE = "cancelled {cancelled} of {ordered}"  # in a line's FreeText: B1 forgets what a line once asked for
_CANCELLED = re.compile(r"cancelled (\d+(?:\.\d+)?) of \d")


@dataclass(frozen=True, slots=True)
class Taken:
    """What documents took of a line."""

    quantity: Decimal = ZERO
    net: Decimal = ZERO
    tax: Decimal = ZERO

    def plus(self, line: "LineView") -> "Taken":
        return Taken(self.quantity + line.quantity, self.net + line.net, self.tax + (line.tax or ZERO))


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """A line of any of the four documents.

    Attributes:
        line_id: The source's, `U_STREAMS_LINE`; None on a line that somebody keyed in.
        open: What may still be drawn into a next document; 0 when the line is closed.
        net: Of the whole line.
        tax: Of the whole line; None where B1 did not say.
        cancelled: Units that cancellations took off the line before it was closed.
    """

    line_num: int
    line_id: str | None
    item_code: str | None
    warehouse: str | None
    quantity: Decimal
    open: Decimal
    net: Decimal
    tax: Decimal | None
    tax_code: str | None = None
    base_type: int | None = None
    base_entry: int | None = None
    base_line: int | None = None
    cancelled: Decimal = ZERO

    @property
    def closed(self) -> bool:
        return not self.open


@dataclass(frozen=True, slots=True, kw_only=True)
class FreightView:
    """An additional expense of a document."""

    code: int
    net: Decimal
    tax: Decimal | None
    tax_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentView:
    """An order, a delivery, an invoice or a credit memo.

    `object` is the entity set, `k` its U_STREAMS_KEY, `number` NumAtCard, `address` the filled fields of
    AddressExtension.
    """

    object: str
    k: str | None
    doc_entry: int
    doc_num: int
    card_code: str | None
    currency: str | None
    number: str | None
    cancelled: bool
    closed: bool
    lines: tuple[LineView, ...]
    freight: tuple[FreightView, ...] = ()
    address: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView(DocumentView):
    """An order and its documents, cancelled ones left out."""

    object: str = "Orders"
    k: str
    deliveries: tuple[DocumentView, ...] = ()
    invoices: tuple[DocumentView, ...] = ()
    credits: tuple[DocumentView, ...] = ()

    def line_num_of(self, line: LineView) -> int | None:
        """The order's line that a document's line comes from: by its base documents, else by the source's line id."""
        if line.base_type == ORDER and line.base_entry == self.doc_entry:
            return line.base_line
        if line.base_type in (DELIVERY, INVOICE):
            for document in self.deliveries if line.base_type == DELIVERY else self.invoices:
                if document.doc_entry == line.base_entry:
                    return next(
                        (self.line_num_of(base) for base in document.lines if base.line_num == line.base_line), None
                    )
        if line.line_id is None:
            return None
        return next((own.line_num for own in self.lines if own.line_id == line.line_id), None)

    def delivered(self, line_num: int) -> Taken:
        """What left of an order's line: by deliveries, and by invoices that somebody drew straight from the order."""
        documents = (*self.deliveries, *self.invoices)
        return self._taken(line_num, documents, lambda line: line.base_type == ORDER)

    def invoiced(self, line_num: int) -> Taken:
        return self._taken(line_num, self.invoices)

    def credited(self, line_num: int) -> Taken:
        return self._taken(line_num, self.credits)

    def cancelled_quantity(self, line: LineView) -> Decimal:
        """Units of a line that were ordered and will never leave."""
        if self.cancelled:
            return line.cancelled + line.quantity
        return line.cancelled + (
            max(ZERO, line.quantity - self.delivered(line.line_num).quantity) if line.closed else ZERO
        )

    def with_document(self, ref: Document, body: Mapping[str, Any]) -> "OrderView":
        """The order after a document of it was posted.

        Args:
            ref: Where it is.
            body: What B1 answered, or what was sent.
        """
        document = replace(_document(ref.object, body, ref), cancelled=False)
        match ref.object:
            case "DeliveryNotes":
                return replace(self._drawn(document), deliveries=(*self.deliveries, document))
            case "Invoices":
                return replace(self._drawn(document), invoices=(*self.invoices, document))
            case "CreditNotes":
                return replace(self._drawn(document), credits=(*self.credits, document))
            case _:
                raise ValueError(f"{ref.object} is no document of an order")

    def _taken(
        self, line_num: int, documents: Iterable[DocumentView], only: Callable[[LineView], bool] | None = None
    ) -> Taken:
        taken = Taken()
        for document in documents:
            for line in document.lines:
                if (only is None or only(line)) and self.line_num_of(line) == line_num:
                    taken = taken.plus(line)
        return taken

    def _drawn(self, document: DocumentView) -> "OrderView":
        """The order, its deliveries and invoices with what `document` draws from their lines."""
        drawn: dict[tuple[int, int], dict[int, Decimal]] = {}
        for line in document.lines:
            if line.base_type is not None and line.base_entry is not None and line.base_line is not None:
                of = drawn.setdefault((line.base_type, line.base_entry), {})
                of[line.base_line] = of.get(line.base_line, ZERO) + line.quantity
        lines = _less(self.lines, drawn.get((ORDER, self.doc_entry), {}))
        return replace(
            self,
            lines=lines,
            closed=self.closed or all(line.closed for line in lines),
            deliveries=tuple(_document_less(d, drawn.get((DELIVERY, d.doc_entry), {})) for d in self.deliveries),
            invoices=tuple(_document_less(d, drawn.get((INVOICE, d.doc_entry), {})) for d in self.invoices),
        )


def queries(order_ks: Sequence[str]) -> list[str]:
    """The reads that `parse` needs for these orders, one per entity set of `ENTITY_SETS`, in that order.

    Raises:
        ValueError: More than `MAX_ORDERS`.
    """
    if len(order_ks) > MAX_ORDERS:
        raise ValueError(f"{len(order_ks)} orders in one query; at most {MAX_ORDERS}")
    condition = " or ".join(f"U_STREAMS_ORDER eq {quote_literal(k)}" for k in order_ks)
    return [f"{entity}?$select={_SELECT}&$filter={condition}&$orderby=DocEntry" for entity in ENTITY_SETS]


def parse(
    answers: Sequence[Mapping[str, Any] | Sequence[Mapping[str, Any]]], order_ks: Sequence[str] = ()
) -> dict[str, OrderView | None]:
    """The orders in the answers to `queries`; one of `order_ks` that B1 does not have is None.

    Args:
        answers: One per query, in order: B1's body, or all its rows.
        order_ks: What was asked for.

    Raises:
        ValueError: An answer is only a first page: half a memory would post twice.
    """
    found: dict[str, dict[str, list[DocumentView]]] = {}
    for entity, answer in zip(ENTITY_SETS, answers, strict=True):
        for row in _rows(answer):
            document = _document(entity, row)
            # A cancelled order still says what became of it; other cancelled documents and their mirrors do not count.
            if document.cancelled and entity != "Orders":
                continue
            found.setdefault(str(row["U_STREAMS_ORDER"]), {}).setdefault(entity, []).append(document)
    views: dict[str, OrderView | None] = dict.fromkeys(order_ks)
    for k, documents in found.items():
        # "Duplicate" in the client copies user fields: the first one is ours.
        order = next((d for d in documents.get("Orders", ()) if d.k == k), None)
        if order is not None:
            views[k] = _order(k, order, documents)
    return views


def placed(k: str, ref: Document, body: Mapping[str, Any]) -> OrderView:
    """The view of an order that was just posted; `body` is what B1 answered, or what was sent."""
    return _order(k, _document("Orders", body, ref), {})


def invoice_query(order: OrderView) -> str:
    """The read of invoices that somebody made by hand for an order (`invoices.on = "never"`)."""
    card, number = quote_literal(order.card_code or ""), quote_literal(order.number or "")
    return f"Invoices?$select={_SELECT}&$filter=CardCode eq {card} and NumAtCard eq {number}&$orderby=DocEntry"


def parse_invoices(answer: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[DocumentView, ...]:
    """The invoices in the answer to `invoice_query` that stand.

    Raises:
        ValueError: The answer is only a first page.
    """
    documents = (_document("Invoices", row) for row in _rows(answer))
    return tuple(document for document in documents if not document.cancelled)


def cancelled_note(line: LineView, quantity: Decimal) -> str:
    """FreeText of a line that loses `quantity`: read by people, and by `parse` for the refund of what never left."""
    cancelled = line.cancelled + quantity
    return _CANCELLED_NOTE.format(cancelled=_plain(cancelled), ordered=_plain(line.quantity + line.cancelled))


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


def _rows(answer: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(answer, Mapping):
        return answer
    if "@odata.nextLink" in answer or "odata.nextLink" in answer:
        raise ValueError("the answer has a next page; read all pages before it is parsed")
    rows: Sequence[Mapping[str, Any]] = answer["value"]
    return rows


def _order(k: str, order: DocumentView, documents: Mapping[str, Sequence[DocumentView]]) -> OrderView:
    own: dict[str, Any] = {each.name: getattr(order, each.name) for each in fields(order)}
    return OrderView(
        **{**own, "k": k},
        deliveries=tuple(documents.get("DeliveryNotes", ())),
        invoices=tuple(documents.get("Invoices", ())),
        credits=tuple(documents.get("CreditNotes", ())),
    )


def _document(entity: str, row: Mapping[str, Any], ref: Document | None = None) -> DocumentView:
    closed = row.get("DocumentStatus") in ("bost_Close", "C")
    address = row.get("AddressExtension") or {}
    return DocumentView(
        object=entity,
        k=row.get("U_STREAMS_KEY"),
        doc_entry=ref.doc_entry if ref else int(row["DocEntry"]),
        doc_num=ref.doc_num if ref else int(row["DocNum"]),
        card_code=row.get("CardCode"),
        currency=row.get("DocCurrency") or None,
        number=row.get("NumAtCard") or None,
        cancelled=row.get("Cancelled") in ("tYES", "Y")
        or row.get("CancelStatus") in ("csYes", "csCancellation", "Y", "C"),
        closed=closed,
        lines=tuple(_line(line, i, closed) for i, line in enumerate(row.get("DocumentLines") or ())),
        freight=tuple(_freight(line) for line in row.get("DocumentAdditionalExpenses") or ()),
        address={name: value for name, value in address.items() if isinstance(value, str) and value},
    )


def _line(row: Mapping[str, Any], position: int, closed: bool) -> LineView:
    quantity = _decimal(row.get("Quantity")) or ZERO
    remaining = _decimal(row.get("RemainingOpenQuantity"))
    closed = closed or row.get("LineStatus") in ("bost_Close", "C")
    note = _CANCELLED.search(row.get("FreeText") or "")
    foreign = _decimal(row.get("RowTotalFC"))
    tax = _decimal(row.get("NetTaxAmountFC")) if foreign else None
    for name in ("TaxTotal", "NetTaxAmount"):
        tax = _decimal(row.get(name)) if tax is None else tax
    base_type, base_entry, base_line = (row.get(name) for name in ("BaseType", "BaseEntry", "BaseLine"))
    based = base_type is not None and base_entry is not None and base_line is not None and int(base_type) > 0
    return LineView(
        line_num=int(row.get("LineNum", position)),
        line_id=row.get("U_STREAMS_LINE") or None,
        item_code=row.get("ItemCode") or None,
        warehouse=row.get("WarehouseCode") or None,
        quantity=quantity,
        open=ZERO if closed else (quantity if remaining is None else remaining),
        net=foreign or _decimal(row.get("LineTotal")) or ZERO,
        tax=tax,
        tax_code=row.get("VatGroup") or row.get("TaxCode") or None,
        base_type=int(base_type) if based else None,  # type: ignore[arg-type]  # `based` says none is None
        base_entry=int(base_entry) if based else None,  # type: ignore[arg-type]
        base_line=int(base_line) if based else None,  # type: ignore[arg-type]
        cancelled=Decimal(note[1]) if note else ZERO,
    )


def _freight(row: Mapping[str, Any]) -> FreightView:
    foreign = _decimal(row.get("LineTotalFC"))
    tax = _decimal(row.get("TaxSumFC")) if foreign else None
    return FreightView(
        code=int(row["ExpenseCode"]),
        net=foreign or _decimal(row.get("LineTotal")) or ZERO,
        tax=_decimal(row.get("TaxSum")) if tax is None else tax,
        tax_code=row.get("VatGroup") or row.get("TaxCode") or None,
    )


def _decimal(value: object) -> Decimal | None:
    """A number as the Service Layer writes it: JSON numbers arrive as int or Decimal, some as text."""
    return None if value is None or value == "" else Decimal(str(value))


def _less(lines: Sequence[LineView], drawn: Mapping[int, Decimal]) -> tuple[LineView, ...]:
    return tuple(
        replace(line, open=max(ZERO, line.open - drawn[line.line_num])) if line.line_num in drawn else line
        for line in lines
    )


def _document_less(document: DocumentView, drawn: Mapping[int, Decimal]) -> DocumentView:
    if not drawn:
        return document
    lines = _less(document.lines, drawn)
    return replace(document, lines=lines, closed=document.closed or all(line.closed for line in lines))
