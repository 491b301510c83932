"""The servers that the load generator compares: a portal, bare ones, and what is installed."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys

import attrs

from tests.bench.machine import child, first_line, free_port, wait_for

#: Bare servers of `tests.bench.baselines`.
BARE = ("echo", "echo-nested", "echo-asyncio", "lines", "udp-bare", "udp-drained", "udp-lines")

#: Other projects' servers, for one core; each answers one line to each line of ours. In order: the
#: command, the request, the lines of its greeting. Its port stands for ``PORT``.
OTHERS = {
    "redis": ("redis-server --port PORT --save  --bind 127.0.0.1", "=PING", 0),
    "memcached": ("memcached -p PORT -l 127.0.0.1 -t 1 -U 0 -u nobody", "=mn", 0),
    "nats": ("nats-server -p PORT -a 127.0.0.1", "=PING", 1),
    "beanstalkd": ("beanstalkd -p PORT -l 127.0.0.1", "=use default", 0),
}


@attrs.frozen
class Server:
    """A server under load.

    Attributes:
        greeting: lines that it sends at first.
        request: what it is asked, in its own words (after ``=``); empty: a request of ours.
    """

    name: str
    pid: int
    port: int
    transport: str = "tcp"
    greeting: int = 0
    request: str = ""

    @property
    def verbs(self) -> tuple[str, ...]:
        """Which requests make a difference to it."""
        return ("PING",) if self.request else ("PING", "CALL")


def start_all(stack: contextlib.ExitStack) -> list[Server]:
    """Start every server that is installed."""
    servers = [start_bare(stack, name) for name in BARE]
    servers += start_portal(stack) + start_scripted(stack)
    for name in OTHERS:
        if shutil.which(OTHERS[name][0].split()[0]):
            servers.append(_start_other(stack, name))
    return servers


def start_bare(stack: contextlib.ExitStack, name: str) -> Server:
    """Start one of `tests.bench.baselines`."""
    process = stack.enter_context(child(sys.executable, "-m", "tests.bench.baselines", name))
    transport = "udp" if name.startswith("udp") else "tcp"
    return Server(name, process.pid, int(first_line(process)), transport)


def start_portal(stack: contextlib.ExitStack) -> list[Server]:
    """Start a portal: two servers, of TCP and of UDP."""
    options = "serve", "--port", "0", "--json", "--no-access-log"
    process = stack.enter_context(child(sys.executable, "-m", "esps_portal", *options))
    port = json.loads(first_line(process))["tcp"][0][1]
    return [
        Server("portal", process.pid, port, greeting=1),
        Server("portal", process.pid, port, "udp"),
    ]


def start_scripted(stack: contextlib.ExitStack) -> list[Server]:
    """Start a portal as a test has it: with its journal on."""
    process = stack.enter_context(child(sys.executable, "-m", "tests.bench.baselines", "scripted"))
    port = int(first_line(process))
    return [
        Server("journal", process.pid, port, greeting=1),
        Server("journal", process.pid, port, "udp"),
    ]


def _start_other(stack: contextlib.ExitStack, name: str) -> Server:
    command, request, greeting = OTHERS[name]
    port = free_port()
    words = command.replace("PORT", str(port)).split(" ")  # an empty word is an argument
    process = stack.enter_context(child(*words))
    wait_for(port)
    return Server(name, process.pid, port, greeting=greeting, request=request)
