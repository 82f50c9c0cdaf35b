"""Chains of every shape, and who judges them besides us: OpenSSL and GnuTLS, whose servers we speak for.

`drawn` makes chains, `openssl` and `gnutls` ask the libraries, `differences` says where we differ from them, and why.
"""
