"""What signs certificates: the protocol in `api`, a module for each issuer, and `registry`, which knows them all."""
