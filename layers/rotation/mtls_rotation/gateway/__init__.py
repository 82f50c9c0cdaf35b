"""What stands in the way of a request: who comes in, and where it goes on to."""
