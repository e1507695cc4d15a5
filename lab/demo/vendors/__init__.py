"""The same sales as four vendors at once, and a till.

Magento, Shopify and Veeqo sell; which of them an order belongs to follows from its number, whatever else is in the data
(a refunded one is never Veeqo's, which has no refunds). SEKO's two facilities send what the two shops sold, and count
what is there; Veeqo has a warehouse of its own. Each vendor's simulator is a process of its own, and what happens is
made to happen there (`lab/simulators/vendors/server.py`), a little at a time and now: the week is pressed into a
minute, and times are today's. Refunds that name no order, and lines that cannot be read, stay in files: the till's
(kind `ims`).
"""
