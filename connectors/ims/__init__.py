"""Any inventory system that can write files: JSON lines as in contract section 1, CSV and JSON documents by a mapping.

They lie in a folder, on an SFTP server or behind an HTTPS URL. There is no vendor and no API version. Limits are ours:
a line of at most 990,000 bytes, so that it and the headers of its dead letter always fit into one Kafka record of 1
MiB, and JSON nested at most 32 deep.
"""
