"""The guides of ``esps-portal guide``: what is too long for the README.

Each is Markdown, for one task, and its examples are executed by a test.
"""

from __future__ import annotations

from importlib import resources

#: What each guide is about, in the order of reading.
GUIDES = {
    "portal": "a portal in a test suite: stubs, faults, journal, options of pytest",
    "proxy": "a proxy in front of the real server of any protocol",
    "peer": "a peer that plays the server of any protocol",
    "faults": "each fault and selector, with its parameters",
    "cookbook": "eight things that clients get wrong, each as a test",
    "control": "from any language: run, HTTP and JSON, scenarios, recordings",
    "program": "the clients, and a server of your own, on trio or without",
    "operation": "TLS, deployment, metrics, conformance, more than one core",
}


def guide_text(name: str) -> str:
    """Return a guide's Markdown. Raises FileNotFoundError if there is no such guide."""
    return (resources.files(__name__) / f"{name}.md").read_text(encoding="utf-8")
