"""SAP Business One: a company in memory, and its Service Layer over HTTP.

- `state/`: the company: rows, rules, documents, stock; pure, no I/O
- `wire/`: JSON of both versions of the API, replies, multipart batches; pure
- `faults`: what goes wrong, by rate or by script; pure
- `settings`: service times and limits
- `server`: what the server knows between two requests
- `sessions`: login, expiry, limits
- `execution`: requests in service: locks, service time, commit, batches
- `admin`: the surface below `/_simulator/` for tests, demo and checker
- `app`: the ASGI app
"""
