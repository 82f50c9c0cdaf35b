"""The tags of our secrets and keys: permissions on secrets depend on them, and what they name is found by them."""

# Of every secret: the stack's name. Of a KMS key that an operator made for a CA, too: the roles may sign with it.
STACK_TAG = "mtls-rotation:stack"
# Of a secret: "ca", or none for a client's.
KIND_TAG = "mtls-rotation:kind"
# Of a client secret: "allowed" where the proxy may read it.
PROXY_TAG = "mtls-rotation:proxy"
# Of a KMS key that the stack made: for which stack, and for which version of which CA secret. They give no right, for
# the functions may set them: a key's own policy does.
MAKER_TAG = "mtls-rotation:made-by"
VERSION_TAG = "mtls-rotation:version"
SECRET_TAG = "mtls-rotation:secret"  # noqa: S105 - the name of a tag
