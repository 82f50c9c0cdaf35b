"""Paths that try to lead a proxy elsewhere. The unit tests and the end-to-end tests send the same."""

# The proxy passes none of them on.
NASTY_PATHS = (
    "/proxy/billing/../admin",
    "/proxy/billing/..",
    "/proxy/billing/.",
    "/proxy/billing/a/./b",
    "/proxy/billing/a/../../b",
    "/proxy/billing/%2e%2e/admin",
    "/proxy/billing/%2E%2E%2Fadmin",
    "/proxy/billing/..%2fadmin",
    "/proxy/billing/.%2e/admin",
    "/proxy/billing/%252e%252e/admin",
    "/proxy/billing/%25252e%25252e/admin",
    "/proxy/billing/..;/admin",
    "/proxy/billing/..;x=1/admin",
    "/proxy/billing/a%3b../admin;..",
    "/proxy/billing/..%5cadmin",
    "/proxy/billing/..\\admin",
    "/proxy/billing/\\\\evil.example\\x",
    "/proxy/billing/x%0d%0aHost:%20evil.example",
    "/proxy/billing/x%0ay",
    "/proxy/billing/x%00y",
    "/proxy/billing/x%250d%250ay",
    "/proxy/billing/%",
    "/proxy/billing/%zz",
    "/proxy/billing/%2",
    "/proxy/billing/<script>",
    "/proxy/billing/%20../",
    "/proxy/billing/%2e%2e%20/",
)

# They are paths like any other, to the listed origin: what is sent, and what the upstream at /v2 is asked for.
ODD_PATHS = (
    ("/proxy/billing/@evil.example/x", "/v2/@evil.example/x"),
    ("/proxy/billing//evil.example/x", "/v2//evil.example/x"),
    ("/proxy/billing/https://evil.example/x", "/v2/https://evil.example/x"),
    ("/proxy/billing/user:pass@evil.example:443/x", "/v2/user:pass@evil.example:443/x"),
    ("/proxy/billing/%2F%2Fevil.example/x", "/v2/%2F%2Fevil.example/x"),
    ("/proxy/billing/%40evil.example", "/v2/%40evil.example"),
    ("/proxy/billing/:8443/x", "/v2/:8443/x"),
    ("/proxy/billing/%3Fx=1%23y", "/v2/%3Fx=1%23y"),
)
