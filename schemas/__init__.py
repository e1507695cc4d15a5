"""The contract: what travels between the packages, and how it looks on the wire. Imports none of our other code."""
