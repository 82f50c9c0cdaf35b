"""The gateway as a client: a request that came in by HTTP goes out over mutual TLS, to a listed upstream and no other.

`routes` is the table of upstreams, `paths` and `headers` make the outgoing request, `problems` the answer where there
is none from upstream. These call nothing. `forwarding` sends it; `api_gateway` speaks the event's language.
"""
