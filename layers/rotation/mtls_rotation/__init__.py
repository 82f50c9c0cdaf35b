"""The rotation engine that every function of the stack shares.

What decides is apart from what acts. These modules decide, and call nothing: `secret`, `pki`, `truststore.plan`,
`truststore.rules`. These act on AWS, each on one thing: `versions` (Secrets Manager), `bucket` (S3), `bus`
(EventBridge), `truststore.api_gateway` (API Gateway), `handshake` (the network). `rotation`, `truststore.sync` and
`bootstrap` join the two, one for each function.
"""
