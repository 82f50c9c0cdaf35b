"""Who may come in at the gateway, beyond what API Gateway checks itself: nobody whose certificate is revoked.

`caller` reads the certificate, `allow_list` who may ask for what, `decision` puts them together. These call nothing;
what is revoked is asked of `revocation.check`, and by which CA somebody came in of `anchors`, which read the bucket.
"""
