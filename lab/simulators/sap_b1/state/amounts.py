"""Prices, discounts, taxes, freight and totals of documents."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from lab.simulators.sap_b1.state.base_documents import base_line
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import (
    HUNDRED,
    MICRO,
    ZERO,
    column,
    day_stamp,
    read_integer,
    read_number,
    round_money,
)


def _tax_rate(db: Database, sent: Mapping[str, Any], fallback: object, day: date, where: str, number: int) -> Decimal:
    if (code := sent.get("TaxCode")) is not None:
        row = db.masters["SalesTaxCodes"].get(code)
        if row is None or row["Inactive"] == "tYES" or row["ValidForAR"] != "tYES":
            raise RefusedError(-5002, f"Code undefined{column(where, 'TaxCode', number)}")
        return read_number(row["Rate"], "Rate")
    code = sent.get("VatGroup", fallback)
    if code is None:
        return ZERO
    row = db.masters["VatGroups"].get(code)
    if row is None or row["Inactive"] == "tYES":
        raise RefusedError(-5002, f"Code undefined{column(where, 'VatGroup', number)}")
    steps = row["VatGroups_Lines"]
    if len(steps) > 1:
        wanted = day_stamp(day)
        steps = sorted((step for step in steps if step["Effectivefrom"] <= wanted), key=lambda s: s["Effectivefrom"])
    return read_number(steps[-1]["Rate"], "Rate") if steps else ZERO


def set_amounts(
    db: Database,
    kind: DocumentKind,
    document: Json,
    line: Json,
    sent: Mapping[str, Any],
    day: date,
    rate: Decimal,
    discount: Decimal,
) -> None:
    """Price, total and tax of a line; what is sent stands, the rest follows from it."""
    where, number = kind.table + "1", line["LineNum"]
    origin = base_line(db, line)
    quantity = line["Quantity"]
    item = db.masters["Items"].get(line["ItemCode"] or "", {})
    vat = (origin or {}).get("VatGroup") or item.get("SalesVATGroup")
    tax_rate = _tax_rate(db, sent, vat, day, where, number) if kind.partner else ZERO
    if kind.partner and "TaxCode" not in sent:
        line["VatGroup"] = sent.get("VatGroup", vat)
    price = sent.get("UnitPrice", sent.get("Price"))
    given = sent.get("LineTotal", sent.get("RowTotalFC"))
    whole = origin is not None and price is None and given is None and quantity == origin["Quantity"]
    if given is not None:
        total = _incoming(db, given, "LineTotal", rate)
        each = (total / quantity).quantize(MICRO, ROUND_HALF_UP)
        unit = each if price is None else read_number(price, "UnitPrice")
        off = (HUNDRED - each * 100 / unit).quantize(MICRO, ROUND_HALF_UP) if unit else ZERO
    else:
        if price is None and origin is not None:
            price = origin["UnitPrice"]
        unit = read_number(price or 0, "UnitPrice")
        off = read_number(sent.get("DiscountPercent") or (origin or {}).get("DiscountPercent") or 0, "DiscountPercent")
        each = unit * (HUNDRED - off) / 100 if off else unit
        total = round_money(quantity * each)
    if whole and origin is not None:
        total = origin["LineTotal"] if rate == 1 else origin["RowTotalFC"]
    taxed = sent.get("TaxTotal")
    if taxed is not None:
        tax = _incoming(db, taxed, "TaxTotal", rate)
    elif whole and origin is not None:
        tax = origin["TaxTotal"] if rate == 1 else origin["NetTaxAmountFC"]
    else:
        tax = round_money(total * (HUNDRED - discount) * tax_rate / 10_000)
    line["UnitPrice"] = unit
    line["Price"] = each
    line["DiscountPercent"] = off
    line["TaxPercentagePerRow"] = tax_rate
    line["Currency"] = document["DocCurrency"]
    if rate == 1:
        line["LineTotal"], line["RowTotalFC"] = total, ZERO
        line["TaxTotal"], line["NetTaxAmountFC"] = tax, ZERO
    else:
        line["LineTotal"], line["RowTotalFC"] = round_money(total * rate), total
        line["TaxTotal"], line["NetTaxAmountFC"] = round_money(tax * rate), tax
    line["NetTaxAmount"] = line["TaxTotal"]


def _incoming(db: Database, value: object, name: str, rate: Decimal) -> Decimal:
    """An amount that was sent, in the document's currency."""
    amount = read_number(value, name)
    if rate != 1 and not db.rules.amounts_in_document_currency:
        amount /= rate
    return round_money(amount)


def freight_rows(db: Database, kind: DocumentKind, document: Json, day: date, rate: Decimal) -> list[Json]:
    rows: list[Json] = []
    for number, sent in enumerate(document.get("DocumentAdditionalExpenses") or ()):
        where = kind.table + "3"
        code = sent.get("ExpenseCode")
        expense = db.masters["AdditionalExpenses"].get(read_integer(code, "ExpenseCode")) if code is not None else None
        if expense is None:
            raise RefusedError(-5002, f"Code undefined{column(where, 'ExpenseCode', number)}")
        tax_rate = _tax_rate(db, sent, expense.get("OutputVATGroup"), day, where, number)
        total = _incoming(db, sent.get("LineTotal", 0), "LineTotal", rate)
        taxed = sent.get("TaxSum")
        tax = round_money(total * tax_rate / 100) if taxed is None else _incoming(db, taxed, "TaxSum", rate)
        row = dict(sent)
        row.update(
            LineNum=number, ExpenseCode=int(code), TaxPercent=tax_rate, LineGross=round_money((total + tax) * rate)
        )
        row["LineTotal"], row["TaxSum"] = (
            (total, tax) if rate == 1 else (round_money(total * rate), round_money(tax * rate))
        )
        row["LineTotalFC"], row["TaxSumFC"] = (ZERO, ZERO) if rate == 1 else (total, tax)
        rows.append(row)
    return rows


def set_totals(
    db: Database, document: Json, rate: Decimal, discount: Decimal, write: Callable[[str, Any], None] | None = None
) -> None:
    """The document's totals. A `DocTotal` that was sent stands; B1 then bends the discount until it fits."""
    foreign = rate != 1
    line_name, tax_name = ("RowTotalFC", "NetTaxAmountFC") if foreign else ("LineTotal", "TaxTotal")
    freight_name, freight_tax_name = ("LineTotalFC", "TaxSumFC") if foreign else ("LineTotal", "TaxSum")
    net = tax = ZERO
    for line in document["DocumentLines"]:
        net += line[line_name]
        tax += line[tax_name]
    freight = ZERO
    for row in document["DocumentAdditionalExpenses"]:
        freight += row[freight_name]
        tax += row[freight_tax_name]
    put = write or document.__setitem__
    off = round_money(net * discount / 100)
    total = net - off + tax + freight
    if document.get("Rounding") == "tYES":
        total += _incoming(db, document.get("RoundingDiffAmount") or 0, "RoundingDiffAmount", rate)
    asked = document.get("DocTotalFc" if foreign else "DocTotal") if write is None else None
    if asked is not None:
        wanted = round_money(read_number(asked, "DocTotal"))
        if wanted != total and net:
            discount = ((off + total - wanted) * 100 / net).quantize(MICRO, ROUND_HALF_UP)
            off += total - wanted
            total = wanted
    put("DiscountPercent", discount)
    put("DocTotal", round_money(total * rate) if foreign else total)
    put("DocTotalFc", total if foreign else ZERO)
    put("VatSum", round_money(tax * rate) if foreign else tax)
    put("VatSumFc", tax if foreign else ZERO)
    put("TotalDiscount", round_money(off * rate) if foreign else off)
    put("DocTotalSys", document["DocTotal"])
    if document.get("PaidToDate") is None:
        put("PaidToDate", ZERO)
