"""A scenario that has every key, as `dump` writes it, and portals to apply it to."""

from __future__ import annotations

from esps_portal import Limits
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.services.builtin_portal import builtin_portal

EVERY_KEY = """\
[limits]
max_in_flight = 8
idle = 30.0

[[stubs]]
service = "price"
args = ["a", { any = true }, { regex = "[0-9]+" }, { b64 = "/w==" }, { regex = { b64 = "/w==" } }]
more_args = true
data = [["first", "line"], { delay = 0.5 }, []]
delay = 1.0
reply = "9.99"
then_close = true
times = 2
optional = true

[[stubs]]
service = "flaky"
answers = [
  { fail = "busy", times = 2 },
  { fail = ["x-shop", "sold out", { b64 = "/w==" }] },
  { reply = ["two", "words"] },
]

[[stubs]]
service = "bare"

[[faults]]
fault = "reset"
service = "echo"
transport = "tcp"
connection = [1, 3]
request = 2
when = "before"
times = 3
optional = true

[[faults]]
fault = "slice"
chance = 0.5
seed = 7
at = "before-lf"

[[faults]]
fault = "patch"
reply = 2
match = { regex = "(?i)sku-[0-9]" }
reply_match = "OK"
offset = 2
age = 1.5
at = 3
hex = "8200"

[[faults]]
fault = "corrupt"
match = { hex = "0d00ff" }
reply_match = { regex = { b64 = "/w==" } }
at = 4

[[faults]]
fault = "slice"
unit = "connection"
every = 3
"""
PROXIES = """\
[[proxies]]
name = "cache-1"
upstream = "tcp://127.0.0.1:6379"
framing = "lines:crlf"
reply_framing = "length-prefixed:2,order=little"

[[proxies.faults]]
fault = "reset"
times = 1
match = "INCR"
offset = 2

[[proxies.faults]]
fault = "no-terminator"
to = "server"
optional = true

[[proxies]]
name = "dns"
upstream = "udp://127.0.0.1:53"
"""
PEERS = """\
[[peers]]
name = "mail"
framing = "lines:crlf"
greeting = "220 ready"

[[peers.stubs]]
match = { regex = { b64 = "KD9pKV4oZWhsb3xtYWlsKQ==" } }
reply = "250 ok"

[[peers.stubs]]
match = "RCPT"
answers = [
  { reply = "450 later", times = 2 },
  { reply = ["250 ok", "more"], delay = 0.5 },
  { reply = [] },
  { raw = { b64 = "/w==" }, then_reset = true },
]

[[peers.stubs]]
match = { hex = "00ff" }
reply = "bye"
then_close = true
optional = true

[[peers.stubs]]
match = ""

[[peers.faults]]
fault = "reset"
match = "RCPT"
offset = 2
times = 1

[[peers]]
name = "dns"
framing = "length-prefixed:2"
udp = true

[[peers.stubs]]
match = { regex = "example" }
reply = { b64 = "AAGBgA==" }
echo = [0, 2]

[[peers.stubs]]
match = { regex = "org$" }
reply = "12345"
echo = [[0, 2], [3, 4]]

[[peers]]
name = "udp"
framing = "datagrams"
"""


def portal(**limits: float) -> ScriptedPortal:
    return ScriptedPortal(builtin_portal("test/1", Limits(**limits)))  # type: ignore[arg-type]
