"""What may be asked: the part of Shopify's schema that clients of a shop use, in GraphQL's own language.

From the objects' pages of shopify.dev, "GraphQL Admin API reference", 2026-04. Leaves are a scalar that takes any
value: tests put into the shop what no schema allows.
"""

from graphql import GraphQLSchema, build_schema

_CONNECTIONS = (
    "Order",
    "LineItem",
    "ShippingLine",
    "FulfillmentLineItem",
    "RefundLineItem",
    "RefundShippingLine",
    "OrderAdjustment",
    "OrderTransaction",
    "SalesAgreement",
    "Sale",
    "InventoryLevel",
    "Location",
    "WebhookSubscription",
    "ProductVariant",
    "FulfillmentOrder",
    "FulfillmentOrderLineItem",
)
_PAGE = "first: Int, after: String"
_SALE = "id: ID actionType: Value lineType: Value quantity: Value totalAmount: MoneyBag totalTaxAmount: MoneyBag"
_AGREEMENT = f"id: ID happenedAt: Value reason: Value sales({_PAGE}): SaleConnection"
_SDL = f"""
scalar Value
directive @idempotent(key: String!) on FIELD
enum OrderSortKeys {{ UPDATED_AT CREATED_AT ID }}
interface Node {{ id: ID }}
type PageInfo {{ hasNextPage: Boolean! endCursor: String }}

type Query {{
  order(id: ID!): Order
  orders({_PAGE}, query: String, sortKey: OrderSortKeys): OrderConnection
  fulfillment(id: ID!): Fulfillment
  refund(id: ID!): Refund
  location(id: ID!): Location
  locations({_PAGE}, includeInactive: Boolean): LocationConnection
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]
  currentAppInstallation: AppInstallation
  webhookSubscriptions({_PAGE}): WebhookSubscriptionConnection
  productVariants({_PAGE}, query: String): ProductVariantConnection
  fulfillmentOrder(id: ID!): FulfillmentOrder
  shop: Shop!
}}
type Mutation {{
  bulkOperationRunQuery(query: String!, groupObjects: Boolean): BulkOperationRunQueryPayload
  inventorySetQuantities(input: InventorySetQuantitiesInput!): InventorySetQuantitiesPayload
  productVariantsBulkUpdate(
    productId: ID!, variants: [ProductVariantsBulkInput!]!, allowPartialUpdates: Boolean
  ): ProductVariantsBulkUpdatePayload
  metafieldsSet(metafields: [MetafieldsSetInput!]!): MetafieldsSetPayload
  fulfillmentCreate(fulfillment: FulfillmentInput!, message: String): FulfillmentCreatePayload
  fulfillmentTrackingInfoUpdate(
    fulfillmentId: ID!, trackingInfoInput: FulfillmentTrackingInput!, notifyCustomer: Boolean
  ): FulfillmentTrackingInfoUpdatePayload
}}

input InventoryQuantityInput {{ inventoryItemId: ID! locationId: ID! quantity: Int! changeFromQuantity: Int }}
input InventorySetQuantitiesInput {{
  name: String! reason: String! referenceDocumentUri: String quantities: [InventoryQuantityInput!]!
}}
type InventoryAdjustmentGroup implements Node {{ id: ID }}
type InventorySetQuantitiesPayload {{
  inventoryAdjustmentGroup: InventoryAdjustmentGroup userErrors: [UserError!]!
}}
input InventoryItemInput {{ tracked: Boolean }}
input ProductVariantsBulkInput {{ id: ID price: String barcode: String inventoryItem: InventoryItemInput }}
type ProductVariantsBulkUpdatePayload {{ productVariants: [ProductVariant!] userErrors: [UserError!]! }}
input MetafieldsSetInput {{
  ownerId: ID! namespace: String key: String! type: String value: String! compareDigest: String
}}
type Metafield implements Node {{ id: ID namespace: Value key: Value value: Value compareDigest: Value }}
type MetafieldsSetPayload {{ metafields: [Metafield!] userErrors: [UserError!]! }}
input FulfillmentOrderLineItemInput {{ id: ID! quantity: Int! }}
input FulfillmentOrderLineItemsInput {{
  fulfillmentOrderId: ID! fulfillmentOrderLineItems: [FulfillmentOrderLineItemInput!]
}}
input FulfillmentTrackingInput {{ company: String number: String numbers: [String!] url: String urls: [String!] }}
input FulfillmentInput {{
  lineItemsByFulfillmentOrder: [FulfillmentOrderLineItemsInput!]! notifyCustomer: Boolean
  trackingInfo: FulfillmentTrackingInput
}}
type FulfillmentCreatePayload {{ fulfillment: Fulfillment userErrors: [UserError!]! }}
type FulfillmentTrackingInfoUpdatePayload {{ fulfillment: Fulfillment userErrors: [UserError!]! }}

type Shop {{ currencyCode: Value }}
type Product implements Node {{ id: ID }}
type ProductVariant implements Node {{
  id: ID sku: Value price: Value barcode: Value product: Product inventoryItem: InventoryItem
}}
type FulfillmentOrderAssignedLocation {{ location: Location }}
type FulfillmentOrder implements Node {{
  id: ID status: Value assignedLocation: FulfillmentOrderAssignedLocation
  lineItems({_PAGE}): FulfillmentOrderLineItemConnection
}}
type FulfillmentOrderLineItem implements Node {{
  id: ID totalQuantity: Value remainingQuantity: Value lineItem: LineItem
}}

type AppInstallation {{ accessScopes: [AccessScope!]! }}
type AccessScope {{ handle: Value }}
type WebhookSubscription implements Node {{ id: ID topic: Value }}
type BulkOperationRunQueryPayload {{ bulkOperation: BulkOperation userErrors: [UserError!]! }}
type UserError {{ field: Value message: Value code: Value }}
type BulkOperation implements Node {{
  id: ID status: Value errorCode: Value objectCount: Value url: Value partialDataUrl: Value createdAt: Value
  completedAt: Value
}}

type MoneyV2 {{ amount: Value currencyCode: Value }}
type MoneyBag {{ shopMoney: MoneyV2 presentmentMoney: MoneyV2 }}
type TaxLine {{ title: Value rate: Value priceSet: MoneyBag }}
type DiscountAllocation {{ allocatedAmountSet: MoneyBag }}
type Duty {{ price: MoneyBag taxLines: [TaxLine!] }}
type AdditionalFee {{ price: MoneyBag taxLines: [TaxLine!] }}
type Customer implements Node {{ id: ID displayName: Value }}
type MailingAddress {{
  name: Value company: Value address1: Value address2: Value city: Value zip: Value province: Value provinceCode: Value
  country: Value countryCodeV2: Value phone: Value
}}
type OrderTransaction implements Node {{
  id: ID kind: Value status: Value gateway: Value processedAt: Value createdAt: Value amountSet: MoneyBag
}}
type ShippingLine {{
  id: ID title: Value code: Value source: Value originalPriceSet: MoneyBag discountAllocations: [DiscountAllocation!]
  taxLines: [TaxLine!]
}}
type LineItem implements Node {{
  id: ID sku: Value name: Value title: Value quantity: Value currentQuantity: Value unfulfilledQuantity: Value
  requiresShipping: Value isGiftCard: Value originalUnitPriceSet: MoneyBag discountAllocations: [DiscountAllocation!]
  taxLines: [TaxLine!] duties: [Duty!]
}}
type FulfillmentTrackingInfo {{ company: Value number: Value url: Value }}
type Fulfillment implements Node {{
  id: ID name: Value status: Value createdAt: Value updatedAt: Value location: Location
  trackingInfo(first: Int): [FulfillmentTrackingInfo!] fulfillmentLineItems({_PAGE}): FulfillmentLineItemConnection
}}
type FulfillmentLineItem implements Node {{ id: ID quantity: Value lineItem: LineItem }}
type RefundLineItem {{
  id: ID quantity: Value restockType: Value restocked: Value lineItem: LineItem location: Location subtotalSet: MoneyBag
  totalTaxSet: MoneyBag priceSet: MoneyBag
}}
type RefundShippingLine {{ id: ID subtotalAmountSet: MoneyBag taxAmountSet: MoneyBag }}
type RefundDuty {{ amountSet: MoneyBag }}
type OrderAdjustment {{ id: ID reason: Value amountSet: MoneyBag taxAmountSet: MoneyBag }}
type Refund implements Node {{
  id: ID createdAt: Value updatedAt: Value note: Value duties: [RefundDuty!] totalRefundedSet: MoneyBag
  refundLineItems({_PAGE}): RefundLineItemConnection transactions({_PAGE}): OrderTransactionConnection
  refundShippingLines({_PAGE}): RefundShippingLineConnection orderAdjustments({_PAGE}): OrderAdjustmentConnection
}}

interface Sale {{ {_SALE} }}
type ProductSale implements Sale {{ {_SALE} lineItem: LineItem }}
type GiftCardSale implements Sale {{ {_SALE} lineItem: LineItem }}
type TipSale implements Sale {{ {_SALE} lineItem: LineItem }}
type ShippingLineSale implements Sale {{ {_SALE} shippingLine: ShippingLine }}
type DutySale implements Sale {{ {_SALE} duty: Duty }}
type FeeSale implements Sale {{ {_SALE} }}
interface SalesAgreement {{ {_AGREEMENT} }}
type OrderAgreement implements SalesAgreement {{ {_AGREEMENT} }}
type OrderEditAgreement implements SalesAgreement {{ {_AGREEMENT} }}
type ReturnAgreement implements SalesAgreement {{ {_AGREEMENT} }}
type RefundAgreement implements SalesAgreement {{ {_AGREEMENT} }}

type Order implements Node {{
  id: ID name: Value createdAt: Value processedAt: Value updatedAt: Value cancelledAt: Value cancelReason: Value
  closedAt: Value test: Value edited: Value taxesIncluded: Value sourceName: Value displayFinancialStatus: Value
  displayFulfillmentStatus: Value email: Value note: Value tags: Value totalPriceSet: MoneyBag
  currentTotalPriceSet: MoneyBag totalTaxSet: MoneyBag originalTotalDutiesSet: MoneyBag
  originalTotalAdditionalFeesSet: MoneyBag additionalFees: [AdditionalFee!] customer: Customer
  shippingAddress: MailingAddress billingAddress: MailingAddress lineItems({_PAGE}): LineItemConnection
  shippingLines({_PAGE}): ShippingLineConnection transactions(first: Int): [OrderTransaction!]
  fulfillments(first: Int): [Fulfillment!] refunds(first: Int): [Refund!] agreements({_PAGE}): SalesAgreementConnection
  fulfillmentOrders({_PAGE}): FulfillmentOrderConnection metafield(namespace: String, key: String!): Metafield
}}

type Location implements Node {{
  id: ID name: Value isActive: Value inventoryLevels({_PAGE}, query: String): InventoryLevelConnection
}}
type InventoryQuantity {{ name: Value quantity: Value updatedAt: Value }}
type InventoryItem implements Node {{
  id: ID sku: Value tracked: Value duplicateSkuCount: Value inventoryLevel(locationId: ID!): InventoryLevel
}}
type InventoryLevel {{
  id: ID updatedAt: Value quantities(names: [String!]!): [InventoryQuantity!] item: InventoryItem location: Location
}}
"""
#: The scope that a field of Query or Mutation needs.
SCOPES = {
    "orders": "read_orders",
    "order": "read_orders",
    "fulfillment": "read_orders",
    "refund": "read_orders",
    "nodes": "read_orders",
    "location": "read_inventory",
    "bulkOperationRunQuery": "read_orders",
    "locations": "read_locations",
    "currentAppInstallation": "",
    "webhookSubscriptions": "",
    "node": "",
    "shop": "",
    "productVariants": "read_products",
    "fulfillmentOrder": "read_merchant_managed_fulfillment_orders",
    "inventorySetQuantities": "write_inventory",
    "productVariantsBulkUpdate": "write_products",
    "metafieldsSet": "write_orders",
    "fulfillmentCreate": "write_merchant_managed_fulfillment_orders",
    "fulfillmentTrackingInfoUpdate": "write_merchant_managed_fulfillment_orders",
}
#: The object of a sale, by its line type.
SALES = {
    "PRODUCT": "ProductSale",
    "GIFT_CARD": "GiftCardSale",
    "TIP": "TipSale",
    "SHIPPING": "ShippingLineSale",
    "DUTY": "DutySale",
    "FEE": "FeeSale",
}


def schema() -> GraphQLSchema:
    """The schema, with a connection for each type that is listed by pages."""
    parts = [
        f"type {name}Edge {{ cursor: String node: {name} }} "
        f"type {name}Connection {{ nodes: [{name}!]! edges: [{name}Edge!]! pageInfo: PageInfo! }}"
        for name in _CONNECTIONS
    ]
    return build_schema("\n".join([_SDL, *parts]))
