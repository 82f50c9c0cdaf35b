"""The demo: the stack on the embedded local AWS, and a live certificate rotated under traffic."""
