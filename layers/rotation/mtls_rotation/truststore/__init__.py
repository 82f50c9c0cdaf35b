"""The truststore: which anchors belong in it (`plan`, `rules`), its bytes (`bundle`), and getting it deployed
(`domain`, `sync`).
"""
