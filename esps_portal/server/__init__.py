"""The carriers of a portal on trio: they move bytes and perform what the portal decided."""
