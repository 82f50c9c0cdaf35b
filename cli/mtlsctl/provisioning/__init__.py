"""Further secrets: what is asked for, whether it can be, the certificate that is there already, and the making."""
