"""What the vendors' own ledgers say has happened, in the words of the files (contract section 1), for the proof.

Read as anybody would read a shop's back office: no code of the connectors, nothing of what they sent. One function for
each vendor, from what its simulator answers to `GET /_simulator/ledger`; where a vendor does not tell something (the
tax of a line, the place of a refund), the event does not have it either.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]
Ledger: TypeAlias = Mapping[str, Any]


def magento(ledger: Ledger, *, dispatches: bool) -> Iterator[Event]:
    """Orders, shipments (where the shop reports them), credit memos; its times are UTC and have no zone."""
    for order in ledger["orders"]:
        yield {
            "type": "order_placed",
            "order_id": str(order["entity_id"]),
            "order_number": order["increment_id"],
            "occurred_at": _utc(order["created_at"]),
            "lines": [
                {
                    "line_id": str(item["item_id"]),
                    "sku": item["sku"],
                    "quantity": item["qty_ordered"],
                    "unit_price": item["price"],
                    "discount": item["discount_amount"],
                    "tax_amount": item["tax_amount"],
                }
                for item in order["items"]
            ],
            "shipping": {"amount": order["shipping_amount"], "tax_amount": order["shipping_tax_amount"]},
            "grand_total": order["grand_total"],
        }
    for shipment in ledger["shipments"] if dispatches else ():
        yield {
            "type": "dispatch_confirmed",
            "shipment_id": str(shipment["entity_id"]),
            "order_id": str(shipment["order_id"]),
            "occurred_at": _utc(shipment["created_at"]),
            "location": shipment["extension_attributes"]["source_code"],
            "tracking_numbers": [track["track_number"] for track in shipment["tracks"]],
            "lines": [{"sku": item["sku"], "quantity": item["qty"]} for item in shipment["items"]],
        }
    for memo in ledger["creditmemos"]:
        yield {
            "type": "refund_issued",
            "refund_id": str(memo["entity_id"]),
            "order_id": str(memo["order_id"]),
            "occurred_at": _utc(memo["created_at"]),
            # The shop does not tell whether goods came back; the demo's setting says that they do.
            "lines": [{"sku": item["sku"], "quantity": item["qty"], "restock": True} for item in memo["items"]],
            "total": memo["grand_total"],
        }


def shopify(ledger: Ledger, *, dispatches: bool) -> Iterator[Event]:
    """Orders with their fulfilments (where the shop reports them) and refunds; prices are net in the demo's shop."""
    for order in ledger["orders"]:
        order_id = _tail(order["id"])
        freight = order["shippingLines"]
        yield {
            "type": "order_placed",
            "order_id": order_id,
            "order_number": order["name"],
            "occurred_at": order["processedAt"],
            "lines": [
                {
                    "line_id": _tail(line["id"]),
                    "sku": line["sku"],
                    "quantity": str(line["quantity"]),
                    "unit_price": _amount(line["originalUnitPriceSet"]),
                    "tax_amount": _sum(_amount(tax["priceSet"]) for tax in line["taxLines"]),
                }
                for line in order["lineItems"]
            ],
            "shipping": {
                "amount": _sum(_amount(line["originalPriceSet"]) for line in freight),
                "tax_amount": _sum(_amount(tax["priceSet"]) for line in freight for tax in line["taxLines"]),
            },
            "grand_total": _amount(order["totalPriceSet"]),
        }
        for one in order["fulfillments"] if dispatches else ():
            yield {
                "type": "dispatch_confirmed",
                "shipment_id": _tail(one["id"]),
                "order_id": order_id,
                "occurred_at": one["createdAt"],
                "location": _tail(one["location"]["id"]),
                "tracking_numbers": [each["number"] for each in one["trackingInfo"]],
                "lines": [
                    {"sku": row["lineItem"]["sku"], "quantity": str(row["quantity"])}
                    for row in one["fulfillmentLineItems"]
                ],
            }
        for refund in order["refunds"]:
            yield {
                "type": "refund_issued",
                "refund_id": _tail(refund["id"]),
                "order_id": order_id,
                "occurred_at": refund["createdAt"],
                "lines": [
                    {
                        "sku": row["lineItem"]["sku"],
                        "quantity": str(row["quantity"]),
                        "restock": row["restockType"] == "RETURN",
                        "location": _tail(row["location"]["id"]),
                    }
                    for row in refund["refundLineItems"]
                ],
                "total": _sum(_amount(paid["amountSet"]) for paid in refund["transactions"]),
            }


def veeqo(ledger: Ledger, *, dispatches: bool) -> Iterator[Event]:
    """Orders, their allocations that were shipped, and what was counted. It tells no tax of a line, and no refunds."""
    for order in ledger["orders"]:
        yield {
            "type": "order_placed",
            "order_id": str(order["id"]),
            "order_number": order["number"],
            "occurred_at": order["created_at"],
            "lines": [
                {
                    "line_id": str(item["id"]),
                    "sku": item["sellable"]["sku_code"],
                    "quantity": str(item["quantity"]),
                    "unit_price": item["price_per_unit"],
                }
                for item in order["line_items"]
            ],
            "shipping": {"amount": order["delivery_cost"]},
            "grand_total": order["total_price"],
        }
        for allocation in order["allocations"] if dispatches else ():
            shipment = allocation["shipment"]
            if shipment is not None:
                yield {
                    "type": "dispatch_confirmed",
                    "shipment_id": str(shipment["id"]),
                    "order_id": str(order["id"]),
                    "occurred_at": shipment["created_at"],
                    "location": str(allocation["warehouse"]["id"]),
                    "tracking_numbers": [shipment["tracking_number"]["tracking_number"].strip()],
                    "lines": [
                        {"sku": item["sellable"]["sku_code"], "quantity": str(item["quantity"])}
                        for item in allocation["line_items"]
                    ],
                }
    # Veeqo tells a count but not why: the demo's setting says what they all are.
    for number, count in enumerate(ledger["counts"], 1):
        yield {
            "type": "stock_adjusted",
            "event_id": f"count {number}",
            "occurred_at": count["at"],
            "sku": count["sku"],
            "location": str(count["place"]),
            "delta": count["delta"],
            "reason": "count",
        }


def seko(ledger: Ledger, *, dispatches: bool) -> Iterator[Event]:
    """Every message that the hub had to say, pushed or not: parcels by the order's reference, adjustments by line."""
    for message in ledger["messages"]:
        match message["service"]:
            case "dispatch" if dispatches:
                parcel = message["Dispatch"]
                yield {
                    "type": "dispatch_confirmed",
                    "shipment_id": parcel["DispatchId"],
                    "order_id": parcel["SalesOrderReference"],
                    "occurred_at": parcel["DispatchDate"],
                    "location": message["dc"],
                    "tracking_numbers": [parcel["TrackingNumber"]],
                    "lines": [
                        {"sku": row["ProductCode"], "quantity": str(row["Quantity"])}
                        for row in message["List"]["DispatchLineItem"]
                    ],
                }
            case "adjustment":
                head = message["StockAdjustment"]
                sign = 1 if head["StockAdjustmentType"] == "Increase" else -1
                for row in message["List"]["StockAdjustmentLineItem"]:
                    yield {
                        "type": "stock_adjusted",
                        "event_id": f"adj:{head['InternalId']}:{row['LineInternalId']}",
                        "occurred_at": head["StockAdjustmentDate"],
                        "sku": row["ProductCode"],
                        "location": head["DCCode"],
                        "delta": str(sign * int(row["Quantity"])),
                        "reason": row["ReasonDescription"],
                    }
            case _:
                continue


READERS: Mapping[str, Callable[..., Iterator[Event]]] = {
    "magento": magento,
    "shopify": shopify,
    "veeqo": veeqo,
    "seko": seko,
}


def shelves(ledger: Ledger) -> dict[tuple[str, str], Decimal]:
    """(sku, place) -> units that the vendor has there now, where it counts any."""
    return {(row["sku"], str(row["place"])): Decimal(row["level"]) for row in ledger.get("stock", ())}


def _utc(text: str) -> str:
    return f"{text.replace(' ', 'T')}+00:00"


def _tail(gid: str) -> str:
    return gid.rpartition("/")[2]


def _amount(bag: Mapping[str, Any]) -> str:
    return str(bag["shopMoney"]["amount"])


def _sum(amounts: Iterator[str]) -> str:
    return format(sum(map(Decimal, amounts), Decimal(0)), "f")
