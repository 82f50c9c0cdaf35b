"""API Gateway: custom domains, client authentication, stages, and what becomes of a request."""
