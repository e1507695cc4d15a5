"""Dates of documents and posting periods."""

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.metadata import DOCUMENT_DATES
from lab.simulators.sap_b1.state.values import column, day_stamp, read_day


def set_dates(db: Database, kind: DocumentKind, document: Json) -> None:
    due = "DueDate" if kind.transfer else "DocDueDate"
    if kind.number == 17 and not document.get(due):
        raise RefusedError(-5002, f"Enter valid due date{column('O' + kind.table, due)}")
    posting = document.get("DocDate")
    day = db.today if posting is None else read_day(posting, "DocDate")
    document["DocDate"] = day_stamp(day)
    for name in ("TaxDate", due):
        value = document.get(name)
        document[name] = document["DocDate"] if value is None else day_stamp(read_day(value, name))
    for name in DOCUMENT_DATES & document.keys():
        if isinstance(document[name], str) and len(document[name]) != 20:
            document[name] = day_stamp(read_day(document[name], name))
    if db.periods:
        period = next((one for one in db.periods if one.start <= day <= one.end), None)
        if period is None:
            raise RefusedError(-10, f"Date deviates from permissible range{column('O' + kind.table, 'DocDate')}")
        if period.locked:
            raise RefusedError(-4013, "Posting period locked; specify an alternative date")
