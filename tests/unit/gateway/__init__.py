"""The authorizer and the proxy."""
