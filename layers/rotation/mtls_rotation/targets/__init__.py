"""What runs the truststore: the protocol in `api`, and a module for each kind of target."""
