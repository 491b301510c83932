"""The control port, as a program in any language has it: lines over TCP."""

from __future__ import annotations

import socket

import pytest
import trio

from esps_portal.protocol.messages import OK, Reply, parse_answer_untrusted
from tests.control.controlled import controlled


async def test_it_says_what_it_offers() -> None:
    async with controlled() as it:
        peer = await it.control.tcp()
        await peer.send(b"a LIST\nb LIST stub\nc HELLO ESPS/1\n")
        assert await peer.line() == b"a OK stub fault calls wait verify reset scenario down"
        assert (await peer.line()).startswith(b"b OK stub a JSON ")
        assert b" max-line=1048576 " in await peer.line()


async def test_a_stub_is_in_force_when_it_is_answered() -> None:
    async with controlled() as it:
        control = await it.controller()
        plain = {"service": "price", "args": ["sku 1", {"b64": "/w=="}], "reply": ["9.99", ""]}
        await control.do("stub", plain)
        peer, udp = await it.tcp(), it.udp()
        await peer.send(b"a CALL price sku%201 %FF\n")
        assert await peer.line() == b'a OK 9.99 ""'
        assert await udp.ask(b"b CALL price sku%201 %FF\n") == b'b OK 9.99 ""\n'


async def test_calls_are_told() -> None:
    async with controlled() as it:
        control, peer, udp = await it.controller(), await it.tcp(), it.udp()
        assert await control.do("calls") == []
        await peer.send(b"b CALL echo x %FF\na CALL echo \xff\nc CALL nope\nd PING\n")
        assert [await peer.line() for _ in range(4)]
        await udp.ask(b"e CALL fail busy now\n")
        echo, nope, fail = await control.do("calls")
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
        assert await control.do("calls", {"service": "echo"}) == [echo]
        assert await control.do("calls", {"service": "other"}) == []


async def test_a_fault_has_a_number_by_which_it_ends() -> None:
    async with controlled() as it:
        control = await it.controller()
        plain = {"fault": "drop", "service": "echo", "transport": "udp"}
        assert await control.do("fault", plain) == [
            {"id": 1, "fault": "drop service=echo transport=udp", "seed": None}
        ]
        ((second),) = await control.do("fault", {"fault": "corrupt", "chance": 0.5})
        assert second["id"] == 2
        assert f"seed={second['seed']}" in second["fault"]
        assert [fault.kind for fault in it.told] == ["drop", "corrupt"]
        assert await control.do("fault", {"remove": 2}) == []
        assert [fault.kind for fault in it.portal.script.faults.in_force] == ["drop"]
        assert await control.do("fault", {"remove": 2}) == [], "it has ended already"
        assert await control.refused("fault", {"remove": 3}) == (
            "bad-arguments remove: no fault has the id 3; a reset forgets them"
        )
        await control.do("reset")
        assert "no fault has the id 1" in await control.refused("fault", {"remove": 1})
        (third,) = await control.do("fault", plain)
        assert third["id"] == 3, "no two faults have one number"


async def test_a_fault_selects_by_content() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        match = {"fault": "truncate", "bytes": 2, "match": {"hex": "736b75"}, "offset": 2}
        ((placed),) = await control.do("fault", match)
        assert placed["fault"] == "truncate bytes=2 match='sku' offset=2"
        await peer.send(b"a CALL echo\nb CALL echo sku\n")
        assert await peer.line() == b"a OK"
        assert await peer.rest() == b"b OK"
        ((scenario),) = await control.do("scenario")
        assert scenario["faults"] == [{**match, "match": "sku"}]


async def test_a_fault_that_makes_no_sense_is_refused() -> None:
    async with controlled() as it:
        control = await it.controller()
        refusal = await control.refused("fault", {"fault": "reset", "to": "server"})
        assert refusal == (
            "bad-arguments to: to='server' is for a proxy: no server is behind this portal"
        )
        assert it.portal.script.faults.in_force == []


async def test_a_fault_happens_to_the_data_port_alone() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        await control.do("fault", {"fault": "reset", "when": "before"})
        await control.do("fault", {"fault": "accept-close"})
        await peer.send(b"a CALL echo hi\n")
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        late = await it.data.connect()
        assert await late.line() == b""
        (call,) = await control.do("calls")
        assert (call["state"], call["fault"]) == ("faulted", "reset when=before")
        assert await (await it.controller()).do("calls") == [call]


async def test_wait_tells_the_calls_when_they_come() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        tag = await control.send("wait", {"service": "echo", "count": 2, "timeout": 20})
        # What is asked behind it does not wait for it.
        await control.peer.send(b"p CALL calls\n")
        assert await control.peer.line() == b"p OK"
        await peer.send(b"a CALL echo 1\nb CALL whoami\nc CALL echo 2\n")
        answered = await control.answer(tag)
        assert answered.kind == OK
        assert [value["args"] for value in answered.values] == [["1"], ["2"]]
        assert len(await control.do("wait", {"service": "echo"})) == 2, "they have come already"
        assert len(await control.do("wait")) == 3
        assert not it.portal.script.journal.waiters


async def test_wait_is_not_for_ever() -> None:
    async with controlled() as it:
        control = await it.controller()
        said = {"service": "echo", "count": 2, "timeout": 0.01}
        assert await control.refused("wait", said) == (
            "x-timeout echo was called 0 of 2 times in 0.01 s"
        )
        tag = await control.send("wait", {"timeout": 1000})
        await control.peer.send(b"c CANCEL %b\n" % tag)
        assert await control.peer.line() == b"%b ERR cancelled" % tag
        assert await control.peer.line() == b"c OK"
        assert not it.portal.script.journal.waiters


async def test_verify_tells_what_is_wrong() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        await control.do("verify")
        await control.do("stub", {"service": "price", "args": ["1"]})
        await peer.send(b"a CALL price 2\n")
        assert (await peer.line()).startswith(b"a ERR unmatched ")
        answered = await control.ask("verify")
        assert answered.words[0] == "x-unverified"
        assert answered.words[1].startswith("2 problems")
        unexpected, unused = answered.values
        assert unexpected.startswith("unexpected call: price '2'\n")
        assert unused == "unused stub: price '1': never used"


async def test_a_fault_that_never_struck_is_told_in_the_same_words() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        plain = {"fault": "reset", "service": "price"}
        ((placed),) = await control.do("fault", plain)
        await control.do("fault", {**plain, "optional": True})
        await control.do("fault", {**plain, "chance": 1, "seed": 3})
        await peer.send(b"a CALL echo hi\n")
        assert await peer.line() == b"a OK hi"
        await control.do("fault", {"remove": placed["id"]})
        answered = await control.ask("verify")
        (problem,) = answered.values
        assert problem.splitlines() == [
            "fault never struck: reset service=price",
            "    selected 0 times; nearest: echo 'hi' (tcp #1): service is 'echo', not 'price'",
        ]
        assert answered.words == ("x-unverified", "1 problem: the portal was not used as expected")
        ((scenario),) = await control.do("scenario")
        assert [fault.get("optional") for fault in scenario["faults"]] == [True, None]


async def test_a_fault_is_waited_for_by_its_number() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        await control.do("fault", {"fault": "no-terminator"})
        tag = await control.send("wait", {"fault": 1, "count": 2, "timeout": 20})
        await peer.send(b"a PING\nb PING\n")
        assert (await control.answer(tag)).values == [{"happened": 2}]
        await control.do("fault", {"remove": 1})
        assert await control.do("wait", {"fault": 1}) == [{"happened": 2}], "it is known still"
        assert await control.refused("wait", {"fault": 1, "count": 3, "timeout": 0.01}) == (
            "x-timeout fault no-terminator struck 2 of 3 times in 0.01 s"
        )
        await control.do("fault", {"fault": "close"})
        assert await control.refused("wait", {"fault": 2, "timeout": 0.01}) == (
            "x-timeout fault close struck 0 of 1 times in 0.01 s:"
            " selected 0 times; no request came after it was placed"
        )
        assert not it.portal.script.faults.waiters


async def test_verify_sees_what_was_sent_before_it() -> None:
    async with controlled() as it:
        control = await it.controller()
        for number in range(20):
            with socket.create_connection(it.data.listeners.tcp[0]) as client:
                client.sendall(b"a CALL nobody\n")
                answered = await control.ask("verify")
            assert len(answered.values) == 1, number
            await control.do("reset")


async def test_reset_leaves_nothing() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        await control.do("stub", {"service": "price"})
        await control.do("fault", {"fault": "reset", "service": "other"})
        await peer.send(b"a CALL nope\nb CALL stall\n")
        assert (await peer.line()).startswith(b"a ERR unknown-service ")
        await control.do("wait", {"service": "stall"})
        await control.do("reset")
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        assert await control.do("calls") == []
        assert await control.do("scenario") == [{}]
        await control.do("verify")


async def test_two_resets_at_a_time() -> None:
    async with controlled() as it:
        controls = [await it.controller() for _ in range(3)]
        await controls[0].do("stub", {"service": "price"})
        peer = await it.tcp()
        await peer.send(b"a CALL stall\n")
        await controls[0].do("wait", {"service": "stall"})
        async with trio.open_nursery() as nursery:
            for control in controls:
                nursery.start_soon(control.do, "reset")
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        for control in controls:
            assert await control.do("calls") == []
            assert await control.do("scenario") == [{}]


async def test_a_scenario_goes_in_and_comes_out() -> None:
    async with controlled() as it:
        control, peer = await it.controller(), await it.tcp()
        plain = {
            "stubs": [
                {
                    "service": "a",
                    "args": [{"any": True}],
                    "more_args": True,
                    "reply": {"b64": "/w=="},
                },
                {"service": "b", "answers": [{"fail": "busy", "times": 2}, {"reply": []}]},
            ],
            "faults": [{"fault": "latency", "chance": 0.5, "seed": 4, "seconds": 0.25}],
        }
        await control.do("scenario", plain)
        assert await control.do("scenario") == [plain]
        assert [fault.seed for fault in it.told] == [4]
        await control.do("reset")
        await control.do("scenario", {"stubs": plain["stubs"]})
        peer = await it.tcp()
        await peer.send(b"1 CALL a x\n2 CALL b\n3 CALL b\n4 CALL b\n")
        assert [await peer.line() for _ in range(4)] == [
            b"1 OK %FF",
            b"2 ERR busy",
            b"3 ERR busy",
            b"4 OK",
        ]
        bad = {"stubs": [{"service": "c"}, {"service": "d", "times": 0}]}
        assert await control.refused("scenario", bad) == (
            "bad-arguments stubs[1].times: must be a positive integer, got 0"
        )
        assert await control.do("scenario") == [{"stubs": plain["stubs"]}], "all of it, or nothing"
        assert (await control.refused("scenario", {"limits": {"idle": 1}})).startswith(
            "bad-arguments limits.idle: a portal gets its limits when it starts"
        )


async def test_down_is_a_switch() -> None:
    async with controlled() as it:
        control, peer, udp = await it.controller(), await it.tcp(), it.udp()
        await control.do("down", {"down": True})
        await control.do("down", {"down": True})
        with pytest.raises(trio.BrokenResourceError):
            await peer.line()
        with pytest.raises(OSError, match="connect"):
            await it.data.connect()
        udp.send(b"a PING\n")
        with pytest.raises(ConnectionRefusedError):
            await udp.receive()
        await control.do("down", {"down": False})
        await control.do("down", {"down": False})
        await it.tcp()
        assert await it.udp().ask(b"a PING\n") == b"a OK\n"


async def test_down_silent() -> None:
    async with controlled() as it:
        control, peer, udp = await it.controller(), await it.tcp(), it.udp()
        await control.do("down", {"down": True, "how": "silent"})
        await peer.send(b"a PING\n")
        udp.send(b"a PING\n")
        with trio.move_on_after(0.05) as waited:
            await it.data.connect()
        assert waited.cancelled_caught
        with trio.move_on_after(0.05) as waited:
            await peer.line()
        assert waited.cancelled_caught
        await control.do("down", {"down": False})
        assert await peer.line() == b"a OK"
        assert await udp.ask(b"b PING\n") == b"b OK\n"


async def test_what_is_sent_at_once_is_done_in_order() -> None:
    """A line of a shell sends all it wants and QUIT behind it; most services run as tasks."""
    async with controlled() as it:
        control = await it.controller()
        for _ in range(5):
            tags = [await control.send("fault", {"fault": "reset"}) for _ in range(9)]
            tags += [await control.send("stub", {"service": "x"})]
            tags += [await control.send("verify"), await control.send("reset")]
            tags += [await control.send("verify")]
            answers = [await control.answer(tag) for tag in tags]
            numbers = [answer.values[0]["id"] for answer in answers[:9]]
            assert numbers == sorted(numbers)
            assert [answer.kind for answer in answers[-3:]] == [b"ERR", OK, OK]
        await control.send("calls")
        await control.send("verify")
        await control.peer.send(b"q QUIT\n")
        assert (await control.peer.rest()).endswith(b" OK\nq OK\n")


async def test_json_may_be_long() -> None:
    async with controlled() as it:
        control = await it.controller()
        stubs = [{"service": "x", "args": [str(n), {"b64": "/w=="}]} for n in range(2000)]
        await control.do("scenario", {"stubs": stubs})
        ((back),) = await control.do("scenario")
        assert back == {"stubs": stubs}
        await control.peer.send(b"a CALL scenario " + b"x" * (1 << 20) + b"\n")
        assert (await control.peer.line()).startswith(b"a ERR too-long ")


@pytest.mark.parametrize(
    ("service", "value", "says"),
    [
        ("stub", b"", "usage: CALL stub JSON"),
        ("stub", b" {", "not JSON: "),
        ("stub", b" []", "must be a table of keys and values, got []"),
        ("stub", b" {} {}", "usage: CALL stub JSON"),
        ("stub", b' {"service":"a","times":"x"}', 'times: must be a positive integer, got "x"'),
        ("stub", b' {"service":"a","b":1}', "b: unknown key; choose from service, args,"),
        ("fault", b' {"fault":"rest"}', "fault: unknown fault 'rest'; did you"),
        ("fault", b' {"fault":"reset","times":0}', "times: times must be a positive integer"),
        ("fault", b' {"remove":"x"}', 'remove: must be a positive integer, got "x"'),
        ("fault", b' {"remove":1,"x":1}', "x: unknown key; choose from remove"),
        ("calls", b' {"service":1}', "service: must be a name"),
        ("calls", b' {"verb":1}', "verb: unknown key; choose from service"),
        ("wait", b' {"fault":9}', "fault: no fault has the id 9"),
        ("wait", b' {"fault":1,"service":"a"}', "service: unknown key; choose from fault,"),
        ("wait", b' {"count":0}', "count: must be a positive integer, got 0"),
        ("wait", b' {"timeout":-1}', "timeout: must be seconds, 0 or more, got -1"),
        ("down", b" {}", "down: this key is required"),
        ("down", b' {"down":1}', "down: must be true or false, got 1"),
        ("down", b' {"down":true,"how":"off"}', "how: must be 'refuse' or 'silent', got \"off\""),
        ("down", b' {"down":false,"how":"silent"}', "how: down: false takes no other key"),
        ("verify", b" {%22service%22:1}", "service: unknown key"),
        ("reset", b" []", "must be a table of keys and values"),
    ],
)
async def test_what_is_wrong_is_named(service: str, value: bytes, says: str) -> None:
    async with controlled() as it:
        control = await it.controller()
        escaped = value.replace(b'"', b"%22")
        await control.peer.send(b"a CALL %b%b\n" % (service.encode(), escaped))
        reply = parse_answer_untrusted(await control.peer.line())
        assert isinstance(reply, Reply)
        assert reply.args[0] == b"bad-arguments"
        assert reply.args[1].decode().startswith(says)
