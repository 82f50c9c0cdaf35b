"""What proves a certificate at an endpoint: a module for each protocol."""
