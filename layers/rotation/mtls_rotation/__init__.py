"""The rotation engine that every function of the stack shares, in rooms on floors.

From the ground up: `errors`, `timing`, `telemetry`, `invocation`; `pki`; `contract`; `aws`; `issuers`, `targets` and
`provers`; `rotation`, `truststore`, `revocation` and `gateway`; `stack`; `assembly`. A room imports from lower floors
alone. docs/architecture.md says what lives in each.
"""
