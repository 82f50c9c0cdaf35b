"""What runs the truststore: the protocol in `api`, what each takes in `limits`, a module for each kind of target."""
