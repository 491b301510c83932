"""Which hosts are loopback."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: a literal address of loopback, or localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
