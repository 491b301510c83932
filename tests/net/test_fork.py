"""A child that was forked while a portal or a proxy serves keeps nothing of it open.

Each test runs a script in a process of its own, so that the process of the tests is not forked: it
has threads.
"""

from __future__ import annotations

import textwrap

import pytest

from tests.forked import ForkedProcess

# `forked` makes a child, in the given way, that sleeps until it is killed.
_PRELUDE = """
import contextlib, errno, os, signal, socket, sys, time, warnings
import multiprocessing
import trio
from esps_portal.testing import open_portal, serve_in_thread

HOST, WAY = sys.argv[1:]
FAMILY = socket.AF_INET6 if ":" in HOST else socket.AF_INET
PATIENCE = 20

warnings.simplefilter("error")
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", ResourceWarning)

@contextlib.contextmanager
def raises(kind, match=""):
    # That of pytest would take the import of pytest.
    try:
        yield
    except kind as error:
        assert match in str(error), error
    else:
        raise AssertionError(f"no {kind}")

def live(begun):
    os.write(begun, b"!")
    time.sleep(2 * PATIENCE)

@contextlib.contextmanager
def forked():
    # Until the child has run for the first time it has a copy of everything.
    has_begun, begun = os.pipe()
    if WAY == "os.fork":
        pid = os.fork()
        if not pid:
            live(begun)
            os._exit(1)
    else:
        child = multiprocessing.get_context("fork").Process(target=live, args=[begun])
        child.start()
        pid = child.pid
    os.read(has_begun, 1)
    os.close(has_begun)
    os.close(begun)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        if WAY == "os.fork":
            os.waitpid(pid, 0)
        else:
            child.join()

def connected(port):
    client = socket.create_connection((HOST, port), PATIENCE)
    assert client.recv(100).startswith(b"* ESPS/1 ")
    return client

def datagrams(port):
    client = socket.socket(FAMILY, socket.SOCK_DGRAM)
    client.settimeout(PATIENCE)
    client.connect((HOST, port))
    return client

def sockets_of(pid):
    # Those of the child that are not a standard stream.
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return sorted(name.split(":")[0] for name in found if name.startswith(("socket:", "anon")))

def settled(pid, expected):
    # The child closes them, and we may look before it has run.
    deadline = time.monotonic() + PATIENCE
    while (found := sockets_of(pid)) != expected:
        assert time.monotonic() < deadline, found
"""


def run(script: str, host: str = "127.0.0.1", way: str = "os.fork") -> None:
    text = _PRELUDE + textwrap.dedent(script) + "\nprint('done')\n"
    with ForkedProcess(host, way, script=text) as process:
        assert process.communicate(timeout=60) == ("done\n", "")
        assert process.returncode == 0


_WAYS = pytest.mark.parametrize(
    ("host", "way"),
    [("127.0.0.1", "os.fork"), ("::1", "os.fork"), ("127.0.0.1", "multiprocessing")],
)


@_WAYS
def test_down_refuses(host: str, way: str) -> None:
    run(
        """
        with serve_in_thread(host=HOST) as portal, connected(portal.port) as open_before:
            client = datagrams(portal.port)
            with forked() as pid:
                for _ in range(2):
                    with portal.down():
                        with raises(ConnectionRefusedError):
                            connected(portal.port)
                        client.send(b"a PING\\n")
                        with raises(ConnectionRefusedError):
                            client.recv(100)
                    client.send(b"b PING\\n")
                    assert client.recv(100) == b"b OK\\n"
                    connected(portal.port).close()
                with raises(ConnectionResetError):
                    open_before.recv(100)
        """,
        host,
        way,
    )


@_WAYS
def test_reset_is_a_reset(host: str, way: str) -> None:
    run(
        """
        with serve_in_thread(host=HOST) as portal, connected(portal.port) as client:
            portal.fault("reset", service="echo")
            portal.fault("close", service="discard")
            with connected(portal.port) as closed, forked():
                client.sendall(b"a CALL echo x\\n")
                with raises(ConnectionResetError):
                    client.recv(100)
                closed.sendall(b"a CALL discard x\\n")
                assert closed.recv(100) == b""
        """,
        host,
        way,
    )


def test_over_tls_too() -> None:
    run(
        """
        import ssl
        with serve_in_thread(host=HOST, tls=True) as portal:
            context = ssl.create_default_context(cafile=portal.tls_ca)
            with (
                socket.create_connection((HOST, portal.port), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=HOST) as client,
            ):
                assert client.recv(100).startswith(b"* ESPS/1 ")
                portal.fault("reset", service="echo")
                with forked():
                    client.sendall(b"a CALL echo x\\n")
                    with raises(ConnectionResetError):
                        socket.socket.recv(client, 100)
                assert os.path.exists(portal.tls_ca), "the child has left it alone"
        assert not os.path.exists(portal.tls_ca)
        """
    )


@_WAYS
def test_the_port_is_free_after_the_end(host: str, way: str) -> None:
    run(
        """
        with serve_in_thread(host=HOST) as portal:
            client = connected(portal.port)
            stack = contextlib.ExitStack()
            stack.enter_context(forked())
        with stack:
            assert client.recv(100) in (b"", b"* BYE closing\\n")
            client.close()
            with serve_in_thread(host=HOST, port=portal.port) as again:
                connected(again.port).close()
                client = datagrams(again.port)
                client.send(b"a PING\\n")
                assert client.recv(100) == b"a OK\\n"
        """,
        host,
        way,
    )


@pytest.mark.parametrize("down", ["", "silent", "refuse"])
def test_the_child_has_nothing_of_ours(down: str) -> None:
    run(
        f"""
        own = socket.socket()
        for _ in range(5):
            with serve_in_thread() as portal, connected(portal.port) as client:
                if {down!r}:
                    portal.down(how={down!r})
                # It has just begun: a socket that its tasks register would be too late.
                with serve_in_thread(host="::1") as other, forked() as pid:
                    # The client and a socket that is not ours; no epoll, no socket of trio's.
                    settled(pid, ["socket"] * 2)
        """
    )


def test_silence_with_a_child() -> None:
    run(
        """
        with serve_in_thread() as portal, connected(portal.port) as client:
            with forked():
                with portal.down(how="silent"):
                    client.sendall(b"a PING\\n")
                    with raises(TimeoutError):
                        socket.create_connection((HOST, portal.port), 0.05)
                assert client.recv(100) == b"a OK\\n"
                connected(portal.port).close()
            with portal.down(how="silent"), forked():
                client.sendall(b"b PING\\n")
            assert client.recv(100) == b"b OK\\n"
            connected(portal.port).close()
        """
    )


def test_a_child_that_leaves_the_block_harms_nobody() -> None:
    run(
        """
        with serve_in_thread() as portal:
            pid = os.fork()
            if not pid:
                sys.stdout = None
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            connected(portal.port).close()
            assert len(portal.connections()) == 1
        """
    )


def test_inside_trio() -> None:
    run(
        """
        async def main():
            async with open_portal(host=HOST) as portal:
                stream = await trio.open_tcp_stream(HOST, portal.port)
                assert (await stream.receive_some()).startswith(b"* ESPS/1 ")
                with forked():
                    with portal.down():
                        with raises(trio.BrokenResourceError):
                            await stream.receive_some()
                        with raises(OSError, match="all attempts"):
                            await trio.open_tcp_stream(HOST, portal.port)
                    stream = await trio.open_tcp_stream(HOST, portal.port)
                    assert (await stream.receive_some()).startswith(b"* ESPS/1 ")

        trio.run(main)
        """
    )


def test_a_proxy_and_its_upstream() -> None:
    run(
        """
        from esps_portal.proxy.serving import ProxyConfig, serve_proxy
        from esps_portal.proxy.state import ProxyState
        from esps_portal.proxy.upstream import Upstream

        async def main(portal):
            config = ProxyConfig(state=ProxyState(Upstream("esps", HOST, portal.port)), port=0)
            async with trio.open_nursery() as nursery:
                proxy = await nursery.start(serve_proxy, config)
                stream = await trio.open_tcp_stream(*proxy.tcp[0])
                assert (await stream.receive_some()).startswith(b"* ESPS/1 ")
                sock = trio.socket.socket(type=socket.SOCK_DGRAM)
                await sock.connect(proxy.udp[0])
                await sock.send(b"a PING\\n")
                assert await sock.recv(100) == b"a OK\\n"
                with forked() as pid:
                    # Ours, of TCP and UDP; and trio's, for it is the test's own loop: an epoll and
                    # two pairs.
                    await trio.to_thread.run_sync(settled, pid, ["anon_inode", *["socket"] * 6])
                    nursery.cancel_scope.cancel()
                    with trio.CancelScope(shield=True):
                        while portal.connections()[0].closed is None:
                            await trio.sleep(0.001)

        with serve_in_thread(host=HOST) as portal:
            trio.run(main, portal)
        """
    )


def test_a_fork_waits_while_a_socket_is_made() -> None:
    run(
        """
        import threading
        from esps_portal.net.fork import closed_in_child, unforked
        made = threading.Event()

        def make():
            with unforked:
                sock = socket.socket()
                made.set()
                time.sleep(0.05)  # a fork that does not wait comes now
                socks.append(closed_in_child(sock))

        socks = []
        thread = threading.Thread(target=make)
        thread.start()
        made.wait(PATIENCE)
        with forked() as pid:
            settled(pid, [])
        thread.join()
        assert socks[0].fileno() >= 0, "ours is still open"
        """
    )


def test_forks_while_clients_come() -> None:
    """No child keeps a connection, whenever it is forked: each client sees its reset."""
    run(
        """
        import threading
        ended = threading.Event()
        errors = []

        def come(port):
            while not ended.is_set():
                try:
                    with socket.create_connection((HOST, port), PATIENCE) as client:
                        client.settimeout(PATIENCE)
                        client.sendall(b"a CALL discard\\n")
                        while client.recv(100):
                            pass
                except ConnectionResetError:
                    pass
                except OSError as error:
                    errors.append(error)

        with serve_in_thread() as portal:
            portal.fault("reset", service="discard")
            threads = [threading.Thread(target=come, args=[portal.port]) for _ in range(3)]
            for thread in threads:
                thread.start()
            with contextlib.ExitStack() as children:
                for _ in range(50):
                    children.enter_context(forked())
                ended.set()
                for thread in threads:
                    thread.join(PATIENCE)
                    assert not thread.is_alive(), "a child has its connection"
        assert errors == [], errors
        """
    )


def test_a_fork_that_bypasses_python() -> None:
    run(
        """
        import ctypes
        with serve_in_thread() as portal:
            client = datagrams(portal.port)
            pid = ctypes.PyDLL(None).fork()
            if not pid:
                time.sleep(2 * PATIENCE)
                os._exit(1)
            try:
                for _ in range(2):
                    with portal.down():
                        with raises(ConnectionRefusedError):
                            connected(portal.port)
                        client.send(b"a PING\\n")
                        with raises(ConnectionRefusedError):
                            client.recv(100)
                    connected(portal.port).close()
                    client.send(b"b PING\\n")
                    assert client.recv(100) == b"b OK\\n"
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        """
    )
