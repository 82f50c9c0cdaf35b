"""API Gateway: custom domains and their truststores, client authentication, stages, events and answers of functions.

The rules of AWS; what listens for requests is in ``doors``.
"""
