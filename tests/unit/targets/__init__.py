"""What runs the truststore: a further kind of target."""
