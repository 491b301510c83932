"""The endpoints of peers: servers of any protocol that control starts and scripts."""

from __future__ import annotations

from typing import Any

import pytest
import trio

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
    ],
)
async def test_what_is_wrong_is_named(path: str, value: object, says: str) -> None:
    async with controlled() as it:
        client = await it.client()
        await client.post("/peers", MAIL)
        answer = await client.ask("POST", f"/peers/mail/{path}", value)
        assert answer.status == 400
        assert answer.error.startswith(says)
