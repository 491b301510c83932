"""The endpoints of a portal, as a program in any language has them."""

from __future__ import annotations

import socket

import pytest
import trio

from esps_portal import __version__
from tests.control.controlled import controlled

PRICE = {"service": "price", "args": ["sku 1", {"b64": "/w=="}], "reply": ["9.99", ""]}


async def test_a_body_with_a_byte_order_mark() -> None:
    async with controlled() as it:
        client = await it.client()
        await client.send_body("POST", "/stubs", b'\xef\xbb\xbf{"service": "price"}')
        answer = await client.answer()
        assert (answer.status, answer.value["service"]) == (201, "price")


async def test_what_it_is() -> None:
    async with controlled() as it:
        client = await it.client()
        version = await client.get("/version")
        assert version == {
            "version": __version__,
            "product": f"esps-portal/{__version__}",
            "protocol": "ESPS/1",
        }


async def test_a_stub_is_in_force_when_it_is_answered() -> None:
    async with controlled() as it:
        client, peer, udp = await it.client(), await it.tcp(), it.udp()
        answer = await client.ask("POST", "/stubs", PRICE)
        assert (answer.status, answer.value) == (201, {"id": "1", **PRICE, "used": 0})
        await peer.send(b"a CALL price sku%201 %FF\n")
        assert await peer.line() == b'a OK 9.99 ""'
        assert await udp.ask(b"b CALL price sku%201 %FF\n") == b'b OK 9.99 ""\n'
        assert await client.get("/stubs") == [{"id": "1", **PRICE, "used": 2}]


async def test_a_stub_is_removed_by_its_id() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        for reply in ("1", "2"):
            await client.post("/stubs", {"service": "price", "times": 9, "reply": reply})
        assert await client.delete("/stubs/1") == {}
        await peer.send(b"a CALL price\n")
        assert await peer.line() == b"a OK 2"
        assert await client.delete("/stubs/2") == {}
        await peer.send(b"b CALL price\n")
        assert (await peer.line()).startswith(b"b ERR unknown-service ")
        for name in ("2", "3", "x", "", "*", "1/x"):
            answer = await client.ask("DELETE", f"/stubs/{name}")
            assert answer.status == 404, name
        assert (await client.ask("DELETE", "/stubs/2")).error == (
            "no stub has the ID '2'; a reset forgets them"
        )
        assert (await client.post("/stubs", {"service": "x"}))["id"] == "3", "no ID is used again"


async def test_calls() -> None:
    async with controlled() as it:
        client, peer, udp = await it.client(), await it.tcp(), it.udp()
        assert await client.get("/calls") == []
        await peer.send(b"d PING\na CALL echo \xff\nb CALL echo x %FF\nc CALL nope\n")
        assert [await peer.line() for _ in range(4)]
        await udp.ask(b"e CALL fail busy now\n")
        echo, nope, fail = await client.get("/calls")
        assert echo == {
            "service": "echo",
            "args": ["x", {"b64": "/w=="}],
            "transport": "tcp",
            "remote": echo["remote"],
            "connection": 1,
            "received": echo["received"],
            "ended": echo["ended"],
            "state": "replied",
            "code": "",
            "fault": "",
            "tag": "b",
        }
        assert 0 <= echo["received"] <= echo["ended"] <= nope["ended"] <= fail["ended"]
        assert (nope["service"], nope["code"]) == ("nope", "unknown-service")
        assert (fail["transport"], fail["connection"], fail["code"]) == ("udp", 0, "busy")
        assert fail["remote"] == list(udp.socket.getsockname())
        assert await client.get("/calls?service=echo") == [echo]
        assert await client.get("/calls?service=other") == []
        assert await client.get("/exchanges") == [], "those of a portal are its calls"


async def test_connections() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await peer.send(b"a PING\nb QUIT\n")
        assert await peer.line() == b"a OK"
        await peer.rest()
        (found,) = await client.get("/connections")
        assert (found["number"], found["requests"]) == (1, 2)
        assert found["remote"] == list(peer.stream.socket.getsockname())
        assert found["opened"] >= 0


async def test_a_fault_has_an_id_by_which_it_ends() -> None:
    async with controlled() as it:
        client = await it.client()
        drop = {"fault": "drop", "service": "echo", "transport": "udp"}
        first = await client.post("/faults", drop)
        assert first == {
            "id": "1",
            **drop,
            "happened": 0,
            "text": "drop service=echo transport=udp",
        }
        second = await client.post("/faults", {"fault": "corrupt", "chance": 0.5})
        assert second["id"] == "2"
        assert f"seed={second['seed']}" in second["text"]
        assert await client.get("/faults") == [first, second]
        assert [fault.kind for fault in it.placed] == ["drop", "corrupt"]
        assert await client.delete("/faults/2") == second
        assert await client.get("/faults") == [first]
        again = await client.ask("DELETE", "/faults/2")
        assert (again.status, again.error) == (
            404,
            "no fault has the ID '2'; a reset forgets them",
        )
        await client.post("/reset")
        assert (await client.ask("DELETE", "/faults/1")).status == 404
        assert (await client.post("/faults", drop))["id"] == "3", "no ID is used again"


async def test_all_faults_end_at_once() -> None:
    async with controlled() as it:
        client = await it.client()
        placed = [await client.post("/faults", {"fault": kind}) for kind in ("close", "reset")]
        assert await client.delete("/faults") == placed
        assert await client.get("/faults") == []
        assert await client.delete("/faults") == []
        waited = await client.post("/wait", {"fault": placed[0]["id"], "timeout": 0})
        assert not waited["reached"]
        problems = (await client.post("/verify"))["problems"]
        assert ["never struck" in problem for problem in problems] == [True, True]


async def test_a_fault_selects_by_content() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        match = {"fault": "truncate", "bytes": 2, "match": {"hex": "736b75"}, "offset": 2}
        placed = await client.post("/faults", match)
        assert placed["text"] == "truncate bytes=2 match='sku' offset=2"
        await peer.send(b"a CALL echo\nb CALL echo sku\n")
        assert await peer.line() == b"a OK"
        assert await peer.rest() == b"b OK"
        assert (await client.get("/scenario"))["faults"] == [{**match, "match": "sku"}]


async def test_a_fault_strikes_the_data_port_alone() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.post("/faults", {"fault": "reset", "when": "before"})
        await client.post("/faults", {"fault": "accept-close"})
        await peer.send(b"a CALL echo hi\n")
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        late = await it.data.connect()
        assert await late.line() == b""
        (call,) = await client.get("/calls")
        assert (call["state"], call["fault"]) == ("faulted", "reset when=before")
        assert await (await it.client()).get("/calls") == [call]


async def test_wait_returns_the_calls_when_they_come() -> None:
    async with controlled() as it:
        client, other, peer = await it.client(), await it.client(), await it.tcp()
        await client.send("POST", "/wait", {"service": "echo", "count": 2, "timeout": 20})
        assert await other.get("/calls") == [], "nobody else waits for it"
        await peer.send(b"a CALL echo 1\nb CALL whoami\nc CALL echo 2\n")
        waited = (await client.answer()).value
        assert waited["reached"] is True
        assert [call["args"] for call in waited["calls"]] == [["1"], ["2"]]
        at_once = await client.post("/wait", {"service": "echo"})
        assert at_once == waited
        assert len((await client.post("/wait"))["calls"]) == 3
        assert not it.main.state.journal.waiters.waiting


async def test_wait_ends_in_time() -> None:
    async with controlled() as it:
        client = await it.client()
        waited = await client.post("/wait", {"service": "echo", "count": 2, "timeout": 0.01})
        assert waited == {"reached": False, "calls": []}
        await client.send("POST", "/wait", {"timeout": 3000})
        while not it.main.state.journal.waiters.waiting:
            await trio.lowlevel.checkpoint()
        await client.stream.aclose()
        while it.main.state.journal.waiters.waiting:  # its client has gone
            await trio.lowlevel.checkpoint()


async def test_a_fault_is_waited_for_by_its_id() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.post("/faults", {"fault": "no-terminator"})
        await client.send("POST", "/wait", {"fault": "1", "count": 2, "timeout": 20})
        await peer.send(b"a PING\nb PING\n")
        assert (await client.answer()).value == {"reached": True, "happened": 2}
        await client.delete("/faults/1")
        known = await client.post("/wait", {"fault": "1"})
        assert known == {"reached": True, "happened": 2}, "it is known still"
        await client.post("/faults", {"fault": "close"})
        assert await client.post("/wait", {"fault": "2", "timeout": 0.01}) == {
            "reached": False,
            "happened": 0,
            "why": "selected 0 times; no request came after it was placed",
        }
        assert not it.main.state.faults.waiters.waiting


async def test_a_wait_for_a_fault_that_a_reset_removes() -> None:
    async with controlled() as it:
        client, other = await it.client(), await it.client()
        await client.post("/faults", {"fault": "close"})
        await other.send("POST", "/wait", {"fault": "1", "timeout": 3600})
        while not it.main.state.faults.waiters.waiting:
            await trio.lowlevel.checkpoint()
        await client.post("/reset")
        answer = await other.answer()
        assert (answer.status, answer.error) == (
            404,
            "what this waits for is gone: a reset, or the end of its server",
        )


async def test_verify_says_what_is_wrong() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        assert await client.post("/verify") == {"ok": True, "problems": [], "report": ""}
        await client.post("/stubs", {"service": "price", "args": ["1"]})
        await client.post("/faults", {"fault": "reset", "service": "x"})
        await client.post("/faults", {"fault": "reset", "service": "x", "optional": True})
        await client.delete("/faults/1")
        await peer.send(b"a CALL price 2\n")
        assert (await peer.line()).startswith(b"a ERR unmatched ")
        found = await client.post("/verify")
        assert found["ok"] is False
        unexpected, unused, never = found["problems"]
        assert never.splitlines() == [
            "fault never struck: reset service=x",
            "    selected 0 times; no request came before it was removed",
        ]
        assert unexpected.startswith("unexpected call: price '2'\n")
        assert unused == "unused stub: price '1': never used"
        assert "what happened (seconds, where, what):" in found["report"]
        assert "CALL price 2" in found["report"]


async def test_verify_sees_what_was_sent_before_it() -> None:
    async with controlled() as it:
        client = await it.client()
        for number in range(20):
            with socket.create_connection(it.data.listeners.tcp[0]) as peer:
                peer.sendall(b"a CALL nobody\n")
                found = await client.post("/verify")
            assert len(found["problems"]) == 1, number
            await client.post("/reset")


async def test_reset_leaves_nothing() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.post("/stubs", {"service": "price"})
        await client.post("/faults", {"fault": "reset", "service": "other"})
        await peer.send(b"a CALL nope\nb CALL stall\n")
        assert (await peer.line()).startswith(b"a ERR unknown-service ")
        await client.post("/wait", {"service": "stall"})
        assert await client.post("/reset") == {}
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        for path in ("/calls", "/connections", "/stubs", "/faults"):
            assert await client.get(path) == [], path
        assert await client.get("/scenario") == {}
        assert (await client.post("/verify"))["ok"] is True


async def test_resets_at_a_time() -> None:
    async with controlled() as it:
        clients = [await it.client() for _ in range(3)]
        await (await it.tcp()).send(b"a CALL stall\n")
        for client in clients:
            await client.send("POST", "/reset", {})
        for client in clients:
            assert (await client.answer()).value == {}


async def test_a_scenario_replaces_what_was_there() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.post("/stubs", {"service": "old"})
        await client.post("/faults", {"fault": "reset", "service": "old"})
        scenario = {
            "stubs": [
                {"service": "a", "args": [{"any": True}], "reply": {"b64": "/w=="}},
                {"service": "b", "answers": [{"fail": "busy", "times": 2}, {"reply": "1"}]},
            ],
            "faults": [{"fault": "corrupt", "service": "other", "chance": 0.5, "seed": 4}],
        }
        for _ in range(2):
            assert await client.put("/scenario", scenario) == scenario
            assert await client.get("/scenario") == scenario
        assert [fault.seed for fault in it.placed] == [None, 4, 4]
        await peer.send(b"1 CALL a x\n2 CALL b\n3 CALL b\n4 CALL b\n")
        assert [await peer.line() for _ in range(4)] == [
            b"1 OK %FF",
            b"2 ERR busy",
            b"3 ERR busy",
            b"4 OK 1",
        ]
        wrong = {"stubs": [{"service": "c"}, {"service": "d", "times": 0}]}
        answer = await client.ask("PUT", "/scenario", wrong)
        assert (answer.status, answer.value) == (
            400,
            {"error": "must be a positive integer, got 0", "key": "stubs[1].times"},
        )
        assert await client.get("/scenario") == scenario, "all of it, or nothing"
        limits = await client.ask("PUT", "/scenario", {"limits": {"idle": 1}})
        assert limits.error.startswith("limits.idle: a portal gets its limits when it starts")
        assert await client.put("/scenario", {}) == {}


async def test_a_scenario_as_toml() -> None:
    async with controlled() as it:
        client = await it.client()
        toml = b"[[stubs]]\nservice = 'a'\nreply = '\xc3\xa9'\n"
        await client.send_body("PUT", "/scenario", toml, Content_Type="application/toml")
        assert (await client.answer()).value == {"stubs": [{"service": "a", "reply": "é"}]}
        for body, says in (
            (b"[[stubs]\n", "not TOML: "),
            (b"a = '\xff'", "not UTF-8 at byte 5"),
            (b"stubs = [{service = 1}]", "stubs[0].service: must be a name"),
            (b"a" + b".a" * 100_000 + b" = 1", "not TOML: a key of more than 32 parts"),
        ):
            await client.send_body("PUT", "/scenario", body, Content_Type="application/toml")
            answer = await client.answer()
            assert answer.status == 400
            assert answer.error.startswith(says)


async def test_down_is_a_switch() -> None:
    async with controlled() as it:
        client, peer, udp = await it.client(), await it.tcp(), it.udp()
        for _ in range(2):
            assert await client.post("/down") == {"how": "refuse"}
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        with pytest.raises(OSError, match="connect"):
            await it.data.connect()
        udp.send(b"a PING\n")
        with pytest.raises(ConnectionRefusedError):
            await udp.receive()
        for _ in range(2):
            assert await client.delete("/down") == {}
        await it.tcp()
        assert await it.udp().ask(b"a PING\n") == b"a OK\n"


async def test_down_silent() -> None:
    async with controlled() as it:
        client, peer, udp = await it.client(), await it.tcp(), it.udp()
        assert await client.post("/down", {"how": "silent"}) == {"how": "silent"}
        await peer.send(b"a PING\n")
        udp.send(b"a PING\n")
        with trio.move_on_after(0.05) as waited:
            await it.data.connect()
        assert waited.cancelled_caught
        with trio.move_on_after(0.05) as waited:
            await peer.line()
        assert waited.cancelled_caught
        await client.delete("/down")
        assert await peer.line() == b"a OK"
        assert await udp.ask(b"b PING\n") == b"b OK\n"


async def test_a_get_changes_nothing() -> None:
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.post("/stubs", {"service": "a", "times": 1})
        await client.post("/faults", {"fault": "reset", "service": "b"})
        await peer.send(b"1 CALL echo x\n")
        await peer.line()
        paths = ["stubs", "faults", "calls", "exchanges", "connections", "scenario", "proxies"]

        async def state() -> list[object]:
            return [await client.get(f"/{path}") for path in paths]

        before = await state()
        for path in (*paths, "version", "openapi.json", "wait", "reset", "verify", "down"):
            for method in ("GET", "HEAD"):
                await client.ask(method, f"/{path}")
        assert await state() == before
