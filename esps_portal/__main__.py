"""The command ``esps-portal``, which is ``python -m esps_portal`` too.

Nothing is imported before `main` runs. Imports take most of the time until a command does
something, so a Ctrl-C during them must end it like any other, without a traceback.
"""

from __future__ import annotations

import sys

# As a shell says it: 128 and the number of SIGINT.
_INTERRUPTED = 130


def main() -> None:
    """Run the command in the arguments, and exit with its code."""
    try:
        try:
            from esps_portal.cli import main as run_command  # noqa: PLC0415 - see above
        except OSError as error:  # a file of ours cannot be opened
            sys.exit(f"esps-portal: {error.strerror}: {error.filename}")

        run_command()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
