"""Calls `echo hi` with the blocking client, and prints the reply."""

import os
import sys

from esps_portal import EspsError
from esps_portal.blocking import connect

try:
    with connect(os.environ["ESPS_PORTAL_URL"]) as client:
        reply = client.call("echo", "hi")
except EspsError as error:
    sys.exit(str(error))
print(*(argument.decode() for argument in reply))  # noqa: T201 - it is what it is for
