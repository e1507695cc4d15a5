"""B1 as a source: what it says of items, stock, orders and deliveries, read by polls and sweeps.

`source` drives it; `walks` are the queries, `rows` make records of B1's rows, `published` knows what is news, `cursor`
is what outlives a process.
"""
