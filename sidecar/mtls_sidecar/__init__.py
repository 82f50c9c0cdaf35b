"""Gives programs in any language a client certificate that is always the newest: as files, or as a proxy."""
