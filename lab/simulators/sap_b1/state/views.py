"""Entities as the Service Layer shows them."""

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import KINDS
from lab.simulators.sap_b1.state.messages import Json, Key
from lab.simulators.sap_b1.state.values import ZERO


def view_of(db: Database, entity: str, row: Json) -> Json:
    if entity in KINDS or entity == "Drafts":
        # SAP's type of a transfer has no cancellation.
        hidden = ("Cancelled", "CancelStatus") if "StockTransferLines" in row else ()
        shown = {name: value for name, value in row.items() if name[0] != "_" and name not in hidden}
        for name in ("DocumentLines", "StockTransferLines", "DocumentAdditionalExpenses"):
            if name in shown:
                shown[name] = [dict(member) for member in shown[name]]
        return shown
    if entity == "Items":
        return view_of_master(db, entity, row["ItemCode"])
    return dict(row)


def view_of_master(db: Database, entity: str, key: Key) -> Json:
    row = db.masters[entity][key]
    if entity != "Items" or not isinstance(key, str):
        return dict(row)
    places = [
        {
            "WarehouseCode": warehouse,
            "InStock": db.stock.get((key, str(warehouse)), ZERO),
            "Committed": db.committed.get((key, str(warehouse)), ZERO),
            "Ordered": ZERO,
            "Locked": "tNO",
            "ItemCode": key,
        }
        for warehouse in db.masters["Warehouses"]
    ]
    return {
        **row,
        "QuantityOnStock": sum((place["InStock"] for place in places), ZERO),
        "QuantityOrderedByCustomers": sum((place["Committed"] for place in places), ZERO),
        "ItemWarehouseInfoCollection": places,
    }
