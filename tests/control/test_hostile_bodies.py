"""Bodies that nobody means well: one clear error each, at once, and the port goes on."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import trio

from esps_portal.control import portal_controls
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario
from tests.control.controlled import controlled
from tests.patience import PATIENCE

KEYS = json.dumps({str(number): 0 for number in range(60_000)})
TWICE = KEYS.replace("}", ', "0": 1}')
DEEP = "[" * 100_000 + "]" * 100_000
#: A body, and how its error begins at each endpoint; ``None``: it depends on the endpoint.
BODIES: dict[str, tuple[str, str | None]] = {
    "60,000 keys": (KEYS, None),
    "one of 60,000 keys twice": (TWICE, 'not JSON: duplicate key "0"'),
    "an integer of 5000 digits": (f'{{"count": {"9" * 5000}}}', "not JSON: an integer of 5000"),
    "an integer of 300 digits": (f'{{"times": {"9" * 300}, "x": 1}}', None),
    "deep": (DEEP, "tables and lists are nested deeper than 64"),
    "deep tables": ('{"a":' * 90_000, "tables and lists are nested deeper than 64"),
    "near Python's limit": ("[" * 990 + "]" * 990, "tables and lists are nested deeper than 64"),
    "a long key": (json.dumps({"k" * 900_000: 1}), None),
    "a long text": (json.dumps("x" * 900_000), "must be a table of keys and values"),
    "a long list": (json.dumps([0] * 200_000), "must be a table of keys and values"),
    "half of one": ('{"service": "a"', "not JSON: "),
    "two": ("{}{}", "not JSON: "),
    "no UTF-8": ('"\udcff"', "not JSON: not UTF-8 at byte 1"),
    "UTF-16": ("{\0}\0", "not JSON: "),
    "NaN": ('{"timeout": NaN}', "not JSON: NaN is not a JSON number"),
    "null": ("null", "must be a table of keys and values, got null"),
    "an unpaired surrogate": ('{"\\ud800": "\\ud800"}', None),
    "an escape sequence": ('{"\\u001b[2J\\u007f": 1}', None),
}
ENDPOINTS = [
    ("POST", "/stubs"),
    ("POST", "/faults"),
    ("POST", "/wait"),
    ("POST", "/verify"),
    ("POST", "/reset"),
    ("POST", "/down"),
    ("PUT", "/scenario"),
    ("POST", "/proxies"),
    ("POST", "/peers"),
]


@pytest.mark.parametrize("name", BODIES)
async def test_a_hostile_body(name: str) -> None:
    text, says = BODIES[name]
    body = text.encode("utf-8", "surrogateescape")
    async with controlled() as it:
        client = await it.client()
        for method, path in ENDPOINTS:
            before = time.process_time()
            await client.send_body(method, path, body)
            answer = await client.answer()
            # Milliseconds; what looked at each key again for each key would need minutes.
            assert time.process_time() - before < PATIENCE, path
            assert answer.status == 400, (path, answer)
            error: dict[str, Any] = answer.value
            assert error["error"].startswith(says or ""), path
            assert len(answer.body) < 1000
            assert all(0x20 <= byte < 0x7F for byte in answer.body.rstrip(b"\n")), answer.body
        assert (await client.get("/scenario"), await client.get("/stubs")) == ({}, [])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("/stubs", {"service": "a", "times": "x"}, 'times: must be a positive integer, got "x"'),
        ("/stubs", {"service": "a", "b": 1}, "b: unknown key; choose from service, args,"),
        ("/stubs", {"service": "a", "reply": "x" * 9000}, "this answer would be a line of"),
        ("/stubs", {"service": "a", "args": [{"regex": "("}]}, "args[0].regex: not a regular"),
        ("/faults", {"fault": "rest"}, "fault: unknown fault 'rest'; did you"),
        ("/faults", {"fault": "reset", "times": 0}, "times: times must be a positive integer"),
        ("/faults", {"fault": "reset", "to": "server"}, "to: to='server' is for a proxy: no"),
        ("/faults", {"fault": ["reset"]}, 'fault: must be text, got ["reset"]'),
        ("/wait", {"fault": "9"}, "fault: no fault has the ID '9'; a reset forgets them"),
        ("/wait", {"fault": 9}, "fault: must be text, got 9"),
        ("/wait", {"fault": "1", "service": "a"}, "service: unknown key; choose from fault,"),
        ("/wait", {"match": "a"}, "match: unknown key; choose from service, count, timeout"),
        ("/wait", {"count": 0}, "count: must be a positive integer, got 0"),
        ("/wait", {"count": 10_001}, "count: must be at most 10000, which is how many are kept"),
        ("/wait", {"timeout": -1}, "timeout: must be seconds, 0 or more, got -1"),
        ("/wait", {"timeout": 3601}, "timeout: must be at most 3600 seconds"),
        ("/down", {"how": "off"}, "how: must be 'refuse' or 'silent', got \"off\""),
        ("/down", {"down": True}, "down: unknown key; choose from how"),
        ("/verify", {"service": 1}, "service: unknown key; there are none"),
        ("/reset", [], "must be a table of keys and values, got []"),
    ],
)
async def test_what_is_wrong_is_named(path: str, value: object, says: str) -> None:
    async with controlled() as it:
        answer = await (await it.client()).ask("POST", path, value)
        assert answer.status == 400
        assert answer.error.startswith(says)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/calls?service=A", "service: must be a name"),
        ("/calls?verb=x", "verb: unknown key; choose from service"),
        ("/stubs?service=x", "service: unknown key; there are none"),
        ("/exchanges?match=", "match: match must not be empty"),
    ],
)
async def test_a_wrong_query_names_its_key(path: str, says: str) -> None:
    async with controlled() as it:
        answer = await (await it.client()).ask("GET", path)
        assert answer.status == 400
        assert answer.error.startswith(says)


async def test_a_large_scenario_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read beside the loop: calls on the data port are answered before that has ended."""
    stubs = [{"service": "x", "args": [str(n)], "reply": "y"} for n in range(6_000)]
    has_begun, may_go_on = threading.Event(), threading.Event()
    was_in_time = []

    def read(value: object) -> Scenario:
        has_begun.set()
        was_in_time.append(may_go_on.wait(PATIENCE))
        return read_scenario(value)

    monkeypatch.setattr(portal_controls, "read_scenario", read)
    async with controlled() as it:
        client, peer = await it.client(), await it.tcp()
        await client.send("PUT", "/scenario", {"stubs": stubs})
        await trio.to_thread.run_sync(has_begun.wait, PATIENCE)
        for _ in range(3):
            await peer.send(b"a CALL echo\n")
            assert await peer.line() == b"a OK"
        may_go_on.set()
        assert (await client.answer()).value == {"stubs": stubs}
    assert was_in_time == [True]
