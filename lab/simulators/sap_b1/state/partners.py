"""Business partners."""

from collections.abc import Mapping
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import column, read_integer


def check_partner(db: Database, kind: DocumentKind, document: Json) -> None:
    code = document.get("CardCode")
    if not code:
        raise RefusedError(-5002, f"Enter a business partner code{column('O' + kind.table, 'CardCode')}")
    partner = db.masters["BusinessPartners"].get(code)
    if partner is None:
        raise RefusedError(-2028, f"No matching records found (ODBC -2028){column('O' + kind.table, 'CardCode')}")
    if partner["Valid"] != "tYES" or partner["Frozen"] == "tYES" or partner["CardType"] != "cCustomer":
        raise RefusedError(-10, f"Business partner '{code}' is inactive or no customer{column('OCRD', 'CardCode')}")
    document.setdefault("CardName", partner.get("CardName"))
    shipping = document.get("TransportationCode")
    if shipping not in (None, -1) and read_integer(shipping, "TransportationCode") not in db.masters["ShippingTypes"]:
        raise RefusedError(-5002, f"Code undefined{column('O' + kind.table, 'TrnspCode')}")


def patch_address(db: Database, partner: Json, sent: Mapping[str, Any]) -> None:
    # In place only with the full key BPCode + AddressName + AddressType + RowNum (live note, 2511).
    identity = ("AddressName", "AddressType")
    rows: list[Json] = partner.setdefault("BPAddresses", [])
    twin = next((row for row in rows if all(row.get(name) == sent.get(name) for name in identity)), None)
    if twin is None:
        db.append(rows, {**sent, "BPCode": partner["CardCode"], "RowNum": len(rows)})
    elif sent.get("BPCode") == partner["CardCode"] and sent.get("RowNum") == twin["RowNum"]:
        for name, value in sent.items():
            db.set(twin, name, value)
    else:
        raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
