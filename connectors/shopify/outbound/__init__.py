"""What a shop is told: levels, prices and owned fields of items, fulfilments.

`documents` are the mutations, `variants` finds what a sku is called there; `levels`, `fields` and `fulfillments` write,
each looking first: a figure that is there already is not written again. `connectors.shopify.sink` puts them together.
"""
