"""The files that a server writes: a recording (--record) and a capture (--pcap)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import Option

if TYPE_CHECKING:
    from esps_portal.journal.append_file import AppendFile
    from esps_portal.journal.record_file import RecordFile


def written_file_option(name: str, *, text: str) -> Option:
    """Return an option for the path of a file to write; ``text``: its help."""
    option: Option = click.option(
        name, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=text
    )
    return option


#: Those of a server of any protocol.
record_option: Option = written_file_option(
    "--record", text="Append every connection and unit to FILE, as JSON lines."
)
pcap_option: Option = written_file_option(
    "--pcap", text="Append every connection and unit to FILE, as packets for Wireshark."
)


def open_record(path: Path) -> RecordFile:
    """Open the file to record to; if that fails, print an error and exit 1."""
    from esps_portal.journal.append_file import CannotRecordError  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.record_file import RecordFile  # noqa: PLC0415 - the same
    from esps_portal.product import PRODUCT  # noqa: PLC0415 - the same

    try:
        return RecordFile(path, PRODUCT)
    except CannotRecordError as error:
        exit_with_error(str(error))


def exit_code(*files: AppendFile | None) -> int:
    """Return 1 if a file is not complete, which was logged when it happened; otherwise 0."""
    return int(any(file is not None and file.failure for file in files))
