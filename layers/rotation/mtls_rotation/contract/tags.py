"""The tags of our secrets and keys: permissions depend on them, and what they name is found by them."""

# Of every secret and key: the stack's name.
STACK_TAG = "mtls-rotation:stack"
# Of a secret: "ca", or none for a client's.
KIND_TAG = "mtls-rotation:kind"
# Of a client secret: "allowed" where the proxy may read it.
PROXY_TAG = "mtls-rotation:proxy"
# Of a KMS key: which version of which CA secret it was made for.
VERSION_TAG = "mtls-rotation:version"
SECRET_TAG = "mtls-rotation:secret"  # noqa: S105 - the name of a tag
