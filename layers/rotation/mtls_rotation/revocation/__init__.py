"""Revocation: what operators revoke, the list that the authorizer reads, and the CRLs. One source, two forms of it.

`notices` reads what an operator uploads, `register` is the list, `crl` the same for one CA; these call nothing. `run`
brings all in line: `revocation_list`, then `crls` and `replacement`. `check` is what asks the list.
"""
