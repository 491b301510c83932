"""The kinds of deployment that the package has files for."""

from __future__ import annotations

from importlib import resources

import attrs


@attrs.frozen
class Kind:
    """Files that belong together.

    Attributes:
        name: of the kind, and of its folder.
        summary: what it is for, in a few words.
        files: their names, in the order in which to read them.
    """

    name: str
    summary: str
    files: tuple[str, ...]

    def read(self, file: str) -> str:
        """Return the text of one of the files.

        Example::

            KINDS["systemd"].read("esps-portal.socket")
        """
        folder = resources.files("esps_portal.deployment") / self.name
        return (folder / file).read_text(encoding="utf-8")


#: Each kind by its name.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "systemd",
            "a hardened service of a Linux machine, with socket activation",
            (
                "esps-portal.service",
                "esps-portal.socket",
                "esps-portal@.service",
                "esps-portal.default",
                "esps-portal-tls.conf",
            ),
        ),
        Kind(
            "container",
            "a small container, not root and read-only, and a Compose file",
            ("Containerfile", "compose.yaml"),
        ),
        Kind(
            "kubernetes",
            "two portals, a service of both transports, and a disruption budget",
            ("deployment.yaml", "service.yaml", "disruption-budget.yaml"),
        ),
        Kind(
            "haproxy",
            "HAProxy before two portals, over TCP, with and without the PROXY protocol",
            ("haproxy.cfg", "haproxy-proxy-v2.cfg"),
        ),
        Kind(
            "firewall",
            "nftables: who may reach the port, and how often over UDP",
            ("esps-portal.nft",),
        ),
    )
}
