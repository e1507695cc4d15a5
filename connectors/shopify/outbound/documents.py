"""The mutations, with the words of their refusals.

From shopify.dev, "GraphQL Admin API reference", 2026-04: `inventorySetQuantities`, `productVariantsBulkUpdate`,
`metafieldsSet`, `fulfillmentCreate`, `fulfillmentTrackingInfoUpdate` (read 2026-11-30).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ERRORS = "userErrors { field message code }"
SET_QUANTITIES = f"""mutation SetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {{
  inventorySetQuantities(input: $input) @idempotent(key: $key) {{ inventoryAdjustmentGroup {{ id }} {_ERRORS} }} }}"""
UPDATE_VARIANTS = f"""mutation UpdateVariants($product: ID!, $variants: [ProductVariantsBulkInput!]!) {{
  productVariantsBulkUpdate(productId: $product, variants: $variants, allowPartialUpdates: true) {{
    productVariants {{ id }} {_ERRORS} }} }}"""
SET_MARK = f"""mutation SetMark($metafields: [MetafieldsSetInput!]!) {{
  metafieldsSet(metafields: $metafields) {{ metafields {{ compareDigest }} {_ERRORS} }} }}"""
CREATE_FULFILLMENT = """mutation CreateFulfillment($fulfillment: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $fulfillment) { fulfillment { id } userErrors { field message } } }"""
UPDATE_TRACKING = """mutation UpdateTracking($id: ID!, $tracking: FulfillmentTrackingInput!, $notify: Boolean) {
  fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $tracking, notifyCustomer: $notify) {
    fulfillment { id } userErrors { field message } } }"""

MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class UserError:
    """Why a mutation was refused.

    Attributes:
        code: As COMPARE_QUANTITY_STALE; "": none was said.
        words: Shopify's.
        row: Which of the rows that were sent, from 0; None: all of them.
    """

    code: str
    words: str
    row: int | None

    def __str__(self) -> str:
        return f"{self.code}: {self.words}" if self.code else self.words


def user_errors(payload: Mapping[str, Any]) -> list[UserError]:
    """The refusals of a mutation; none: it was done."""
    found = []
    for each in payload.get("userErrors") or ():
        rows = [int(name) for name in each.get("field") or () if str(name).isdigit()]
        words = " ".join(str(each.get("message") or "nothing that says why").split())[:MAX_WORDS]
        found.append(UserError(str(each.get("code") or ""), words, rows[0] if rows else None))
    return found
