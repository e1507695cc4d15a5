"""Any inventory system that can write files into a folder: JSON lines as in contract section 1, or CSV by a mapping.

There is no vendor and no API version. Limits are ours: a line of at most 990,000 bytes, so that it and the headers of
its letter always fit into one Kafka record of 1 MiB, and JSON nested at most 32 deep.
"""
