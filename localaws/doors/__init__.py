"""The two doors of APIs: the TLS listener of the custom domains, and the default endpoint.

Each makes an ``Exchange`` of a request and hands it to ``apigateway``.
"""
