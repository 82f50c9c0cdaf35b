"""The handlers, with the events of `events/`."""
