"""A checked record to events, in the shop's own names, to the penny. Pure.

An event says only what never changes about its record: the same row read again, after it was paid, shipped or commented
on, must say the same (contract section 1).
"""
