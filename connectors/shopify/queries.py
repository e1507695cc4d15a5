"""What Shopify's GraphQL Admin API is asked."""

#: The order's metafield that says which of its shipments we report (`marks`).
MARK_NAMESPACE, MARK_KEY = "b1_streams", "shipments"

_MONEY = "{ shopMoney { amount currencyCode } }"
_TAXES = f"taxLines {{ title rate priceSet {_MONEY} }}"
_CUT = f"discountAllocations {{ allocatedAmountSet {_MONEY} }}"
_PAGE = "pageInfo { hasNextPage endCursor }"
#: Of a LineItem.
_LINE = f"""id sku name quantity requiresShipping isGiftCard originalUnitPriceSet {_MONEY} {_CUT} {_TAXES}
  duties {{ price {_MONEY} {_TAXES} }}"""
_TRANSACTION = f"id kind status gateway processedAt createdAt amountSet {_MONEY}"
_ADDRESS = "name company address1 address2 city zip provinceCode countryCodeV2 phone"
_FREIGHT = f"title code source originalPriceSet {_MONEY} {_CUT} {_TAXES}"  # of a ShippingLine
#: By their reasons one sees whether an order has more sales than its first.
_REASONS = "id reason"
_HEADS = "fulfillments(first: 50) { id status createdAt updatedAt } refunds(first: 50) { id createdAt }"
_MARK = f'metafield(namespace: "{MARK_NAMESPACE}", key: "{MARK_KEY}") {{ value compareDigest }}'
_ORDER = f"""
  id name createdAt processedAt updatedAt cancelledAt cancelReason test edited taxesIncluded displayFinancialStatus
  sourceName email note tags
  totalPriceSet {_MONEY} totalTaxSet {_MONEY} originalTotalDutiesSet {_MONEY} originalTotalAdditionalFeesSet {_MONEY}
  additionalFees {{ price {_MONEY} {_TAXES} }}
  customer {{ id displayName }} shippingAddress {{ {_ADDRESS} }} billingAddress {{ {_ADDRESS} }}
  transactions(first: 50) {{ {_TRANSACTION} }} {_HEADS} {_MARK}"""
_FULFILLMENT = f"""id status createdAt updatedAt location {{ id }} trackingInfo(first: 10) {{ company number }}
    fulfillmentLineItems(first: $first, after: $after) {{ nodes {{ quantity lineItem {{ id }} }} {_PAGE} }}"""
_REFUND = f"""id createdAt note duties {{ amountSet {_MONEY} }}
    refundShippingLines(first: 5) {{ nodes {{ subtotalAmountSet {_MONEY} taxAmountSet {_MONEY} }} {_PAGE} }}
    orderAdjustments(first: 5) {{ nodes {{ amountSet {_MONEY} taxAmountSet {_MONEY} }} {_PAGE} }}
    transactions(first: 10) {{ nodes {{ {_TRANSACTION} }} {_PAGE} }}
    refundLineItems(first: $first, after: $after) {{
      nodes {{ quantity restockType lineItem {{ id }} location {{ id }} subtotalSet {_MONEY} totalTaxSet {_MONEY} }}
      {_PAGE} }}"""

CHANGED = f"""query Changed($query: String, $first: Int!, $after: String) {{
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{ nodes {{ id updatedAt }} {_PAGE} }} }}"""
ORDER = f"""query Order($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ {_ORDER}
    shippingLines(first: 5) {{ nodes {{ {_FREIGHT} }} {_PAGE} }}
    agreements(first: 10) {{ nodes {{ {_REASONS} }} {_PAGE} }}
    lineItems(first: $first, after: $after) {{ nodes {{ {_LINE} }} {_PAGE} }} }} }}"""
LINES = f"""query Lines($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ lineItems(first: $first, after: $after) {{ nodes {{ {_LINE} }} {_PAGE} }} }} }}"""
FULFILLMENT = f"""query Fulfillment($id: ID!, $first: Int!, $after: String) {{
  fulfillment(id: $id) {{ {_FULFILLMENT} }} }}"""
REFUND = f"""query Refund($id: ID!, $first: Int!, $after: String) {{ refund(id: $id) {{ {_REFUND} }} }}"""
#: The same of several at once.
FULFILLMENTS = f"""query Fulfillments($ids: [ID!]!, $first: Int!, $after: String) {{
  nodes(ids: $ids) {{ ... on Fulfillment {{ {_FULFILLMENT} }} }} }}"""
REFUNDS = f"""query Refunds($ids: [ID!]!, $first: Int!, $after: String) {{
  nodes(ids: $ids) {{ ... on Refund {{ {_REFUND} }} }} }}"""
AGREEMENTS = f"""query Agreements($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ agreements(first: $first, after: $after) {{
    nodes {{ id happenedAt reason sales(first: 20) {{
      nodes {{ actionType lineType quantity totalAmount {_MONEY} totalTaxAmount {_MONEY}
               ... on ProductSale {{ lineItem {{ id }} }} ... on GiftCardSale {{ lineItem {{ id }} }}
               ... on TipSale {{ lineItem {{ id }} }} }}
      {_PAGE} }} }} {_PAGE} }} }} }}"""
LEVELS = f"""query Levels($id: ID!, $query: String, $names: [String!]!, $first: Int!, $after: String) {{
  location(id: $id) {{ inventoryLevels(first: $first, after: $after, query: $query) {{
    nodes {{ updatedAt quantities(names: $names) {{ name quantity }} item {{ id sku tracked duplicateSkuCount }} }}
    {_PAGE} }} }} }}"""
#: For a bulk operation: connections need no size there, and none may stand inside a list; so what fulfilments and
#: refunds are made of is asked for afterwards. A row that belongs to another is known by its id.
ORDERS_IN_BULK = f"""{{ orders(query: "%s") {{ edges {{ node {{ {_ORDER}
  agreements {{ edges {{ node {{ {_REASONS} }} }} }}
  shippingLines {{ edges {{ node {{ id {_FREIGHT} }} }} }} lineItems {{ edges {{ node {{ {_LINE} }} }} }} }} }} }} }}"""
# Rows of one object follow one another only where that is asked for (changelog of 2025-10-29, for 2026-01).
RUN_BULK = """mutation Run($query: String!) { bulkOperationRunQuery(query: $query, groupObjects: true) {
  bulkOperation { id status } userErrors { field message } } }"""
BULK_STATUS = """query BulkStatus($id: ID!) { node(id: $id) { ... on BulkOperation {
  id status errorCode objectCount url partialDataUrl } } }"""

# ---- for what is written; the mutations are in `outbound.documents`

VARIANTS = f"""query Variants($query: String, $first: Int!, $after: String) {{
  productVariants(first: $first, after: $after, query: $query) {{
    nodes {{ id sku product {{ id }} inventoryItem {{ id }} }} {_PAGE} }} }}"""
VARIANT_FIELDS = """query VariantFields($ids: [ID!]!) {
  nodes(ids: $ids) { ... on ProductVariant { id price barcode inventoryItem { tracked } } } }"""
QUANTITIES = """query Quantities($ids: [ID!]!, $location: ID!, $names: [String!]!) {
  nodes(ids: $ids) { ... on InventoryItem { id tracked
    inventoryLevel(locationId: $location) { quantities(names: $names) { name quantity } } } } }"""
CURRENCY = "query Currency { shop { currencyCode } }"
MARKED_ORDER = f"""query MarkedOrder($id: ID!) {{ order(id: $id) {{ id {_HEADS} {_MARK} }} }}"""
FULFILLMENT_ORDERS = f"""query FulfillmentOrders($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ fulfillmentOrders(first: $first, after: $after) {{
    nodes {{ id status assignedLocation {{ location {{ id }} }}
      lineItems(first: 50) {{ nodes {{ id remainingQuantity lineItem {{ id sku }} }} {_PAGE} }} }} {_PAGE} }} }} }}"""
FULFILLMENT_ORDER_LINES = f"""query FulfillmentOrderLines($id: ID!, $first: Int!, $after: String) {{
  fulfillmentOrder(id: $id) {{ lineItems(first: $first, after: $after) {{
    nodes {{ id remainingQuantity lineItem {{ id sku }} }} {_PAGE} }} }} }}"""
