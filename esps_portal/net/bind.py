"""Binding the sockets of a server: TCP and UDP on one number, on every host."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable, Iterator

import attrs

from esps_portal.log import log
from esps_portal.net.addresses import literal, socket_address
from esps_portal.net.fork import close_socket
from esps_portal.net.systems import keep_more_received, keep_others_out, let_share, limit_unsent
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# With port 0 the kernel picks the first; that the others are free is likely, not certain.
_TRIES = 128

#: The longest accept queue; the kernel shortens it to its own limit (listen(2)).
BACKLOG = 65535

#: What stands for all addresses of a family.
WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - named, not chosen


@attrs.define
class Sockets:
    """Bound sockets, the TCP ones listening.

    Attributes:
        reserved: bound beside each TCP one and not listening: they keep the port while none is.
            Fewer, or none, where the system binds no second socket to an address.
    """

    tcp: list[socket.socket] = attrs.field(factory=list)
    udp: list[socket.socket] = attrs.field(factory=list)
    reserved: list[socket.socket] = attrs.field(factory=list)

    @property
    def tcp_addresses(self) -> tuple[tuple[str, int], ...]:
        """Where the TCP sockets listen, as (host, port), literal."""
        return tuple(literal(sock.getsockname()) for sock in self.tcp)

    @property
    def udp_addresses(self) -> tuple[tuple[str, int], ...]:
        """Where the UDP sockets are bound, as (host, port), literal."""
        return tuple(literal(sock.getsockname()) for sock in self.udp)

    @property
    def take_ipv4_on_ipv6(self) -> bool:
        """Whether a socket on ``::`` takes IPv4 as well. Those that `bind` makes do not."""
        return any(
            sock.family == socket.AF_INET6
            and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            for sock in (*self.tcp, *self.udp)
        )

    def close(self) -> None:
        """Close all of them."""
        for sock in (*self.tcp, *self.udp, *self.reserved):
            close_socket(sock)


class CannotBindError(OSError):
    """An address cannot be bound.

    Attributes:
        host, port, transport: the address, and for what.
        is_shared: whether it was to be shared with other processes (``reuse_port``).
        covered_by: the wildcard that was asked for too and takes what comes for it; else empty.
        hint: what to do, added to the text; empty where nobody has set it.
    """

    def __init__(
        self, cause: OSError, host: str, port: int, transport: str, *, covered_by: str = ""
    ) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.is_unknown_host: bool = isinstance(cause, socket.gaierror)
        self.host = host
        self.port = port
        self.transport = transport
        self.is_shared: bool = False
        self.covered_by = covered_by
        self.hint: str = ""

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own would pass its two arguments to our constructor.
        cause = socket.gaierror if self.is_unknown_host else OSError
        arguments = cause(self.errno, self.strerror), self.host, self.port, self.transport
        return type(self), arguments, self.__dict__

    def __str__(self) -> str:
        where = f"{self.host} port {self.port} ({self.transport})"
        return f"cannot listen on {where}: {self.strerror}{self.hint}"


def bind(  # noqa: PLR0913 - each says what to bind
    hosts: Iterable[str],
    port: int,
    *,
    tcp: bool = True,
    udp: bool = True,
    reserve_port: bool = False,
    reuse_port: bool = False,
) -> Sockets:
    """Bind each host's addresses for the transports that are wanted, on one port number.

    Args:
        port: 0 takes a number that is free for all of them.
        reserve_port: also bind a socket that keeps the TCP port while nothing listens on it. It
            has to be bound first: beside a listening socket Linux allows no other.
        reuse_port: share the number with other processes of this user that do the same. The kernel
            gives each connection, and each source of datagrams, to one of them.

    Raises:
        CannotBindError: an address is taken, not this machine's, not known, or covered by a
            wildcard that is wanted as well; or this system shares no ports.
        ValueError: a port that is shared cannot be reserved.
    """
    if reserve_port and reuse_port:
        raise ValueError("a port that other processes share cannot be reserved")
    addresses = _resolve(hosts, port)
    wanted = _Wanted(tcp, udp, reserve_port, reuse_port)
    for attempt in range(_TRIES):
        try:
            return _bind_all(addresses, port, wanted)
        except CannotBindError as error:
            error.is_shared = reuse_port
            if port != 0 or error.errno != errno.EADDRINUSE or attempt == _TRIES - 1:
                raise
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


@attrs.frozen
class _Wanted:
    """What `bind` binds on each address."""

    tcp: bool
    udp: bool
    reserve_port: bool
    reuse_port: bool


_Address = tuple[socket.AddressFamily, str]


def _resolve(hosts: Iterable[str], port: int) -> list[_Address]:
    """Return the addresses to bind, each once.

    Of a name those of this machine are enough, and the log has the others: localhost may be ::1 too
    where there is no IPv6.
    """
    found: dict[_Address, None] = {}
    for host in hosts:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise CannotBindError(error, host, port, "tcp and udp") from error
        addresses = [(f, literal(a)[0]) for f, *_, a in infos if f in WILDCARDS]
        own = [address for address in addresses if is_own_address(address[1])]
        others = {address[1]: None for address in addresses if own and address not in own}
        if others:
            log.info("%s is also %s, which this machine does not have", host, ", ".join(others))
        found |= dict.fromkeys(own or addresses)
    for family, host in found:
        wildcard = WILDCARDS[family]
        if host != wildcard and (family, wildcard) in found:
            cause = OSError(errno.EADDRINUSE, f"{wildcard} takes what comes for it already")
            raise CannotBindError(cause, host, port, "tcp and udp", covered_by=wildcard)
    return list(found)


def is_own_address(address: str) -> bool:
    """Whether a literal address is this machine's: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind(socket_address(family, address, 0))
        return True
    return False


def _bind_all(addresses: list[_Address], port: int, wanted: _Wanted) -> Sockets:
    if wanted.reuse_port and port == 0:
        # For UDP, Linux itself may choose a number that others already share.
        alone = _bind_all(addresses, 0, attrs.evolve(wanted, reuse_port=False))
        port = (*alone.tcp, *alone.udp)[0].getsockname()[1]
        alone.close()
    sockets = Sockets()
    reuse = wanted.reuse_port
    try:
        for family, host in addresses:
            if wanted.tcp:
                sockets.tcp.append(bound(family, socket.SOCK_STREAM, host, port, reuse_port=reuse))
                port = port or sockets.tcp[0].getsockname()[1]
            if wanted.tcp and wanted.reserve_port:
                sockets.reserved += _reserve(family, host, port)
            if wanted.udp:
                sockets.udp.append(bound(family, socket.SOCK_DGRAM, host, port, reuse_port=reuse))
                port = port or sockets.udp[0].getsockname()[1]
        for sock in sockets.tcp:
            with _translated(literal(sock.getsockname())[0], port, "tcp"):
                sock.listen(BACKLOG)
    except BaseException:
        sockets.close()
        raise
    return sockets


def _reserve(family: int, host: str, port: int) -> list[socket.socket]:
    """Bind a socket beside a bound one; where the system does not let us, return none."""
    try:
        return [bound(family, socket.SOCK_STREAM, host, port)]
    except CannotBindError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return []


def bound(  # noqa: PLR0913 - each says what to bind
    family: int,
    kind: int,
    host: str,
    port: int,
    *,
    beside: socket.socket | None = None,
    reuse_port: bool = False,
) -> socket.socket:
    """Return a bound socket that does not block.

    Args:
        beside: another socket of ours that has the address already, and lets it be shared. The new
            one is of its class, also where a test has replaced `socket.socket`: see `accepted`.
        reuse_port: other processes of this user may have the address too, or take it.

    Raises:
        CannotBindError: the address cannot be bound.
    """
    transport = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with _translated(host, port, transport):
        sock = (socket.socket if beside is None else type(beside))(family, kind)
    try:
        with _translated(host, port, transport):
            if beside is not None or kind == socket.SOCK_STREAM:
                # Else a port stays taken for minutes by connections that have ended. UDP has
                # no such state, and there the option would let two servers share the port.
                let_share(sock, allowed=True)
            keep_others_out(sock)
            if kind == socket.SOCK_STREAM:
                limit_unsent(sock)
            else:
                keep_more_received(sock)
            if reuse_port:
                _let_others_bind(sock)
            if family == socket.AF_INET6:
                # 0.0.0.0 and :: are two hosts here, whatever the system's default.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(socket_address(family, host, port))
            sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    except CannotBindError:
        close_socket(sock)
        raise
    return sock


def _let_others_bind(sock: socket.socket) -> None:
    option = getattr(socket, "SO_REUSEPORT", None)
    if option is None:
        raise OSError(errno.ENOPROTOOPT, "this system does not let processes share a port")
    sock.setsockopt(socket.SOL_SOCKET, option, 1)


@contextlib.contextmanager
def _translated(host: str, port: int, transport: str) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        cause = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise CannotBindError(cause, host, port, transport) from error
