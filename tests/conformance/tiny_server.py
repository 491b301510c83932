"""A small ESPS/1 server, written from the text of the specification alone.

It shares no line of code with esps_portal, so that the two can be compared: both must pass the same
vectors. tests/conformance/mutants.py breaks it in one place at a time, and a vector must notice.

    python -m tests.conformance.tiny_server --port 0 --idle 0.3

prints `listening on 127.0.0.1:PORT` once it does, on TCP and UDP; SIGTERM drains and ends it. Each
limit of section 10 that concerns a server is an option. There is no TLS, and one process.

An identifier in a comment names the requirement that the line below it fulfils.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import fcntl
import os
import random
import re
import signal
import socket
import struct
import termios
import time
from collections.abc import Awaitable, Callable, Iterable

PRODUCT = b"tiny/1"
VERSIONS = [b"ESPS/1"]

# The limits of section 10, with their defaults. A name with `-` is an option of the command.
LIMITS: dict[str, float] = {
    "max-line": 8192,
    "max-reply": 8192,
    "max-unterminated": 65536,
    "max-in-flight": 64,
    "max-calls": 16384,
    "max-connections": 10240,
    "max-connections-per-address": 0,
    "max-datagram": 1200,
    "amplification": 3,
    "idle": 600,
    "stall": 30,
    "drain": 5,
    "linger": 1,
    "window": 60,
    "max-remembered": 4096,
    "error-rate": 100,
    "error-burst": 200,
}
ANNOUNCED = ["max-line", "max-in-flight", "max-datagram", "idle", "window"]
BUFFERED = 65536  # bytes: more output than this stops the reading (ESPS-TCP-14)
MAX_COUNTERS = 1024  # names of counters, section 11.1

# ---- lines (sections 3 and 4) ------------------------------------------------------------------

TAG = re.compile(rb"[A-Za-z0-9._-]{1,32}")
VERB = re.compile(rb"[A-Za-z]{1,16}")
ARG = re.compile(rb'""|(?:[\x21\x24\x26-\x7e]|%[0-9A-Fa-f]{2})+')
NAME = re.compile(rb"[a-z][a-z0-9._-]{0,63}")
VERSION = re.compile(rb"ESPS/[0-9]+")
FIRST_OCTETS = re.compile(rb"[A-Za-z0-9._\r\n-]")


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """The answer is `ERR code`, machine arguments and a text for a person."""

    def __init__(self, code: str, text: str = "", *machine: bytes) -> None:
        super().__init__(code, text)
        self.code, self.text, self.machine = code.encode(), text.encode(), machine


class EndConnection(Exception):  # noqa: N818 - what a service of section 11.2 does
    """These bytes in place of a reply, then FIN, or RST."""

    def __init__(self, output: bytes = b"", *, reset: bool = False) -> None:
        super().__init__(output)
        self.output, self.reset = output, reset


@dataclasses.dataclass(frozen=True)
class Request:
    tag: bytes
    verb: bytes
    args: tuple[bytes, ...]
    length: int = 0  # of its line, with its LF

    def same(self, other: "Request") -> bool:
        """Padding was dropped when the line was parsed."""
        return (self.verb, self.args) == (other.verb, other.args)


def encode(arg: bytes) -> bytes:
    """The canonical form of an argument."""
    if not arg:
        return b'""'
    return re.sub(rb"[^\x21\x24\x26-\x7e]", lambda octet: b"%%%02X" % octet[0][0], arg)


def decode(arg: bytes) -> bytes:
    if arg == b'""':
        return b""
    return re.sub(rb"%(..)", lambda escape: bytes([int(escape[1], 16)]), arg)


def line_of(*tokens: bytes, args: Iterable[bytes] = ()) -> bytes:
    return b" ".join([*tokens, *map(encode, args)]) + b"\n"


def readable_tag(line: bytes) -> bytes | None:
    """The tag of a line that begins with `tag SP` or is exactly a tag, valid or not."""
    tag = line.partition(b" ")[0]
    return tag if TAG.fullmatch(tag) else None


def parse(line: bytes) -> Request:
    """The request in a line without its terminator."""
    tokens = line.split(b" ")
    # A run of `#` alone, after tag and verb, is padding (ESPS-MSG-8).
    if len(tokens) > 2 and set(tokens[-1]) == {ord("#")}:
        tokens.pop()
    if len(tokens) < 2:
        raise Refusal("bad-line", "a request is a tag, a SP and a verb")
    tag, verb, *args = tokens
    if not TAG.fullmatch(tag):
        raise Refusal("bad-line", "a request begins with a tag")
    if not VERB.fullmatch(verb):
        raise Refusal("bad-line", "a verb is 1 to 16 letters")
    if not all(ARG.fullmatch(arg) for arg in args):
        raise Refusal("bad-line", "an argument is visible ASCII; one SP between tokens")
    return Request(tag, verb, tuple(decode(arg) for arg in args), len(line) + 1)


# ---- the answers that need no connection (sections 5, 8 and 11) --------------------------------


@dataclasses.dataclass
class Call:
    """What a service sees of its call."""

    server: "Server"
    service: "Service"
    request: "Request"
    remote: tuple[str, int]
    transport: str
    send: Callable[[bytes], Awaitable[None]]

    @property
    def tag(self) -> bytes:
        return self.request.tag

    async def data(self, *args: bytes) -> None:
        await self.send(self.checked(line_of(self.tag, b"DATA", args=args)))

    def checked(self, line: bytes) -> bytes:
        limits = self.server.limits
        most = max(min(limits["max-reply"], limits["max-line"]), self.request.length)
        if len(line) > most:
            raise Refusal("failed", "the reply is longer than a line")
        return line


Execute = Callable[[Call, tuple[bytes, ...]], "tuple[bytes, ...] | Awaitable[tuple[bytes, ...]]"]


@dataclasses.dataclass(frozen=True)
class Service:
    execute: Execute
    usage: str
    flags: str
    summary: str
    most: int | None = 0
    least: int = 0

    @property
    def concurrent(self) -> bool:
        return "a" in self.flags

    def count_arguments(self, request: Request) -> None:
        args = request.args[1:]
        if len(args) < self.least or (self.most is not None and len(args) > self.most):
            raise Refusal("bad-arguments", f"usage: {self.usage}")


def number(arg: bytes, least: int, most: int) -> int:
    if not re.fullmatch(rb"[0-9]{1,10}", arg) or not least <= int(arg) <= most:
        raise Refusal("bad-arguments", f"a number from {least} to {most}")
    return int(arg)


def echo(_: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return args


def discard(_: Call, __: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return ()


async def chargen(call: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    lines = number(args[0], 0, 100_000)
    width = number(args[1], 1, 512) if len(args) > 1 else 72
    for start in range(lines):
        await call.data(bytes(0x20 + (start + column) % 95 for column in range(width)))
    return ()


def time_of_day(_: Call, __: tuple[bytes, ...]) -> tuple[bytes, ...]:
    now = int(time.time())
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)).encode(), b"%d" % now


def whoami(call: Call, _: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return call.remote[0].encode(), b"%d" % call.remote[1], call.transport.encode()


def random_bytes(_: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    size = number(args[0], 0, 2048)
    return (random.Random(args[1] if len(args) > 1 else None).randbytes(size),)


async def delay(_: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    await asyncio.sleep(number(args[0], 0, 3_600_000) / 1000)
    return args[1:]


async def drip(call: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    lines, pause = number(args[0], 0, 100_000), number(args[1], 0, 3_600_000) / 1000
    for line in range(1, lines + 1):
        await asyncio.sleep(pause)
        await call.data(b"%d" % line)
    return (b"%d" % lines,)


def count(call: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    counters, name = call.server.counters, args[0] if args else b""
    if len(name) > 64:
        raise Refusal("bad-arguments", "a name has at most 64 octets")
    number = counters.pop(name, 0) + 1
    if len(counters) >= MAX_COUNTERS:
        del counters[next(iter(counters))]  # ESPS-SVC-3: the one that was counted longest ago
    counters[name] = number
    return (b"%d" % number,)


def fail(_: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if not NAME.fullmatch(args[0]):
        raise Refusal("bad-arguments", "a code is a name")
    raise Refusal(args[0].decode(), "", *args[1:])


def stats(call: Call, _: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return b"pid=%d" % os.getpid(), b"calls=%d" % call.server.calls


def close(_: Call, __: tuple[bytes, ...]) -> tuple[bytes, ...]:
    raise EndConnection


def reset(_: Call, __: tuple[bytes, ...]) -> tuple[bytes, ...]:
    raise EndConnection(reset=True)


async def stall(_: Call, __: tuple[bytes, ...]) -> tuple[bytes, ...]:
    await asyncio.Event().wait()
    return ()


def truncate(call: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    size = number(args[0], 0, 8000)
    raise EndConnection((call.tag + b" OK " + b"x" * size)[:size])


def garbage(_: Call, args: tuple[bytes, ...]) -> tuple[bytes, ...]:
    size = number(args[0], 0, 8000)
    raise EndConnection(random.Random(args[1] if len(args) > 1 else None).randbytes(size))


SERVICES: dict[bytes, Service] = {
    b"echo": Service(echo, "[arg...]", "i", "reply with the same arguments", None),
    b"discard": Service(discard, "[arg...]", "i", "throw the arguments away", None),
    b"chargen": Service(chargen, "LINES [WIDTH]", "ai", "send LINES lines of a pattern", 2, 1),
    b"time": Service(time_of_day, "", "i", "tell the time"),
    b"whoami": Service(whoami, "", "i", "tell the peer's address"),
    b"random": Service(random_bytes, "BYTES [SEED]", "i", "reply with random bytes", 2, 1),
    b"delay": Service(delay, "MS [arg...]", "ai", "reply after MS milliseconds", None, 1),
    b"drip": Service(drip, "LINES MS", "ai", "send a line every MS milliseconds", 2, 2),
    b"count": Service(count, "[NAME]", "-", "count the executions", 1),
    b"fail": Service(fail, "CODE [text...]", "i", "refuse with CODE", None, 1),
    b"stats": Service(stats, "", "i", "tell what was counted"),
    b"close": Service(close, "", "t", "close the connection"),
    b"reset": Service(reset, "", "t", "reset the connection"),
    b"stall": Service(stall, "", "at", "never answer"),
    b"truncate": Service(truncate, "BYTES", "t", "send the first BYTES bytes of a reply", 1, 1),
    b"garbage": Service(garbage, "BYTES [SEED]", "t", "send random bytes", 2, 1),
}


def find_service(name: bytes, transport: str) -> Service:
    if name not in SERVICES:
        raise Refusal("unknown-service", "LIST names them")
    service = SERVICES[name]
    if transport == "udp" and "t" in service.flags:
        raise Refusal("use-tcp", "over TCP only")
    return service


def check(request: Request, transport: str, *, closing: bool) -> None:
    """The checks from `closing` to the verb's own `bad-arguments`, in this order (ESPS-CHK-4)."""
    if closing:
        raise Refusal("closing", "not executed")
    if request.verb not in {b"HELLO", b"PING", b"LIST", b"CALL", b"CANCEL", b"QUIT"}:
        raise Refusal("unknown-verb", "verbs are upper case")
    if transport == "udp" and request.verb in {b"CANCEL", b"QUIT"}:
        raise Refusal("use-tcp", "over TCP only")
    args = request.args
    wrong = {
        b"HELLO": not args or not all(VERSION.fullmatch(arg) for arg in args),
        b"PING": False,
        b"LIST": len(args) > 1,
        b"CALL": not args or not NAME.fullmatch(args[0]),
        b"CANCEL": len(args) != 1 or not TAG.fullmatch(args[0]),
        b"QUIT": bool(args),
    }
    if wrong[request.verb]:
        raise Refusal("bad-arguments", "the verb does not take these arguments")


def announced(limits: dict[str, float]) -> list[bytes]:
    return [f"{name}={decimal(limits[name])}".encode() for name in ANNOUNCED]


def decimal(value: float) -> str:
    """The value without an exponent, to the nanosecond (ESPS-VERB-29)."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def simple_answer(server: "Server", request: Request) -> list[bytes]:
    """The arguments of the OK to HELLO, PING or LIST."""
    if request.verb == b"HELLO":
        for version in request.args:
            if version in VERSIONS:
                return [version, PRODUCT, *announced(server.limits)]
        raise Refusal("unsupported-version", "this server speaks ESPS/1")
    if request.verb == b"PING":
        return list(request.args)
    if not request.args:
        return list(SERVICES)
    name = request.args[0]
    if name not in SERVICES:
        raise Refusal("unknown-service", "LIST names them")
    service = SERVICES[name]
    return [name, service.flags.encode(), service.usage.encode(), service.summary.encode()]


def error_line(start: bytes, refusal: Refusal, *, text: bool = True) -> bytes:
    words = [refusal.text] if text and refusal.text else []
    return line_of(start, b"ERR", refusal.code, args=[*refusal.machine, *words])


# ---- TCP (section 6) ---------------------------------------------------------------------------


class Connection:
    """One TCP connection: a task reads, a task writes, and each concurrent call is a task."""

    def __init__(self, server: "Server", sock: socket.socket, remote: tuple[str, int]) -> None:
        self.server, self.sock, self.remote, self.limits = server, sock, remote, server.limits
        self.loop = asyncio.get_running_loop()
        self.state = "OPEN"
        self.drain_started = False
        # The line that is being read: its first bytes, its length, whether it was answered.
        self.partial, self.length, self.answered = bytearray(), 0, False
        self.first_octet, self.first_line = True, True
        self.in_flight: dict[bytes, asyncio.Task[None] | None] = {}
        self.running: set[asyncio.Task[None]] = set()
        self.cancelling: bytes | None = None  # the tag of the CANCEL that waits
        self.output, self.sent = bytearray(), 0
        self.wake, self.room = asyncio.Event(), asyncio.Event()
        self.end_of_input, self.over = asyncio.Event(), asyncio.Event()
        self.admitted, self.reset_at_end = False, False
        self.quitting: asyncio.Task[None] | None = None
        self.touched = self.loop.time()

    async def serve(self) -> None:
        if self.server.is_full(self.remote[0]):
            self.end(b"* BYE busy\n")
        else:
            self.admitted = True
            self.server.admitted.append(self.remote[0])
            self.send(b"* ESPS/1 " + PRODUCT + b"\n")
        jobs = [self.read(), self.write(), self.watch_idle(), self.watch_stall()]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await self.over.wait()
        for task in [*tasks, *self.running]:
            task.cancel()
        await asyncio.gather(*tasks, *self.running, return_exceptions=True)
        if self.reset_at_end:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # -- output

    def send(self, line: bytes) -> None:
        if self.state != "ENDED":
            self.output += line
            self.wake.set()

    async def wait_for_room(self) -> None:
        while len(self.output) > BUFFERED:
            self.room.clear()
            await self.room.wait()

    async def send_data(self, line: bytes) -> None:
        await self.wait_for_room()
        self.send(line)

    async def write(self) -> None:
        with contextlib.suppress(OSError):
            while self.output or self.state != "ENDED":
                await self.write_some()
            if self.reset_at_end:
                return
            # The end procedure (ESPS-END-9).
            self.sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.end_of_input.wait(), self.limits["linger"])
        self.over.set()

    async def write_some(self) -> None:
        if not self.output:
            self.wake.clear()
            await self.wake.wait()
            return
        try:
            written = self.sock.send(self.output)
        except BlockingIOError:
            writable = asyncio.Event()
            self.loop.add_writer(self.sock, writable.set)
            try:
                await writable.wait()
            finally:
                self.loop.remove_writer(self.sock)
            return
        self.sent += written
        del self.output[:written]
        self.room.set()

    # -- input

    async def read(self) -> None:
        try:
            while True:
                data = await self.loop.sock_recv(self.sock, 16384)
                if not data:
                    break
                for piece in re.findall(rb"[^\n]*\n|[^\n]+", data):
                    await self.wait_for_room()
                    await self.take(piece)
        except OSError:  # the client's RST
            self.over.set()
            return
        self.end_of_input.set()
        if self.state in {"OPEN", "CLOSING"}:
            # ESPS-END-3; a fragment in self.partial is never executed (ESPS-END-4).
            self.state = "QUITTING"
            await self.drain_then_end(b"")

    async def take(self, piece: bytes) -> None:
        """A line, or a part of one that has no LF yet."""
        if self.state in {"QUITTING", "ENDED"}:
            return
        ended = piece.endswith(b"\n")
        self.length += len(piece)
        # One byte more than a line may have, and no more (ESPS-LINE-17).
        self.partial += piece[: int(self.limits["max-line"]) + 1 - len(self.partial)]
        foreign = self.first_octet and not FIRST_OCTETS.match(self.partial)
        self.first_octet = False
        if foreign:
            self.fatal(b"*", Refusal("bad-line", "no request begins so: the connection closes"))
            return
        if self.length > self.limits["max-line"] and not self.answered:
            self.answered = True
            tag = readable_tag(bytes(self.partial))
            self.refuse(tag, self.in_use(tag) or Refusal("too-long", "the line is too long"))
        if self.length - ended >= self.limits["max-unterminated"]:
            self.end(b"")
        if ended:
            line, answered = bytes(self.partial[:-1]), self.answered
            self.partial, self.length, self.answered = bytearray(), 0, False
            self.touched = self.loop.time()
            if not answered:
                await self.take_line(line.removesuffix(b"\r"))

    async def take_line(self, line: bytes) -> None:
        if not line:
            return
        try:
            request = self.understand(line)
        except Refusal as refusal:
            self.refuse(readable_tag(line), refusal)
        else:
            self.first_line = False
            await self.answer(request)

    def understand(self, line: bytes) -> Request:
        """Carry out the checks of a line, up to the verb's own `bad-arguments`."""
        in_use = self.in_use(readable_tag(line))
        if in_use:
            raise in_use
        request = parse(line)
        if self.first_line and self.server.require_hello and self.state == "OPEN":
            offered = set(request.args) if request.verb == b"HELLO" else set()
            if not offered & set(VERSIONS) or not all(map(VERSION.fullmatch, request.args)):
                raise Refusal("bad-line", "the first line must be HELLO")
        check(request, "tcp", closing=self.state == "CLOSING")
        return request

    def in_use(self, tag: bytes | None) -> Refusal | None:
        return Refusal("tag-in-use", "", tag) if tag and tag in self.in_flight else None

    def refuse(self, tag: bytes | None, refusal: Refusal) -> None:
        start = b"*" if tag is None or refusal.code == b"tag-in-use" else tag
        # The first line decides whether the peer speaks ESPS/1.
        deciding = {b"bad-line", b"too-long", b"unknown-verb", b"bad-arguments"}
        if self.first_line and refusal.code in deciding:
            refusal.text += b": the connection closes, since its first line is not a request"
            self.fatal(start, refusal)
            return
        self.first_line = False
        self.send(error_line(start, refusal))

    def fatal(self, start: bytes, refusal: Refusal) -> None:
        self.end(error_line(start, refusal))

    # -- requests

    async def answer(self, request: Request) -> None:
        if request.verb == b"CALL":
            await self.call(request)
        elif request.verb == b"CANCEL":
            await self.cancel(request)
        elif request.verb == b"QUIT":
            self.state = "QUITTING"
            self.quitting = self.loop.create_task(self.drain_then_end(line_of(request.tag, b"OK")))
        else:
            try:
                args = simple_answer(self.server, request)
            except Refusal as refusal:
                self.send(error_line(request.tag, refusal))
            else:
                self.send(line_of(request.tag, b"OK", args=args))

    async def call(self, request: Request) -> None:
        try:
            service = find_service(request.args[0], "tcp")
            if service.concurrent:
                self.check_room_for_a_call()
            call = Call(self.server, service, request, self.remote, "tcp", self.send_data)
            if service.concurrent:
                self.start(call)
                return
            self.send(await final_line(call))
        except Refusal as refusal:
            self.send(error_line(request.tag, refusal))
        except EndConnection as end:
            self.reset_at_end = end.reset
            self.end(end.output)
            if end.reset:
                self.over.set()

    def check_room_for_a_call(self) -> None:
        if len(self.running) >= self.limits["max-in-flight"]:
            raise Refusal("busy", "too many calls run")
        if self.server.running >= self.limits["max-calls"]:  # ESPS-LIM-4
            raise Refusal("busy", "too many calls run on all connections")

    def start(self, call: Call) -> None:
        async def run() -> None:
            line = await final_line(call)
            # ESPS-TCP-11: the tag is free with its final line.
            del self.in_flight[call.tag]
            self.send(line)

        def ended(task: asyncio.Task[None]) -> None:
            self.running.discard(task)
            self.server.running -= 1
            self.touched = self.loop.time()

        task = self.loop.create_task(run())
        self.in_flight[call.tag] = task
        self.running.add(task)
        self.server.running += 1
        task.add_done_callback(ended)

    async def cancel(self, request: Request) -> None:
        target = request.args[0]
        task = self.in_flight.get(target)
        if task is None:
            self.send(error_line(request.tag, Refusal("not-in-flight", "no such call runs")))
            return
        del self.in_flight[target]
        self.send(error_line(target, Refusal("cancelled")))
        self.in_flight[request.tag] = None
        self.cancelling = request.tag
        task.cancel()
        await asyncio.wait({task})
        if self.cancelling:
            self.cancelling = None
            del self.in_flight[request.tag]
            self.send(line_of(request.tag, b"OK"))

    # -- ends

    async def drain_then_end(self, last_line: bytes) -> None:
        if self.drain_started:
            return
        self.drain_started = True
        if self.running:
            await asyncio.wait(set(self.running), timeout=self.limits["drain"])
        # ESPS-END-7: what still runs is answered, and a CANCEL that waits too.
        for tag in list(self.in_flight):
            self.send(error_line(tag, Refusal("closing", "it may have been executed")))
        self.cancelling = None
        self.in_flight.clear()
        self.end(last_line)

    async def shut_down(self) -> None:
        if self.state == "OPEN":
            self.state = "CLOSING"
            self.send(b"* BYE closing\n")
            await self.drain_then_end(b"")
        await self.over.wait()

    def end(self, last_line: bytes) -> None:
        self.send(last_line)
        self.state = "ENDED"
        for task in self.running:
            task.cancel()
        self.wake.set()

    async def watch_idle(self) -> None:
        while self.state == "OPEN":
            left = self.touched + self.limits["idle"] - self.loop.time()
            if self.running:
                left = self.limits["idle"]
            if left <= 0:
                self.end(b"* BYE idle\n")
                return
            await asyncio.sleep(left)

    async def watch_stall(self) -> None:
        acknowledged, since = 0, self.loop.time()
        while True:
            await asyncio.sleep(self.limits["stall"] / 8)
            waiting = unacknowledged(self.sock)
            now = self.loop.time()
            if self.sent - waiting != acknowledged or not (waiting or self.output):
                acknowledged, since = self.sent - waiting, now
            elif now - since >= self.limits["stall"]:
                self.reset_at_end = True
                self.over.set()


def unacknowledged(sock: socket.socket) -> int:
    """The bytes in the kernel that the client's TCP has not acknowledged (Linux: SIOCOUTQ)."""
    number_of_bytes = bytearray(4)
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, number_of_bytes)
    return int.from_bytes(number_of_bytes, "little")


async def final_line(call: Call) -> bytes:
    """Execute a call; its last line."""
    call.server.calls += 1
    try:
        call.service.count_arguments(call.request)
        result = call.service.execute(call, call.request.args[1:])
        if not isinstance(result, tuple):
            result = await result
        return call.checked(line_of(call.tag, b"OK", args=result))
    except Refusal as refusal:
        return error_line(call.tag, refusal)
    except EndConnection:
        raise
    except Exception:  # noqa: BLE001 - ESPS-VERB-15
        return error_line(call.tag, Refusal("failed", "the service failed"))


# ---- UDP (section 7) ---------------------------------------------------------------------------


@dataclasses.dataclass
class Entry:
    """A call that runs, or one that is remembered (section 7.3)."""

    request: Request
    task: asyncio.Task[None] | None = None
    reply: list[bytes] | None = None
    expires: float = 0
    last_expiry: float = 0


@dataclasses.dataclass(frozen=True)
class Datagram:
    """What has to be known to answer: from where, to which address, and how long it was."""

    source: tuple[str, int]
    size: int
    local: bytes  # the packet information of the kernel, to reply from the same address


class Datagrams:
    def __init__(self, server: "Server", sock: socket.socket) -> None:
        self.server, self.sock, self.limits = server, sock, server.limits
        self.loop = asyncio.get_running_loop()
        self.closing = False
        self.entries: dict[tuple[tuple[str, int], bytes], Entry] = {}
        self.errors: dict[str, tuple[float, float]] = {}  # address: errors left, at which time
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.loop.add_reader(sock, self.readable)

    def readable(self) -> None:
        try:
            data, ancillary, _, source = self.sock.recvmsg(65535, socket.CMSG_SPACE(12))
        except OSError:  # an ICMP error for an earlier reply
            return
        local = next((info for _, kind, info in ancillary if kind == IP_PKTINFO), bytes(12))
        _, sent_from, sent_to = struct.unpack("@i4s4s", local)
        # For a broadcast or a multicast the two differ.
        if sent_from == sent_to:
            self.take(data, Datagram(source, len(data), local))

    def take(self, data: bytes, datagram: Datagram) -> None:
        # No loops (ESPS-UDP-6, ESPS-UDP-7): nothing that may be an answer is answered.
        if data.startswith(b"*"):
            return
        if re.match(rb"[^ ]* (OK|DATA|ERR)([ \r\n]|$)", data):
            return
        whole = data.endswith(b"\n") and data.count(b"\n") == 1
        line, ended, _ = data.partition(b"\n")
        line = line.removesuffix(b"\r") if ended else line
        tag = readable_tag(line)
        if tag is None:
            return
        self.forget()
        key = (datagram.source, tag)
        try:
            if key in self.entries:
                self.repeat(self.entries[key], line, datagram, whole=whole)
                return
            request = self.understand(line, datagram, whole=whole)
            check(request, "udp", closing=self.closing)
            if request.verb == b"CALL":
                self.call(request, datagram)
                return
            args = simple_answer(self.server, request)
        except Refusal as refusal:
            self.refuse(tag, refusal, datagram)
        else:
            self.reply([line_of(tag, b"OK", args=args)], datagram)

    def understand(self, line: bytes, datagram: Datagram, *, whole: bool) -> Request:
        if datagram.size > self.limits["max-line"]:
            raise Refusal("too-long", "the line is too long")
        if not whole:
            raise Refusal("bad-line", "a datagram is one line")
        return parse(line)

    # -- calls, at most once

    def call(self, request: Request, datagram: Datagram) -> None:
        service = find_service(request.args[0], "udp")
        if service.concurrent or "i" not in service.flags:
            self.reserve("max-remembered", self.entries, datagram.source)
        if service.concurrent:
            running = [key for key, entry in self.entries.items() if entry.reply is None]
            self.reserve("max-in-flight", running, datagram.source)
        lines: list[bytes] = []

        async def collect(line: bytes) -> None:
            # One line too many is enough to know that no reply fits.
            if sum(map(len, lines)) <= self.limits["max-datagram"]:
                lines.append(line)
            await asyncio.sleep(0)

        call = Call(self.server, service, request, datagram.source, "udp", collect)
        if service.concurrent:
            entry = Entry(request, self.loop.create_task(self.run(call, lines, datagram)))
            self.entries[datagram.source, request.tag] = entry
        else:
            lines.append(run_now(final_line(call)))
            self.ready(call, lines, datagram)

    async def run(self, call: Call, lines: list[bytes], datagram: Datagram) -> None:
        try:
            async with asyncio.timeout(self.limits["window"]):
                final = await final_line(call)
        except TimeoutError:
            final = error_line(call.tag, Refusal("failed", "it ran for too long"))
        except asyncio.CancelledError:
            final = error_line(call.tag, Refusal("closing", "it may have been executed"))
        lines.append(final)
        self.ready(call, lines, datagram)

    def ready(self, call: Call, lines: list[bytes], datagram: Datagram) -> None:
        key = (datagram.source, call.tag)
        self.entries.pop(key, None)
        if "i" not in call.service.flags:
            now = self.loop.time()
            window = self.limits["window"]
            expires, last_expiry = now + window, now + 4 * window
            self.entries[key] = Entry(call.request, None, lines, expires, last_expiry)
        self.reply(lines, datagram)

    def reserve(
        self, limit: str, keys: Iterable[tuple[tuple[str, int], bytes]], source: tuple[str, int]
    ) -> None:
        """Refuse what is over the limit, or over the share of an address or of a source."""
        sources = [key[0] for key in keys]
        most = int(self.limits[limit])
        if len(sources) >= most:
            raise Refusal("busy", f"{limit} is reached")
        if sum(other[0] == source[0] for other in sources) >= max(1, most // 2):
            raise Refusal("busy", "this address holds its share")
        if sources.count(source) >= max(1, most // 16):
            raise Refusal("busy", "this source holds its share")

    def repeat(self, entry: Entry, line: bytes, datagram: Datagram, *, whole: bool) -> None:
        try:
            same = self.understand(line, datagram, whole=whole).same(entry.request)
        except Refusal:
            same = False
        if not same:
            in_use = Refusal("tag-in-use", "by another request than this", entry.request.tag)
            self.refuse(b"*", in_use, datagram)
        elif entry.reply is not None:
            expires = self.loop.time() + self.limits["window"]
            entry.expires = min(expires, entry.last_expiry)
            self.reply(entry.reply, datagram)

    def forget(self) -> None:
        now = self.loop.time()
        for key, entry in list(self.entries.items()):
            if entry.reply is not None and entry.expires <= now:
                del self.entries[key]

    # -- replies

    def fits(self, reply: bytes, datagram: Datagram) -> bool:
        most = min(self.limits["amplification"] * datagram.size, self.limits["max-datagram"])
        return len(reply) <= most

    def refuse(self, start: bytes, refusal: Refusal, datagram: Datagram) -> None:
        """Send an error, unless it could begin a loop, or there were too many."""
        if self.may_send_error(datagram.source):
            self.reply([error_line(start, refusal)], datagram)

    def reply(self, lines: list[bytes], datagram: Datagram) -> None:
        reply, final = b"".join(lines), lines[-1]
        tag, kind, *args = final[:-1].split(b" ")
        if not self.fits(reply, datagram):
            if kind == b"ERR":
                # ESPS-UDP-16: without its text and the DATA lines, but with the machine arguments.
                machine = 2 if args[0] in {b"tag-in-use", b"too-large"} else 1
                reply = b" ".join([tag, kind, *args[:machine]]) + b"\n"
            else:
                reply = self.too_large(tag, len(reply), datagram)
            if not self.fits(reply, datagram):
                return
        # ESPS-UDP-10: from the address to which the request was sent.
        info = [(socket.IPPROTO_IP, IP_PKTINFO, datagram.local)]
        with contextlib.suppress(OSError):
            self.sock.sendmsg([reply], info, 0, datagram.source)

    def too_large(self, tag: bytes, size: int, datagram: Datagram) -> bytes:
        needed = -(-size // int(self.limits["amplification"]))
        if size > self.limits["max-datagram"] or needed > self.limits["max-line"]:
            refusal = Refusal("too-large", "use-tcp", b"0")
        else:
            refusal = Refusal("too-large", "pad the request to that", b"%d" % needed)
        line = error_line(tag, refusal)
        if not self.fits(line, datagram):
            line = error_line(tag, refusal, text=False)
        return line

    def may_send_error(self, source: tuple[str, int]) -> bool:
        address, port = source
        if port < 1024:
            return False
        now, burst, rate = self.loop.time(), self.limits["error-burst"], self.limits["error-rate"]
        left, since = self.errors.get(address, (burst, now))
        left = min(burst, left + (now - since) * rate)
        if len(self.errors) > 4096:
            self.errors.clear()
        allowed = left >= 1
        self.errors[address] = (left - allowed, now)
        return allowed

    async def shut_down(self) -> None:
        self.closing = True
        running = {entry.task for entry in self.entries.values() if entry.task is not None}
        if running:
            _, late = await asyncio.wait(running, timeout=self.limits["drain"])
            for task in late:
                task.cancel()
            await asyncio.wait(running)

    def close(self) -> None:
        self.loop.remove_reader(self.sock)
        self.sock.close()


IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)


def run_now(coroutine: Awaitable[bytes]) -> bytes:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.__await__().__next__()
    except StopIteration as stop:
        line: bytes = stop.value
        return line
    raise RuntimeError("a synchronous service has waited")


# ---- the server --------------------------------------------------------------------------------


class Server:
    def __init__(self, limits: dict[str, float], *, require_hello: bool = False) -> None:
        self.limits = LIMITS | limits
        self.require_hello = require_hello
        self.counters: dict[bytes, int] = {}
        self.calls = 0
        self.connections: dict[Connection, asyncio.Task[None]] = {}
        self.admitted: list[str] = []  # the address of each that was not refused as one too many
        self.running = 0  # calls on all TCP connections
        self.port = 0

    def start(self, host: str, port: int) -> None:
        """Listen on TCP and UDP, on the same number; 0 stands for any free one."""
        self.loop = asyncio.get_running_loop()
        self.listener, udp = bind_both(host, port)
        self.port = self.listener.getsockname()[1]
        self.datagrams = Datagrams(self, udp)
        self.accepting = self.loop.create_task(self.accept())

    def is_full(self, address: str) -> bool:
        per_address = self.limits["max-connections-per-address"]
        if per_address and self.admitted.count(address) >= per_address:  # ESPS-LIM-5
            return True
        return len(self.admitted) >= self.limits["max-connections"]

    async def accept(self) -> None:
        while True:
            try:
                sock, remote = await self.loop.sock_accept(self.listener)
            except OSError:  # for example no descriptor left (ESPS-SEC-3)
                await asyncio.sleep(0.05)
                continue
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ESPS-TCP-24
            connection = Connection(self, sock, remote)
            self.connections[connection] = self.loop.create_task(self.serve(connection))

    async def serve(self, connection: Connection) -> None:
        try:
            await connection.serve()
        finally:
            del self.connections[connection]
            if connection.admitted:
                self.admitted.remove(connection.remote[0])

    async def shut_down(self) -> None:
        self.accepting.cancel()
        self.listener.close()
        drains = [connection.shut_down() for connection in self.connections]
        await asyncio.gather(self.datagrams.shut_down(), *drains)
        if self.connections:
            await asyncio.wait(self.connections.values())
        self.datagrams.close()


def bind_both(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    for attempt in range(20):
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((host, port))
        tcp.listen(128)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            if port or attempt == 19:
                raise
            continue
        tcp.settimeout(0)
        udp.settimeout(0)
        return tcp, udp
    raise AssertionError


SIGNALS = [signal.SIGTERM, signal.SIGINT]  # each drains, and ends the server


async def serve_until_terminated(host: str, port: int, server: Server) -> None:
    terminated = asyncio.Event()
    for each in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(each, terminated.set)
    server.start(host, port)
    print(f"listening on {host}:{server.port}", flush=True)  # noqa: T201
    await terminated.wait()
    await server.shut_down()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2867)
    parser.add_argument("--require-hello", action="store_true")
    for name, default in LIMITS.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    options = vars(parser.parse_args())
    limits = {name: options[name.replace("-", "_")] for name in LIMITS}
    server = Server(limits, require_hello=options["require_hello"])
    asyncio.run(serve_until_terminated(options["host"], options["port"], server))


if __name__ == "__main__":
    main()
