"""Tests on a stack that `sam build` and `sam deploy` make on the local AWS."""

# Set where `sam build` has run already: runs at the same time share what it made.
ALREADY_BUILT = "MTLS_ROTATION_TESTS_ALREADY_BUILT"
