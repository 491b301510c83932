"""The product name of the reference server, in its greeting and in HELLO."""

PRODUCT = "esps-portal/0.1.0"
