"""``esps-portal serve --reuse-port``: several processes on one port."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from esps_portal import ServerConfig
from esps_portal.net.bind import CannotBindError, Sockets, bind
from tests.commands import run
from tests.patience import PATIENCE
from tests.processes import RunningServer, running_server
from tests.sockets import Client, ask

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads what comes")

# A request that leaves room for any reply (ESPS-UDP-12).
STATS = b"%d CALL stats " + b"#" * 60 + b"\n"


@contextlib.contextmanager
def two_processes() -> Iterator[tuple[RunningServer, RunningServer]]:
    """Two portals on one number."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running_server("--reuse-port"))
        shared = "--reuse-port", "--port", str(first.port)
        second = stack.enter_context(running_server(*shared))
        assert second.port == first.port
        yield first, second


@contextlib.contextmanager
def client_of(port: int) -> Iterator[Client]:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        client = Client(sock)
        assert client.line().startswith(b"* ESPS/1 ")
        yield client


@contextlib.contextmanager
def source(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        yield sock


def pid_in(reply: bytes) -> int:
    """Return the process that a reply to stats names."""
    (pid,) = (word for word in reply.split() if word.startswith(b"pid="))
    return int(pid[4:])


def connect_to_each(stack: contextlib.ExitStack, *processes: RunningServer) -> list[Client]:
    """Connect until there is a connection to each process: the kernel chooses."""
    found: dict[int, Client] = {}
    while len(found) < len(processes):
        client = stack.enter_context(client_of(processes[0].port))
        found.setdefault(pid_in(client.call(b"a CALL stats")), client)
    return [found[process.process.pid] for process in processes]


def source_of_each(
    stack: contextlib.ExitStack, *processes: RunningServer
) -> dict[int, socket.socket]:
    """Return a UDP socket that reaches each process, by pid."""
    found: dict[int, socket.socket] = {}
    while len(found) < len(processes):
        sock = stack.enter_context(source(processes[0].port))
        found.setdefault(pid_in(ask(sock, STATS % 0)), sock)
    return found


def test_connections_are_spread() -> None:
    with two_processes() as processes, contextlib.ExitStack() as stack:
        one, other = connect_to_each(stack, *processes)
        # What one counts, and its tags, are its own.
        assert one.call(b"a CALL count x") == b"a OK 1\n"
        assert other.call(b"a CALL count x") == b"a OK 1\n"


def test_a_source_of_datagrams_keeps_its_process() -> None:  # ESPS-UDP-39
    with two_processes() as processes, contextlib.ExitStack() as stack:
        for pid, sock in source_of_each(stack, *processes).items():
            assert {pid_in(ask(sock, STATS % number)) for number in range(50)} == {pid}
            # So a repeat is recognised (ESPS-UDP-23).
            assert [ask(sock, b"t CALL count x\n") for _ in range(3)] == [b"t OK 1\n"] * 3


def test_one_ends_gracefully_and_the_other_goes_on() -> None:
    with two_processes() as (first, second), contextlib.ExitStack() as stack:
        ending, staying = connect_to_each(stack, first, second)
        staying.send(b"c CALL delay 300 done\n")
        assert first.stop(signal.SIGTERM) == 0
        assert ending.rest() == b"* BYE closing\n"
        assert staying.line() == b"c OK done\n"
        for _ in range(20):
            with client_of(second.port) as client, source(second.port) as sock:
                assert pid_in(client.call(b"a CALL stats")) == second.process.pid
                assert pid_in(ask(sock, STATS % 0)) == second.process.pid


def test_a_repeat_that_has_moved_is_executed_again() -> None:  # ESPS-UDP-41
    with two_processes() as (first, second), contextlib.ExitStack() as stack:
        sock = source_of_each(stack, first, second)[first.process.pid]
        assert ask(sock, b"s CALL count x\n") == b"s OK 1\n"
        assert [ask(sock, b"t CALL count x\n") for _ in range(2)] == [b"t OK 2\n"] * 2
        assert first.stop() == 0
        assert ask(sock, b"t CALL count x\n") == b"t OK 1\n"


def test_a_third_that_does_not_share_is_told_who_has_the_port() -> None:
    with two_processes() as (first, second):
        code, _, err = run("serve", "--port", str(first.port))
        assert (code, err.count("\n")) == (1, 1)
        for process in (first, second):
            assert f"(pid {process.process.pid})" in err


def test_a_port_that_its_holder_does_not_share() -> None:
    with running_server() as holder:
        code, _, err = run("serve", "--reuse-port", "--port", str(holder.port))
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith(f"esps-portal: cannot listen on 127.0.0.1 port {holder.port} (tcp)")
        assert err.endswith(
            f" (pid {holder.process.pid}); to share it, each process needs --reuse-port and the"
            " same user\n"
        )


def test_a_system_that_shares_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    code, _, err = run("serve", "--reuse-port", "--port", "0")
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("(tcp): this system does not let processes share a port\n")


def test_it_goes_with_no_control_port() -> None:
    code, _, err = run("serve", "--reuse-port", "--control")
    assert code == 2
    assert "--control reaches one process: with --reuse-port a client may reach another" in err


def test_it_goes_with_no_inherited_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def inherited_sockets(_: object) -> Sockets:
        return Sockets()

    monkeypatch.setattr("esps_portal.net.systemd.inherited_sockets", inherited_sockets)
    code, _, err = run("serve", "--reuse-port")
    assert code == 1
    assert err == (
        "esps-portal: --reuse-port is not for inherited sockets: set ReusePort=yes in the socket"
        " unit\n"
    )


def test_what_excludes_it_in_a_program() -> None:
    with pytest.raises(ValueError, match="reuse_port goes with neither"):
        ServerConfig(reuse_port=True, reserve_port=True)
    with pytest.raises(ValueError, match="reuse_port goes with neither"):
        ServerConfig(reuse_port=True, sockets=Sockets())
    with pytest.raises(ValueError, match="cannot be reserved"):
        bind(["127.0.0.1"], 0, reuse_port=True, reserve_port=True)


@pytest.mark.parametrize("tcp", [True, False])
def test_a_free_port_is_no_port_that_others_share(tcp: bool) -> None:
    count = 300 if tcp else 600
    with contextlib.ExitStack() as stack:
        ports = set()
        for _ in range(count):
            sockets = bind(["127.0.0.1"], 0, tcp=tcp, reuse_port=True)
            stack.callback(sockets.close)
            ports.add(sockets.udp_addresses[0][1])
    assert len(ports) == count


def test_a_shared_port_is_free_for_those_who_share_it() -> None:
    first = bind(["127.0.0.1"], 0, reuse_port=True)
    port = first.tcp_addresses[0][1]
    second = bind(["127.0.0.1"], port, reuse_port=True)
    with pytest.raises(CannotBindError) as raised:
        bind(["127.0.0.1"], port)
    first.close()
    second.close()
    assert (raised.value.errno, raised.value.is_shared) == (errno.EADDRINUSE, False)
    bind(["127.0.0.1"], port).close()
