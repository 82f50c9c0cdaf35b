"""The secret's JSON and the bucket's keys: what is read, and what is refused in which words."""
