"""Calls `echo hi` with the trio client, and prints the reply."""

import os
import sys

import trio

from esps_portal import EspsError, connect


async def main() -> None:
    async with connect(os.environ["ESPS_PORTAL_URL"]) as client:
        reply = await client.call("echo", "hi")
    print(*(argument.decode() for argument in reply))  # noqa: T201 - it is what it is for


try:
    trio.run(main)
except* EspsError as errors:
    sys.exit(str(errors.exceptions[0]))
