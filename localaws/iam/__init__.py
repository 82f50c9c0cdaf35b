"""IAM: which action a request is, what services do in somebody's name, and which statement allowed what."""
