"""The truststore: the plan, the guards, the rollout, and whole histories of the sync."""
