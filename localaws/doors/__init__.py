"""The doors that requests to APIs come in by: the TLS listener of the custom domains, and the default endpoint."""
