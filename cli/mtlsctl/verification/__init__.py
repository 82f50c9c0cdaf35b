"""Whether a certificate does its work: the evidence, and the checks that judge by it."""
