"""`mtlsctl truststore`: what the domains run, what is published, what a sync would do, and asking for one."""
