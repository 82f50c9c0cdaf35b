"""`make acceptance`: everything that the project promises, tried on an AWS account, or on the local AWS."""
