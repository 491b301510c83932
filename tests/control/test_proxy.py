"""The endpoints of a proxy, at the root and below /proxies, and those of all proxies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tests.control.controlled import controlled, controlled_proxy
from tests.control.http_client import HttpClient
from tests.line_servers import counter, line_server


@pytest.fixture
def server() -> Iterator[str]:
    """Return the URL of a server that counts INCR, and sends other lines back."""
    with line_server(counter()) as url:
        yield url


async def say(address: tuple[str, int], line: bytes) -> bytes:
    """Send a line over a connection of its own, and return all that comes back."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(line)
        await stream.send_eof()
        found = b""
        while data := await stream.receive_some():
            found += data
        return found


def address_of(proxy: dict[str, Any]) -> tuple[str, int]:
    return proxy["host"], proxy["port"]


async def exercise(client: HttpClient, root: str, address: tuple[str, int]) -> None:
    """Do with a proxy all that its endpoints offer."""
    placed = await client.post(
        f"{root}/faults", {"fault": "reset", "match": "INCR", "offset": 2, "times": 1}
    )
    with pytest.raises(trio.BrokenResourceError):
        await say(address, b"INCR n\n")
    assert await say(address, b"INCR n\n") == b":2\r\n"
    struck = await client.post(f"{root}/wait", {"fault": placed["id"]})
    assert struck == {"reached": True, "happened": 1}
    first, second = await client.get(f"{root}/exchanges")
    assert (first["request"], first["reply"]) == ("INCR n\n", ":1\r\n")
    assert (first["state"], first["fault"]) == ("faulted", placed["text"])
    assert (second["connection"], second["number"], second["reply"]) == (2, 1, ":2\r\n")
    assert await client.get(f"{root}/exchanges?match=%3A1") == []
    assert len(await client.get(f"{root}/connections")) == 2
    assert await client.get(f"{root}/calls") == []
    waited = await client.post(f"{root}/wait", {"match": {"regex": "^INC"}, "count": 2})
    assert (waited["reached"], len(waited["exchanges"])) == (True, 2)
    late = await client.post(f"{root}/wait", {"match": "GET", "timeout": 0.01})
    assert late == {"reached": False, "exchanges": []}
    assert (await client.post(f"{root}/verify"))["ok"] is True
    await client.post(f"{root}/down")
    with pytest.raises(OSError, match="connect"):
        await say(address, b"x\n")
    await client.delete(f"{root}/down")
    await client.post(f"{root}/reset")
    assert await client.get(f"{root}/exchanges") == []
    assert await client.get(f"{root}/faults") == []
    await client.put(f"{root}/scenario", {"faults": [{"fault": "close", "to": "server"}]})
    never = await client.post(f"{root}/verify")
    assert never["problems"][0].startswith("fault never struck: close to=server\n")
    assert "what happened" in never["report"]
    wrong = await client.ask("PUT", f"{root}/scenario", {"faults": [{"fault": "no-terminator"}]})
    assert wrong.status == 400
    assert wrong.error.startswith("faults[0]")
    (fault,) = await client.get(f"{root}/faults")
    assert fault["text"] == "close to=server", "all of them, or none"
    service = await client.ask("POST", f"{root}/faults", {"fault": "reset", "service": "x"})
    assert service.error.startswith("service: service is for ESPS/1")
    assert (await client.ask("POST", f"{root}/stubs", {"service": "x"})).status == 404
    wait = await client.ask("POST", f"{root}/wait", {"service": "x"})
    assert wait.error == "service: unknown key; choose from match, count, timeout"


async def test_a_proxy_at_the_root(server: str) -> None:
    async with controlled_proxy(server) as it:
        await exercise(await it.client(), "", it.data.listeners.tcp[0])


async def test_a_proxy_that_was_started_by_control(server: str) -> None:
    async with controlled() as it:
        client = await it.client()
        proxy = await client.ask("POST", "/proxies", {"name": "cache-1", "upstream": server})
        assert proxy.status == 201
        assert {**proxy.value, "port": 0} == {
            "name": "cache-1",
            "upstream": server,
            "host": "127.0.0.1",
            "port": 0,
        }
        await exercise(client, "/proxies/cache-1", address_of(proxy.value))
        (shown,) = await client.get("/proxies")
        assert shown == {**proxy.value, "faults": [{"fault": "close", "to": "server"}]}
        assert await client.get("/proxies/cache-1") == shown
        assert await client.get("/calls") == [], "the portal's are its own"


async def test_a_proxy_is_ended_by_its_name(server: str) -> None:
    async with controlled() as it:
        client = await it.client()
        proxy = await client.post("/proxies", {"name": "a", "upstream": server})
        async with await trio.open_tcp_stream(*address_of(proxy)) as stream:
            await stream.send_all(b"x\n")
            assert await stream.receive_some() == b"x\n"
            assert await client.delete("/proxies/a") == {}
            with pytest.raises(OSError, match="connect"):
                await say(address_of(proxy), b"x\n")
        assert await client.get("/proxies") == []
        for path in ("/proxies/a", "/proxies/a/faults", "/proxies/*", "/proxies/"):
            answer = await client.ask("GET", path)
            assert answer.status == 404, path
        assert (await client.ask("DELETE", "/proxies/a")).error == (
            "nothing runs under the name 'a'; there are none"
        )


async def test_a_proxy_before_a_portal_has_calls() -> None:
    async with controlled() as it:
        client = await it.client()
        host, port = it.data.listeners.tcp[0]
        proxy = await client.post("/proxies", {"name": "a", "upstream": f"esps://{host}:{port}"})
        assert proxy["upstream"] == f"esps://{host}:{port}"
        await say(address_of(proxy), b"a CALL echo x\n")
        waited = await client.post("/proxies/a/wait", {"service": "echo"})
        assert [call["args"] for call in waited["calls"]] == [["x"]]
        waited = await client.post("/proxies/a/wait", {"match": "echo"})
        assert [found["request"] for found in waited["exchanges"]] == ["a CALL echo x\n"]
        assert len(await client.get("/proxies/a/calls?service=echo")) == 1


@pytest.mark.parametrize(
    ("value", "status", "says"),
    [
        ({"name": "b"}, 400, "upstream: this key is required"),
        ({"name": "1", "upstream": "tcp://a:1"}, 400, "name: must be a name (a letter, then up"),
        ({"name": "b", "upstream": "http://a"}, 400, "upstream: "),
        ({"name": "b", "upstream": "a:1"}, 400, "upstream: 'a:1' does not say what is spoken"),
        ({"name": "b", "upstream": "tcp://a:1", "port": 1}, 400, "port: unknown key; choose from"),
        ({"name": "A", "upstream": "tcp://a:1"}, 409, "name: the name 'a' is taken"),
        (
            {"name": "b", "upstream": "udp://a:1", "framing": "lines"},
            400,
            "framing: a framing is for TCP",
        ),
        (
            {"name": "b", "upstream": "tcp://a:1", "faults": [{"fault": "drop"}]},
            400,
            "faults[0]: fault 'drop' works over UDP only",
        ),
        ([], 400, "must be a table of keys and values, got []"),
    ],
)
async def test_a_wrong_proxy_names_its_key(value: object, status: int, says: str) -> None:
    async with controlled() as it:
        client = await it.client()
        await client.post("/proxies", {"name": "a", "upstream": "tcp://127.0.0.1:1"})
        answer = await client.ask("POST", "/proxies", value)
        assert answer.status == status
        assert answer.error.startswith(says)
        assert [proxy["name"] for proxy in await client.get("/proxies")] == ["a"]


async def test_there_are_not_any_number_of_proxies() -> None:
    async with controlled() as it:
        client = await it.client()
        for number in range(64):
            await client.post("/proxies", {"name": f"p{number}", "upstream": "udp://127.0.0.1:1"})
        answer = await client.ask(
            "POST", "/proxies", {"name": "more", "upstream": "udp://127.0.0.1:1"}
        )
        assert (answer.status, answer.error) == (409, "there are 64 already")


async def test_a_scenario_with_proxies(server: str) -> None:
    async with controlled() as it:
        client = await it.client()
        reset = {"fault": "reset", "match": "INCR", "times": 1}
        a = {"name": "a", "upstream": server, "framing": "lines:crlf", "faults": [reset]}
        b = {"name": "b", "upstream": server}
        scenario = {"stubs": [{"service": "x"}], "proxies": [a, b]}
        assert await client.put("/scenario", scenario) == scenario
        before = await client.get("/proxies")
        # What a scenario does not name goes on; what is the same keeps its port.
        assert await client.put("/scenario", {}) == {"proxies": [a, b]}
        assert await client.get("/proxies") == before
        changed = {**a, "faults": [{"fault": "close"}]}
        other = {"name": "b", "upstream": "tcp://127.0.0.1:1"}
        assert await client.put("/scenario", {"proxies": [changed, other]}) == {
            "proxies": [changed, other]
        }
        after = await client.get("/proxies")
        assert after[0]["port"] == before[0]["port"]
        assert after[1]["upstream"] == "tcp://127.0.0.1:1"
        wrong = await client.ask(
            "PUT", "/scenario", {"proxies": [{**b, "framing": "x"}], "stubs": []}
        )
        assert wrong.error.startswith("proxies[0].framing: ")
        same = await client.ask("PUT", "/scenario", {"proxies": [b, {**b, "name": "B"}]})
        assert (
            same.error
            == "proxies[1].name: too close to 'b': both would be ESPS_PORTAL_B_HOST for a command"
        )
        bad = await client.ask("PUT", "/scenario", {"proxies": [], "stubs": [{}]})
        assert bad.error == "stubs[0].service: this key is required"
        assert await client.get("/proxies") == after, "all of it, or nothing"
        assert await client.put("/scenario", {"proxies": []}) == {}
        assert [fault.kind for fault in it.placed] == ["reset", "close"]
