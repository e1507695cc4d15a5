"""The one HTTP server for vendors that push: verify, translate, publish, and only then answer 200.

A source registers a `Hook`: its path, its secrets (two while they rotate), a verifier and a translator, both pure. What
a
delivery says is published inside the request: 200 is the vendor's permission to forget it, so it is given only when the
broker has acknowledged every record; until then the answer is 503 with Retry-After, and the vendor sends it again. What
is sent again has the same identities and is a repeat. A delivery that says nothing by itself (a level, a "look here")
is
translated to no items: it wakes its connector, whose poll is the truth and finds also what no webhook brought.

Which process serves it: each that runs connectors (`streams connect`, `streams up`) and has a hook, whichever
connectors the group has given it. Publishing needs no ownership, so any of them behind a load balancer may take any
delivery; a wake-up reaches only the process that runs the connector, and elsewhere the poll's own interval is the wait.
The server speaks HTTP on loopback: TLS ends at the reverse proxy before it.

    webhooks = WebhookServer(hooks, WebhookIngest(publisher, letters, metrics), clock, settings, wake=group.wake)
    async with WebhookListener(webhooks.app, settings): ...
"""
