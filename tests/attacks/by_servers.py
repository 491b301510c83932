"""Hostile servers, against the clients and the commands of this project."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs

from tests.attacks.attack import Attack, Latency, Outcome, Scale, Usage
from tests.attacks.targets import LAUNCHER, Log, Process
from tests.bench.machine import memory

_GREETING = b"* ESPS/1 evil/1\n"
_PATIENCE = 1.0  # seconds: the --timeout of each command
_LOOK = 0.01  # seconds between two looks at a command
_LIMIT = 15.0  # seconds in which each has to end, with its start
_AT_A_TIME = 6  # commands: most only wait
_MEMORY = 40.0  # MB that a command may have more than one that is served well


@attrs.frozen
class Hostile:
    """What a server does on each connection, and to each datagram.

    Attributes:
        first: what it sends first.
        reply: what it answers to each read, of which TAG is the tag.
        again: what it then says over and over, of which TAG is the tag of what it has read.
        pause: seconds between two of those.
        end: how it ends after ``first``; `None`: it does not.
    """

    first: bytes = b""
    reply: bytes = b""
    again: bytes = b""
    pause: float = 0.0
    end: str | None = None


KINDS = {
    "silent": Hostile(),
    "closes at once": Hostile(end="close"),
    "resets at once": Hostile(end="reset"),
    "greets and closes": Hostile(_GREETING, end="close"),
    "greets and resets": Hostile(_GREETING, end="reset"),
    "greets and is silent": Hostile(_GREETING),
    "half a greeting": Hostile(_GREETING[:-1], end="close"),
    "a greeting, a byte a tenth": Hostile(again=b"*", pause=0.1),
    "no LF": Hostile(again=b"* ESPS/1 " + b"x" * 60_000),
    "noise": Hostile(again=bytes(range(256)) * 100),
    "HTTP": Hostile(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", end="close"),
    "TLS": Hostile(b"\x15\x03\x01\x00\x02\x02\x46", end="close"),
    "controls a terminal": Hostile(
        b"* ESPS/1 \x1b[2J\x1b]0;x\x07\n* ERR bad-line \x1b[31m\n", b"TAG ERR x-\x1b[31m \x1b[2J\n"
    ),
    "escaped controls": Hostile(
        b"* ESPS/1 evil%1B[31m%0A\n", b"TAG ERR x-evil %1B[2J%0D%0Aforged%00%9B\n"
    ),
    "notices": Hostile(_GREETING, again=b"* ERR x-odd odd\n" * 1000),
    "other tags": Hostile(_GREETING, again=b"zz OK x\n" * 1000),
    "DATA without end": Hostile(_GREETING, again=b"TAG DATA " + b"x" * 500 + b"\n"),
    "long DATA": Hostile(_GREETING, again=b"TAG DATA " + b"x" * 100_000 + b"\n"),
    "a reply without LF": Hostile(_GREETING, again=b"TAG OK " + b"x" * 60_000),
    "a bad reply": Hostile(_GREETING, b"TAG OK %zz \xff\n"),
    "a reply of no kind": Hostile(_GREETING, b"TAG MAYBE x\n"),
    "BYE": Hostile(_GREETING + b"* BYE busy %1B[31m\n", end="close"),
    "the greeting of version 9": Hostile(b"* ESPS/9 evil/1\n", b"TAG OK\n"),
}


def _said(text: bytes, asked: bytes) -> bytes:
    """Put the tag of the last line that was asked into a text."""
    last = asked.rstrip(b"\n").rpartition(b"\n")[2]
    return text.replace(b"TAG", last.partition(b" ")[0])


class HostileServer:
    """Serves one kind over TCP and UDP, on one number."""

    def __init__(self, kind: Hostile) -> None:
        self._kind = kind
        self._over = threading.Event()
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port: int = self._tcp.getsockname()[1]
        self._udp.bind(("127.0.0.1", self.port))
        for sock in (self._tcp, self._udp):
            sock.settimeout(0.05)
        self._threads = [threading.Thread(target=run) for run in (self._accept, self._receive)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End all of it."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._tcp.close()
        self._udp.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._tcp.accept()
                thread = threading.Thread(target=self._serve, args=[client])
                thread.start()
                self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(0.05)
            client.sendall(self._kind.first)
            if self._kind.end == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self._kind.end is None:
                self._go_on(client)

    def _go_on(self, client: socket.socket) -> None:
        asked = b""
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                if not (data := client.recv(65536)):
                    return
                asked = data
                client.sendall(_said(self._kind.reply, asked))
            if self._kind.again:
                # It says it for a while, and then looks whether there is something new.
                until = time.monotonic() + 0.2
                while time.monotonic() < until and not self._over.is_set():
                    client.sendall(_said(self._kind.again, asked))
                    self._over.wait(self._kind.pause)

    def _receive(self) -> None:
        texts = [self._kind.first, self._kind.reply, self._kind.again]
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                data, address = self._udp.recvfrom(65536)
                for text in filter(None, texts):
                    self._udp.sendto(_said(text, data)[:60_000], address)


@contextlib.contextmanager
def hostile_server(kind: Hostile) -> Iterator[int]:
    """Serve while the block runs; yield the port."""
    server = HostileServer(kind)
    try:
        yield server.port
    finally:
        server.close()


#: The arguments of each command; PORT is the number.
COMMANDS = {
    "call": ["call", "--url", "esps://127.0.0.1:PORT", "-W", str(_PATIENCE), "echo", "hi"],
    "call-udp": ["call", "--url", "esps+udp://127.0.0.1:PORT", "-W", str(_PATIENCE), "echo", "hi"],
    "list": ["list", "--url", "esps://127.0.0.1:PORT", "-W", str(_PATIENCE)],
    "ping": ["ping", "127.0.0.1:PORT", "-c", "2", "-i", "0.1", "-W", str(_PATIENCE)],
    "ping-udp": ["ping", "esps+udp://127.0.0.1:PORT", "-c", "2", "-i", "0.1", "-W", "0.3"],
    "inspect": ["inspect", "PORT", "-W", str(_PATIENCE)],
    "conformance": ["conformance", "127.0.0.1:PORT", "-W", "0.2", "--section", "4"],
}


@attrs.frozen
class Ran:
    """How a command ended: seconds, MB at the most, and what is wrong with it."""

    seconds: float
    memory: float
    problems: tuple[str, ...]


def run_command(arguments: list[str], port: int) -> Ran:
    """Run a command against a port; it is killed when it does not end."""
    began = time.monotonic()
    out, err = Log(), Log()
    words = [word.replace("PORT", str(port)) for word in arguments]
    with LAUNCHER.launch(*words) as process, ThreadPoolExecutor() as readers:
        readers.submit(out.read, process.stdout)
        readers.submit(err.read, process.stderr)
        most = _watched(process, began + _LIMIT)
        problems = [] if process.poll() is not None else [f"it did not end in {_LIMIT:.0f} s"]
        process.kill()
        process.wait()
    if process.returncode not in (0, 1):
        problems.append(f"status {process.returncode}")
    problems += [*out.problems, *err.problems]
    return Ran(time.monotonic() - began, most, tuple(problems))


def _watched(process: Process, until: float) -> float:
    """Wait for the end of a process until some time; return MB that it had at the most."""
    most = 0.0
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError, IndexError):  # it ends
            most = max(most, memory(process.pid, "VmHWM") / 1000)
        time.sleep(_LOOK)
    return most


def _memory_of(ran: Ran) -> float:
    return ran.memory


def against_command(name: str) -> Callable[[Scale], Outcome]:
    """Return what measures all hostile servers against one command."""

    def measure(scale: Scale) -> Outcome:
        began = time.monotonic()
        with hostile_server(Hostile(_GREETING, b"TAG OK\n")) as port:
            # Its memory is looked at now and then: a run that is short may end unseen.
            usual = max((run_command(COMMANDS[name], port) for _ in range(3)), key=_memory_of)

        def run(kind: str) -> Ran:
            with hostile_server(KINDS[kind]) as port:
                return run_command(COMMANDS[name], port)

        kinds = list(KINDS)[:: min(round(1 / scale.share), len(KINDS) // 3)]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            ran = dict(zip(kinds, pool.map(run, kinds), strict=True))
        problems = [f"{kind}: {problem}" for kind, one in ran.items() for problem in one.problems]
        problems += [
            f"{kind}: {one.memory - usual.memory:.0f} MB more than usual"
            for kind, one in ran.items()
            if one.memory - usual.memory > _MEMORY
        ]
        took = sorted(one.seconds for one in ran.values())
        seen = Latency(took[len(took) // 2], took[-1], took[-1], took[-1], len(took), 0)
        peak = Usage(max(one.memory for one in ran.values()), 0)
        did = f"{len(ran)} kinds of servers; the times are those in which it ended"
        before = Usage(usual.memory, 0)
        return Outcome(did, tuple(problems), seen, before, peak, seconds=time.monotonic() - began)

    return measure


_WHAT = f"{len(KINDS)} kinds of hostile servers against: "

ATTACKS = tuple(
    Attack(f"server-{name}", _WHAT + " ".join(words), against_command(name))
    for name, words in COMMANDS.items()
)
