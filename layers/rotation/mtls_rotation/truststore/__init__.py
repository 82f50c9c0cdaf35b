"""The truststore: which anchors belong in it, its bytes, and getting it deployed.

What decides: `plan` (by the `rules` of API Gateway), `guards` (what must never be published), `rollout` (which target
is next), `news` (what there is to say), `bundle` (PEM), `requests` (events), `notes` (what is remembered). What acts:
a `target` such as `api_gateway`, and `sync`, which joins them all.
"""
