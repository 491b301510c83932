"""What the reference server calls itself in its greeting and in HELLO."""

PRODUCT = "esps-portal/0.1.0"
