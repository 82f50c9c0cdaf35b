"""The demo's page, and pages of reports in every state, in a real browser."""
