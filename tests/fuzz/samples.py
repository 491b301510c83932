"""Files and lines that are right: what inputs are made of."""

from __future__ import annotations

REQUESTS = (
    b"a PING\n",
    b"a HELLO ESPS/2 ESPS/1\nb LIST\nc LIST echo\n",
    b'a CALL echo hi %00 ""\nb CALL count x\nc CALL whoami\n',
    b"a CALL delay 1 x\nb CALL drip 3 1\nc CANCEL a\nd CANCEL b\n",
    b"a CALL chargen 20 72\nb CALL random 100 1\nc CALL fail busy now\n",
    b"a CALL stats\nb CALL time\nc CALL discard x ####\nd QUIT\n",
    b"a CALL truncate 3\n",
    b"a CALL garbage 10 1\n",
    b"a CALL close\nb PING\n",
    b"\n\r\na PING\r\n" + b"b CALL echo " + b"x" * 9000 + b"\nc PING\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
)
REQUEST_WORDS = (
    b"a", b"*", b"PING", b"CALL", b"CANCEL", b"HELLO", b"LIST", b"QUIT", b"ESPS/1", b"echo",
    b"delay 5", b"drip 2 1", b"chargen 9 99", b"%00", b"%zz", b'""', b"#", b" #", b"\n", b"\r\n",
    b" ", b"OK", b"DATA", b"ERR", b"\x00", b"\xff", b"PROXY UNKNOWN\r\n", b"x" * 8192,
)  # fmt: skip

REPLIES = (
    b"* ESPS/1 esps-portal/0.1.0\n1 OK\n2 OK hi\n3 DATA x\n3 OK\n4 ERR busy later\n",
    b"* ESPS/1 x/1\n* ERR tag-in-use 1\n* ERR bad-line no\n* BYE idle\n",
    b"* BYE busy\n",
    b"* ESPS/1 x/1\n1 DATA " + b"x" * 8000 + b"\n1 DATA x\n1 OK\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
)
REPLY_WORDS = (
    b"* ESPS/1 x\n", b"* ERR", b"* BYE", b"1", b"2", b"OK", b"DATA", b"ERR", b"too-large 99",
    b"tag-in-use", b"busy", b"%41", b"%zz", b'""', b" ", b"\n", b"\r\n", b"\x00", b"\xff",
)  # fmt: skip

SCENARIO = b"""
[limits]
idle = 5
max_line = 1024
[[stubs]]
service = "price"
args = ["sku-1", {any = true}, {regex = "a+b"}, {b64 = "AAE="}]
optional = true
answers = [{fail = ["busy", "later"], times = 2}, {delay = 0.1, data = [["x"]], reply = "9.99"}]
[[stubs]]
service = "flaky"
reply = ["1", 2, 1.5]
[[faults]]
fault = "reset"
service = "price"
when = "before"
times = 2
[[faults]]
fault = "slice"
at = "middle"
match = {regex = "x|y"}
chance = 0.5
seed = 3
[[proxies]]
name = "cache"
upstream = "tcp://127.0.0.1:6379"
framing = "lines:crlf"
faults = [{fault = "corrupt", bytes = 2, at = 1, request = [1, 3]}]
[[peers]]
name = "mail"
framing = "lines:crlf"
greeting = "220 ready"
[[peers.stubs]]
match = {regex = "^EHLO"}
answers = [{reply = "250 ok"}, {raw = {hex = "0d0a"}, then_close = true}]
"""
SCENARIO_WORDS = (
    b"[", b"]", b"[[", b"]]", b"{", b"}", b'"', b"'''", b"=", b"\n", b".", b",", b"true", b"nan",
    b"inf", b"-1", b"1e999", b"0x10", b"2020-01-01", b'"\\u0000"', b"regex", b"(a+)+$", b"(?i)",
    b"a{99999}", b"[[stubs]]", b"[[faults]]", b"[[peers]]", b"fault", b"service", b"hex", b"b64",
)  # fmt: skip

RECORDING = b"""\
{"event":"began","time":"2026-11-27T07:32:35.077602Z","product":"esps-portal/0.1.0","format":1}
{"event":"opened","at":0.1,"transport":"tcp","remote":["127.0.0.1",55906],"connection":1}
{"event":"received","at":0.2,"transport":"tcp","remote":["127.0.0.1",55906],"connection":1,\
"tag":"c1","verb":"CALL","service":"echo","args":["hi","\\u0000"],"number":2,\
"line":"c1 CALL echo hi %00","state":"received"}
{"event":"replied","at":0.3,"transport":"tcp","remote":["127.0.0.1",55906],"connection":1,\
"tag":"c1","verb":"CALL","service":"echo","code":"","fault":"","number":2,\
"args":["hi","\\u0000"],"line":"c1 CALL echo hi %00","state":"replied",\
"sent":["c1 DATA x","c1 OK hi %00"]}
{"event":"closed","at":0.4,"transport":"tcp","remote":["127.0.0.1",55906],"connection":1,\
"by":"portal","how":"fin","fault":""}
"""
DIALOGUE = b"""\
{"event":"began","time":"2026-11-27T07:32:35.108405Z","product":"esps-portal/0.1.0","format":1}
{"event":"opened","at":0.1,"transport":"tcp","remote":["127.0.0.1",40770],"connection":1}
{"event":"unit","at":0.2,"transport":"tcp","remote":["127.0.0.1",40770],"connection":1,\
"exchange":0,"from":"server","data":"hello\\n"}
{"event":"unit","at":0.3,"transport":"tcp","remote":["127.0.0.1",40770],"connection":1,\
"exchange":1,"from":"client","data":{"b64":"AAE="}}
{"event":"unit","at":0.4,"transport":"tcp","remote":["127.0.0.1",40770],"connection":1,\
"exchange":1,"from":"server","data":"a OK\\n","continues":true}
{"event":"replied","at":0.5,"transport":"tcp","remote":["127.0.0.1",40770],"connection":1,\
"exchange":1,"request_size":14,"reply_size":10,"complete":true,"overlapped":false,"fault":""}
"""
JSON_WORDS = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"null", b"true", b"-1", b"1e999", b"NaN",
    b'"\\ud800"', b'"event"', b'"began"', b'"unit"', b'"replied"', b'"args"', b'"sent"', b"{}",
    b'{"b64":"x"}', b'"exchange"', b'"connection"', b'"at"', b'"line"',
)  # fmt: skip


def _request(head: str, fields: str = "", body: bytes = b"", kind: str = "json") -> bytes:
    if body:
        fields += f"Content-Type: application/{kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode() + body


HTTP = (
    _request("GET /version"),
    _request("GET /calls?service=echo", "Accept: */*\r\n"),
    _request("POST /stubs", body=b'{"service":"price","reply":"9"}'),
    _request("POST /faults", body=b'{"fault":"latency","seconds":0.000001}'),
    _request("PUT /scenario", body=b"stubs = []", kind="toml"),
    _request("POST /verify", body=b"{}"),
    _request("DELETE /stubs/1"),
    _request("OPTIONS *", "Origin: http://x\r\n"),
    _request("POST /stubs", "Transfer-Encoding: chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n",
)
HTTP_WORDS = (
    b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"/stubs", b"/faults", b"/calls", b"/wait",
    b"/scenario", b"/exchanges?match=", b"/proxies", b"/peers", b"%00", b"%zz", b"?", b"&", b"..",
    b"HTTP/1.0", b"\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: x\r\n", b"{", b"}",
    b'"id"', b"null", b"[]", b'"timeout":0', b"\xff", b"\x00", b'"service"', b'"match"',
)  # fmt: skip

PROXY_HEADERS = (
    b"PROXY TCP4 192.0.2.1 192.0.2.9 4000 2867\r\na PING\n",
    b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + b"a PING\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
)
URLS = (
    b"esps://127.0.0.1:2867",
    b"esps+tls://[::1]:2867",
    b"esps+udp://localhost",
    b"esps://[fe80::1%25lo]:1",
    b"tcp+udp://h:1",
    b"host:80",
    b"::1",
)
FRAMINGS = (
    b"lines:crlf", b"lines:lf", b"delimited:0d0a", b"length-prefixed:2,at=4,extra=1,order=little",
    b"fixed:8", b"until-close", b"matching:[a-z]+;", b"datagrams",
)  # fmt: skip
FAULTS = (
    b"reset service=echo when=before times=2",
    b"slice at=middle pause=0.1 match=re:^a+",
    b"patch at=2 hex=00ff request=1,3",
    b'corrupt bytes=3 at=1 seed=7 match="a b"',
    b"close age=60 chance=0.5 seed=3 optional=true",
)
FAULT_WORDS = (
    b" ", b"=", b'"', b"'", b"at", b"every", b"re:(", b"hex:0", b"nan", b"inf", b"-1", b"1,2",
    b"unit=connection", b"offset=9", b"reply=0", b"transport=udp", b"when=after", b"to=server",
)  # fmt: skip
