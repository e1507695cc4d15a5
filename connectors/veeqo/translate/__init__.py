"""Checked records to events, in Veeqo's own ids. Pure.

What may change without meaning anything to B1 (status, tags, names of channels and warehouses) is left out, so that an
order read again says the same.
"""
