"""The stack's own life: made, updated, removed."""
