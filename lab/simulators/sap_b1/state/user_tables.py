"""User tables, user fields and the rows of user tables."""

import re
from collections.abc import Mapping
from typing import Any, Final

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import read_integer

_DOCUMENT_TABLES: Final = re.compile(r"(?:O(?:RDR|DLN|INV|RIN|IGN|IGE|WTR|QUT|RDN|DRF|POR|PDN|PCH|RPC|WTQ)|ADOC)\Z")
_LINE_TABLES: Final = re.compile(r"(?:(?:RDR|DLN|INV|RIN|IGN|IGE|WTR|QUT|RDN|DRF|POR|PDN|PCH|RPC|WTQ)1|DOC1)\Z")
_FIELD_TYPES: Final = {
    "OITM": ("Item",),
    "OCRD": ("BusinessPartner",),
    "OWHS": ("Warehouse",),
    "CRD1": ("BPAddress",),
}


def create_row(db: Database, table: str, body: Mapping[str, Any]) -> str:
    db.check(table, body)
    code = body.get("Code")
    if not isinstance(code, str) or not code:
        raise RefusedError(-5002, f"Code is missing  [@{table[2:]}.Code]")
    rows = db.tables[table]
    if code in rows:
        raise RefusedError(-2035, f"This entry already exists in the following tables '@{table[2:]}' (ODBC -2035)")
    row = {"Code": code, "Name": body.get("Name", code), **db.defaults.get(table, {}), **body}
    for key in _keys(db):
        if key["TableName"] == f"@{table[2:]}" and key["Unique"] == "tYES":
            columns = [f"U_{member['ColumnAlias'].removeprefix('U_')}" for member in key["UserKeysMD_Elements"]]
            if any(all(old.get(name) == row.get(name) for name in columns) for old in rows.values()):
                text = f"This entry already exists in the following tables '@{table[2:]}' (ODBC -2035)"
                raise RefusedError(-2035, text)
    db.set(rows, code, row)
    db.touch(table, code)
    return code


def create_table(db: Database, name: str, row: Json) -> None:
    if not row.get("TableDescription"):
        raise RefusedError(-5002, "Enter a description  [OUTB.Descr]")
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise RefusedError(-5002, f"Invalid table name '{name}'  [OUTB.TableName]")
    db.set(db.tables, f"U_{name}", {})
    db.set(db.properties, f"U_{name}", frozenset({"Code", "Name"}))
    db.set(db.lengths, f"U_{name}", {"Code": 50, "Name": 100})


def check_key(db: Database, row: Json) -> str:
    """The table of a new user key, which has to be there with its columns; on a system table a key is not unique."""
    table, elements = str(row.get("TableName")), row.get("UserKeysMD_Elements") or ()
    if table.startswith("@") and f"U_{table[1:]}" in db.tables:
        type_name = f"U_{table[1:]}"
    elif _DOCUMENT_TABLES.match(table) and db.rules.keys_on_documents and row["Unique"] == "tNO":
        type_name = "Document"
    else:
        raise RefusedError(-5002, f"A user key cannot be added to table '{table}'  [OUKD.TableName]")
    if not elements:
        raise RefusedError(-5002, "Enter the columns of the key  [UKD1.ColAlias]")
    for element in elements:
        if f"U_{str(element.get('ColumnAlias')).removeprefix('U_')}" not in db.properties[type_name]:
            raise RefusedError(-2028, "No matching records found (ODBC -2028)  [UKD1.ColAlias]")
    if any(key["TableName"] == table and key["KeyName"] == row.get("KeyName") for key in _keys(db)):
        raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
    return table


def _keys(db: Database) -> list[Json]:
    return list(db.masters["UserKeysMD"].values())


def create_field(db: Database, row: Json) -> tuple[str, int]:
    table, name = row.get("TableName"), row.get("Name")
    if not isinstance(table, str) or not isinstance(name, str) or not name:
        raise RefusedError(-5002, "Enter table and field name  [CUFD.AliasID]")
    if not row.get("Description"):
        raise RefusedError(-5002, "Enter a description  [CUFD.Descr]")
    if row["Type"] not in ("db_Alpha", "db_Memo", "db_Numeric", "db_Date", "db_Float"):
        raise RefusedError(-1000, f"Enumeration value '{row['Type']}' of 'Type' is invalid")
    if table.startswith("@") and f"U_{table[1:]}" in db.tables:
        types: tuple[str, ...] = (f"U_{table[1:]}",)
    elif _DOCUMENT_TABLES.match(table):
        # The user fields of one marketing document are those of all, transfers and drafts included.
        types = ("Document", "StockTransfer")
    elif _LINE_TABLES.match(table):
        types = ("DocumentLine", "StockTransferLine")
    elif table in _FIELD_TYPES:
        types = _FIELD_TYPES[table]
    else:
        raise RefusedError(-2028, f"No matching records found (ODBC -2028)  [CUFD.TableID '{table}']")
    field_name = f"U_{name}"
    if field_name in db.properties[types[0]]:
        raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
    size = read_integer(row.get("EditSize") or row.get("Size") or 10, "EditSize")
    if row["Type"] == "db_Alpha" and not 1 <= size <= 254:
        raise RefusedError(-5002, "Invalid field size  [CUFD.EditSize]")
    values = row.get("ValidValuesMD") or ()
    for type_name in types:
        db.set(db.properties, type_name, db.properties[type_name] | {field_name})
        if row["Type"] == "db_Alpha":
            db.set(db.lengths, type_name, {**db.lengths.get(type_name, {}), field_name: size})
        if values:
            allowed = {**db.valid_values.get(type_name, {}), field_name: frozenset(v["Value"] for v in values)}
            db.set(db.valid_values, type_name, allowed)
        default = {**db.defaults.get(type_name, {}), field_name: row.get("DefaultValue")}
        db.set(db.defaults, type_name, default)
    taken = [key[1] for key in db.masters["UserFieldsMD"] if isinstance(key, tuple) and key[0] == table]
    row["FieldID"] = len(taken)
    row["Size"] = row["EditSize"] = size
    return (table, len(taken))
