"""Currencies of documents and their exchange rates."""

from datetime import date
from decimal import Decimal

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import column, read_number


def exchange_rate(db: Database, currency: str, day: date) -> Decimal:
    rate = next((value for start, value in reversed(db.rates.get(currency, [])) if start <= day), None)
    if rate is None:
        raise RefusedError(-10, f"Update the exchange rate, '{currency}'")
    return rate


def set_currency(db: Database, kind: DocumentKind, document: Json) -> Decimal:
    """Local units for one unit of the document's currency."""
    local = db.rules.local_currency
    partner = db.masters["BusinessPartners"].get(document.get("CardCode") or "", {})
    partners = partner.get("Currency") or "##"
    currency = document.get("DocCurrency") or (local if partners == "##" else partners)
    if partners != "##" and currency not in (partners, local):
        raise RefusedError(-10, f"Currency '{currency}' is not the partner's{column('O' + kind.table, 'DocCur')}")
    document["DocCurrency"] = currency
    if currency == local:
        document["DocRate"] = Decimal(1)
        return Decimal(1)
    day = date.fromisoformat(document["DocDate"][:10])
    rate = read_number(document["DocRate"], "DocRate") if document.get("DocRate") else exchange_rate(db, currency, day)
    document["DocRate"] = rate
    return rate
