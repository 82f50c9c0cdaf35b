"""One adapter for each AWS service, and how they are called. No rule of the domain."""
