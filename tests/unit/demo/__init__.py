"""The demo's parts: its report, its browser, and how it calls SAM."""
