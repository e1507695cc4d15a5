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
)
_PAGE = "first: Int, after: String"
_SALE = "id: ID actionType: Value lineType: Value quantity: Value totalAmount: MoneyBag totalTaxAmount: MoneyBag"
_AGREEMENT = f"id: ID happenedAt: Value reason: Value sales({_PAGE}): SaleConnection"
_SDL = f"""
scalar Value
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
}}
type Mutation {{ bulkOperationRunQuery(query: String!, groupObjects: Boolean): BulkOperationRunQueryPayload }}

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
}}

type Location implements Node {{
  id: ID name: Value isActive: Value inventoryLevels({_PAGE}, query: String): InventoryLevelConnection
}}
type InventoryQuantity {{ name: Value quantity: Value updatedAt: Value }}
type InventoryItem implements Node {{ id: ID sku: Value tracked: Value duplicateSkuCount: Value }}
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
