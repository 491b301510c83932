"""How addresses and long texts are written in a line for a person."""

from __future__ import annotations


def host_port(host: str, port: int) -> str:
    """Return ``HOST:PORT``, with an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shortened(text: str, max_length: int) -> str:
    """Return ``text`` in at most ``max_length`` characters; ``...`` replaces what does not fit."""
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."
