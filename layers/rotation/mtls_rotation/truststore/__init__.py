"""The truststore: which anchors belong in it, its bytes, and getting it deployed.

What decides: `plan` (from an `observation`), `guards` (what must never be published), `rollout` (which target is next),
`announcements`, `retention` (what the bucket forgets), `expiry`, `rendering`, `request` (events). What acts: `observe`,
`publish`, `deploy` and `state`, which `sync` joins.
"""
