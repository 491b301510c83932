"""``python -m esps_portal``: the command, under the name of the package."""

from esps_portal.cli import main

if __name__ == "__main__":
    main()
