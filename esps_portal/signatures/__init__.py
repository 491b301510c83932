"""What lets other tools recognise ESPS/1 on the network: the files of ``esps-portal signature``.

Each file is in its tool's own language, begins with how to use it, and knows no more than the
specification says: any implementation is recognised, by its greeting or by its reply to HELLO.

There is no rule for Suricata or Zeek: no test runs them, and an untested rule is not shipped.
"""

from __future__ import annotations

from importlib import resources

import attrs


@attrs.frozen
class Signature:
    """A signature for one kind of tool.

    Attributes:
        file: its name in this folder, and a good one for a copy.
        summary: what it is, for a list.
    """

    file: str
    summary: str

    def read(self) -> str:
        """Return its text, which is ASCII."""
        return (resources.files(__name__) / self.file).read_text(encoding="ascii")


#: By the name of the tool.
SIGNATURES = {
    "nmap": Signature("esps-portal.probes", "probes and matches for nmap -sV, TCP and UDP"),
    "wireshark": Signature("esps.lua", "a dissector for Wireshark and tshark, in Lua"),
    "recog": Signature("esps-portal.xml", "fingerprints with examples, in the form of recog"),
}
