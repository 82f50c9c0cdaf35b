"""Looks for private keys where none may be: in what a run of the tests has written, sent, raised and left behind.

`scanner` finds a key in bytes: by its `shapes`, whosever it is, and by `needles`, the keys that are known. `hearing`,
`local_aws`, `processes` and `files` say where to look, and `watch` does so in every run of pytest. `allowed` lists what
may hold a key, and why.
"""
