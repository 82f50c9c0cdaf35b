"""Applications that call a partner's API through rotations: every library and the sidecar, in processes of their own.

`tests/proof/quick/test_clients.py` plays it short, `tests/benchmarks/clients.py` long.
"""
