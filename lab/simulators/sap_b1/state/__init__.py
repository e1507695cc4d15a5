"""The company behind the Service Layer: rows in a `database.Database`, and functions over it, one file a concern.

company      the object that the rest of the world sees
messages     requests, answers, refusals            rules       settings of the company, posting periods
paths        resource paths                         values      numbers, money, dates
kinds        kinds of document, as a table          metadata    types, defaults, lengths
change_sets  one change set, whole or not at all    queries     GET; `odata` is its language, `views` what it shows
documents    orders, deliveries, invoices ...       lines       their lines; `amounts` their money
base_documents  what is drawn from another one      changes     PATCH; `actions`: close, cancel
drafts       previews and approvals                 locks       who waits for whom
items, partners, currencies, periods, master_data, user_tables, stock, services
history      the ledger for a checker
"""
