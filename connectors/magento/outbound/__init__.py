"""What a shop is told: levels, prices and owned attributes of products, shipments.

`catalogue` reads what the shop shows; `levels`, `products` and `shipments` write what differs from it.
`connectors.magento.sink` puts them together.
"""
