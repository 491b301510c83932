"""The matches in a file of nmap's, read as nmap reads them."""

from __future__ import annotations

import re

import attrs

from esps_portal.signatures import SIGNATURES

PROBES = SIGNATURES["nmap"].read()

_MATCH = re.compile(
    r"^match (?P<service>\S+) m\|(?P<pattern>[^|]+)\|"
    r"(?: p/(?P<product>[^/]*)/)?(?: v/(?P<version>[^/]*)/)?(?: i\|(?P<info>[^|]*)\|)?$"
)


@attrs.frozen
class Match:
    """A match line: what it recognises, and what nmap then prints."""

    service: str
    pattern: re.Pattern[str]
    product: str | None
    version: str | None
    info: str | None

    def read(self, response: str) -> dict[str, str] | None:
        """Return service, product, version and information; ``None`` if it does not match."""
        found = self.pattern.search(response)
        if found is None:
            return None
        templates = {"product": self.product, "version": self.version, "info": self.info}
        return {"service": self.service} | {
            name: re.sub(r"\$(\d)", lambda m: found[int(m[1])], template)
            for name, template in templates.items()
            if template is not None
        }


def sections() -> dict[str, list[Match]]:
    """Return the matches of each probe, by its line up to the name."""
    read: dict[str, list[Match]] = {}
    for line in PROBES.splitlines():
        if line.startswith("Probe "):
            read[line.partition(" q|")[0]] = []
        elif line.startswith("match "):
            found = _MATCH.match(line)
            assert found, f"not understood: {line}"
            fields = found.groupdict()
            pattern = re.compile(fields.pop("pattern"), re.ASCII)
            read[list(read)[-1]].append(Match(pattern=pattern, **fields))
    return read


def first_match(probe: str, response: str) -> dict[str, str] | None:
    """Return what nmap prints for a response; over TCP the NULL probe's matches come last."""
    matches = sections()[probe]
    if probe.startswith("Probe TCP"):
        matches = matches + sections()["Probe TCP NULL"]
    return next((read for match in matches if (read := match.read(response)) is not None), None)


def scanned_by_port(port: int, *, wait: int = 200) -> str:
    """Return the file for another port than 2867, whose probes wait for fewer milliseconds."""
    text = PROBES.replace("ports 2867", f"ports {port}\ntotalwaitms {wait}")
    assert text != PROBES
    return text.replace("totalwaitms 6000", f"totalwaitms {wait}").replace("tcpwrappedms 3000", "")
