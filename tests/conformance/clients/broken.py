"""A client that calls `echo hi`, and has the fault that its argument names."""

import os
import re
import socket
import sys
import time
import urllib.parse

FAULT = sys.argv[1]
URL = urllib.parse.urlsplit(os.environ["ESPS_PORTAL_URL"])
ADDRESS = (URL.hostname or "", URL.port or 0)
TAG = b"0123456789abcdef" if FAULT != "short-tag" else b"a"
END = b"\r\n" if FAULT == "cr-lf" else b"\n"
CALL = TAG + b" CALL echo hi" + END
GOOD = re.compile(rb"(\S+) (OK|DATA|ERR [a-z]\S*|BYE|ESPS/1)((?: [!$&-~%]+)*)\r?")


def fail(why: str) -> None:
    sys.exit(why)


def take(line: bytes, own_tag: bytes = TAG) -> None:
    """End with the reply, if this line is one."""
    if FAULT == "any-spaces":
        line = b" ".join(line.split())
    found = GOOD.fullmatch(line)
    if found is None:
        fail("not a line")
        return
    tag, kind, arguments = found.groups()
    if kind.startswith(b"ERR") and tag == own_tag and FAULT != "errors-are-replies":
        fail("an error")
    if tag == own_tag or (FAULT == "any-tag" and tag != b"*"):
        text = re.sub(rb"%(..)", lambda escape: bytes([int(escape[1], 16)]), arguments)
        print(text.decode().strip())  # noqa: T201 - it is what it is for
        sys.exit(0)


def tcp() -> None:
    with socket.create_connection(ADDRESS) as server:
        server.sendall(CALL)
        unread, greeted = b"", FAULT == "no-greeting"
        while data := server.recv(65536):
            *lines, unread = (unread + data).split(b"\n")
            for line in filter(None, lines):
                if not greeted and not line.startswith(b"* ESPS/1 "):
                    fail("no greeting")
                greeted = True
                take(line)
        if FAULT == "fragments":
            take(unread)
        sys.exit(FAULT != "silent-end")


def udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        for attempt in range(5):
            tag = b"%016d" % attempt if FAULT == "new-tags" else TAG
            server.sendto(CALL.replace(TAG, tag), ADDRESS)
            server.settimeout(0.05 * 2 ** (attempt if FAULT != "no-backoff" else 0))
            try:
                data, source = server.recvfrom(65536)
            except TimeoutError:
                continue
            if source == ADDRESS or FAULT == "any-source":
                take(data.split(b"\n")[0], tag)
            time.sleep(0.05)
        if FAULT == "never-gives-up":
            server.sendto(CALL, ADDRESS)
        fail("no answer")


udp() if URL.scheme == "esps+udp" else tcp()
