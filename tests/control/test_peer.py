"""The endpoints of peers: servers of any protocol that control starts and scripts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.control.controlled import controlled


async def say(address: tuple[str, int], data: bytes, until: bytes) -> bytes:
    """Send bytes over a connection of its own, and return what comes back."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(data)
        found = b""
        while until not in found and (more := await stream.receive_some()):
            found += more
        return found


MAIL: dict[str, Any] = {
    "name": "mail",
    "framing": "lines:crlf",
    "greeting": "220 ready",
    "stubs": [{"match": {"regex": "^RCPT"}, "reply": "450 later", "times": 1}],
}


async def test_a_peer() -> None:
    async with controlled() as it:
        client = await it.client()
        answer = await client.ask("POST", "/peers", MAIL)
        assert answer.status == 201
        peer = answer.value
        address = peer["host"], peer["port"]
        greeting = await say(address, b"RCPT x\r\n", b"450")
        assert greeting == b"220 ready\r\n450 later\r\n"
        (found,) = [e for e in await client.get("/peers/mail/exchanges") if e["number"] == 1]
        assert (found["request"], found["reply"]) == ("RCPT x\r\n", "450 later\r\n")
        placed = await client.post("/peers/mail/stubs", {"match": "QUIT", "reply": "221 bye"})
        assert placed == {"id": "2", "match": "QUIT", "reply": "221 bye", "used": 0}
        assert (await say(address, b"QUIT\r\n", b"221")).endswith(b"221 bye\r\n")
        first, second = await client.get("/peers/mail/stubs")
        assert (first["id"], first["used"], second["used"]) == ("1", 1, 1)
        assert (await client.post("/peers/mail/verify"))["ok"] is True
        waited = await client.post("/peers/mail/wait", {"match": "QUIT"})
        assert (waited["reached"], len(waited["exchanges"])) == (True, 1)
        fault = {"fault": "reset", "match": "QUIT", "offset": 3}
        await client.post("/peers/mail/faults", fault)
        with pytest.raises(trio.BrokenResourceError):
            await say(address, b"QUIT\r\n", b"bye")
        await client.delete("/peers/mail/stubs/2")
        scenario = await client.get("/peers/mail/scenario")
        assert scenario == {"stubs": MAIL["stubs"], "faults": [fault]}
        assert await client.get("/peers") == [{**peer, "faults": [fault]}]
        other = {"stubs": [{"match": {"hex": "ff"}, "raw": {"hex": "fe"}}]}
        await client.put("/peers/mail/scenario", other)
        assert (await client.get("/peers/mail/faults"), it.placed[0].kind) == ([], "reset")
        await say(address, b"\xff\r\n", b"\xfe")
        await client.post("/peers/mail/reset")
        assert await client.get("/peers/mail/stubs") == []
        await client.delete("/peers/mail")
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*address)


async def test_a_peer_pushes() -> None:
    async with controlled() as it:
        client = await it.client()
        peer = await client.post("/peers", {"name": "news", "framing": "lines:lf"})
        address = peer["host"], peer["port"]
        waiting = {"connections": "opened", "count": 2, "timeout": 0}
        none = await client.post("/peers/news/wait", waiting)
        assert none == {"reached": False, "connections": []}
        answer = await client.ask("POST", "/peers/news/push", {"frames": "x"})
        assert (answer.status, answer.error.split(":")[0]) == (409, "no connection is open")
        async with (
            await trio.open_tcp_stream(*address) as one,
            await trio.open_tcp_stream(*address) as other,
        ):
            opened = await client.post("/peers/news/wait", waiting | {"timeout": 30})
            assert [each["number"] for each in opened["connections"]] == [1, 2]
            pushed = {"frames": ["a", {"b64": "/w=="}]}
            assert await client.post("/peers/news/push", pushed) == {"connections": 2}
            alone = {"frames": "b", "connection": 2}
            assert await client.post("/peers/news/push", alone) == {"connections": 1}
            ended = {"connections": "closed", "timeout": 30}
            await one.aclose()
            closed = await client.post("/peers/news/wait", ended)
            assert (closed["reached"], len(closed["connections"])) == (True, 1)
            found = b""
            while not found.endswith(b"b\n"):
                found += await other.receive_some()
            assert found == b"a\n\xff\nb\n"
            answer = await client.ask("POST", "/peers/news/push", alone | {"connection": 1})
            assert (answer.status, answer.error) == (409, "connection: connection 1 is not open")
        texts = await client.get("/peers/news/transcript")
        port = opened["connections"][1]["remote"][1]
        ours = [line.split("#2")[1].strip() for line in texts if "#2" in line]
        assert ours[0] == f"opened by 127.0.0.1:{port}"
        assert ours[1].startswith("<-- 61 0a ff 0a ")
        assert ours[2] == r"<-- b\n"


async def test_over_udp_alone_nothing_is_pushed() -> None:
    async with controlled() as it:
        client = await it.client()
        await client.post("/peers", {"name": "dns", "framing": "datagrams"})
        answer = await client.ask("POST", "/peers/dns/push", {"frames": "x"})
        assert answer.status == 409
        assert answer.error.startswith("over UDP the client sends first")


async def test_a_scenario_with_peers() -> None:
    async with controlled() as it:
        client = await it.client()
        scenario = {"peers": [MAIL], "proxies": [{"name": "a", "upstream": "tcp://127.0.0.1:1"}]}
        assert await client.put("/scenario", scenario) == scenario
        (before,) = await client.get("/peers")
        changed = {**MAIL, "stubs": [{"match": "x", "reply": []}]}
        assert (await client.put("/scenario", {"peers": [changed]}))["peers"] == [changed]
        (after,) = await client.get("/peers")
        assert after["port"] == before["port"], "what is the same but for stubs keeps its port"
        for wrong, says in (
            ({"peers": [{**MAIL, "name": "a"}]}, "peers[0].name: 'a' is used before"),
            ({"peers": [{**MAIL, "greeting": "a\r\nb"}]}, "peers[0].greeting: "),
            ({"peers": [{"name": "b"}]}, "peers[0].framing: this key is required"),
        ):
            answer = await client.ask("PUT", "/scenario", wrong)
            assert answer.status == 400
            assert answer.error.startswith(says)
        taken = await client.ask("POST", "/peers", {**MAIL, "name": "A"})
        assert (taken.status, taken.error) == (409, "name: the name 'a' is taken")
        assert await client.get("/peers") == [after]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("stubs", {"reply": "x"}, "match: this key is required"),
        ("stubs", {"match": "x", "reply": "a\r\nb"}, "reply: "),
        ("stubs", {"match": "x", "times": 0}, "times: must be a positive integer"),
        ("faults", {"fault": "reset", "to": "server"}, "to: to='server' is for a proxy"),
        ("wait", {"service": "x"}, "service: unknown key; choose from match, count, timeout"),
        ("wait", {"connections": "open"}, "connections: must be 'opened' or 'closed', got "),
        ("wait", {"connections": ["opened"]}, "connections: must be 'opened' or 'closed'"),
        ("wait", {"connections": "closed", "match": "x"}, "match: unknown key"),
        ("push", {}, "frames: this key is required"),
        ("push", {"frames": []}, "frames: there is nothing to push"),
        ("push", {"frames": ["a", 1]}, "frames[1]: must be text"),
        ("push", {"frames": "a\r\nb"}, "frames: "),
        ("push", {"frames": "a", "connection": 0}, "connection: must be a positive integer"),
    ],
)
async def test_what_is_wrong_is_named(path: str, value: object, says: str) -> None:
    async with controlled() as it:
        client = await it.client()
        await client.post("/peers", MAIL)
        answer = await client.ask("POST", f"/peers/mail/{path}", value)
        assert answer.status == 400
        assert answer.error.startswith(says)


@pytest.mark.parametrize(
    "end", [("DELETE", "/peers/mail", None), ("PUT", "/scenario", {"peers": []})]
)
@pytest.mark.parametrize("key", ["match", "connections", "fault"])
async def test_a_wait_ends_with_its_server(end: tuple[str, str, object], key: str) -> None:
    async with controlled() as it, trio.open_nursery() as nursery:
        client, other = await it.client(), await it.client()
        await client.post("/peers", MAIL)
        fault = await client.post("/peers/mail/faults", {"fault": "reset"})
        what = {"match": "QUIT", "connections": "opened", "fault": fault["id"]}[key]

        async def wait() -> None:
            answer = await other.ask("POST", "/peers/mail/wait", {key: what, "timeout": 3600})
            assert answer.status == 404, "also if it has come after the end"

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await client.ask(*end)
