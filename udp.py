import socket, subprocess, json, time, struct

p = subprocess.Popen(
    [
        "esps-portal",
        "serve",
        "--host",
        "127.0.0.1",
        "--host",
        "::1",
        "--port",
        "0",
        "--json",
        "--no-access-log",
        "--limit",
        "error-rate=5",
        "--limit",
        "error-burst=5",
    ],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
)
l = p.stdout.readline()
if not l:
    print(p.stderr.read())
    raise SystemExit
r = json.loads(l)
print(r)
a4 = [x for x in r["udp"] if ":" not in x[0]][0]


def ask(b, t=0.3, bind=None):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(t)
    if bind:
        s.bind(bind)
    s.sendto(b, tuple(a4))
    out = []
    try:
        while 1:
            out.append(s.recv(70000))
    except OSError as e:
        pass
    s.close()
    return out


for b in (
    b"a PING\n",
    b"a PING\r\n",
    b"a PING",
    b"a PING\nb PING\n",
    b"a PING x",
    b"",
    b"\n",
    b"\r\n",
    b"a\n",
    b"a",
    b"a \n",
    b" a PING\n",
    b"a  PING\n",
    b"a PING \n",
    b"* ESPS/1\n",
    b"a OK\n",
    b"a DATA",
    b"a ERR x\n",
    b"a QUIT\n",
    b"a CANCEL b\n",
    b"a CALL echo %zz\n",
    b"a CALL echo %0a\n",
    b"a CALL nosuch\n",
    b"a CALL random 2000 #########\n",
    b"a HELLO ESPS/1\n",
    b"a HELLO ESPS/1 " + b"#" * 300 + b"\n",
    b"a HELLO ESPS/9\n",
    b"a LIST " + b"#" * 200 + b"\n",
    b"a CALL whoami " + b"#" * 40 + b"\n",
    b"\xff\n",
    b"A" * 32 + b" PING\n",
    b"A" * 33 + b" PING\n",
    b"a ping\n",
    b"a " + b"P" * 17 + b"\n",
    b"a PING ##\n",
    b"a PING # x\n",
    b"a PING x#y\n",
    b'a PING ""\n',
    b'a PING "\n',
    b"a PING " + b"x" * 8184 + b"\n",
    b"a PING " + b"x" * 9000 + b"\n",
):
    print(b[:40], len(b), "->", [x[:80] for x in ask(b, 0.15)])
    time.sleep(0.05)
try:
    print(
        "port<1024",
        ask(b"a PING\n", bind=("127.0.0.1", 900)),
        ask(b"b NOPE\n", bind=("127.0.0.1", 901)),
    )
except OSError as e:
    print(e)
# at most once
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3)
for b in (
    b"t1 CALL count\n",
    b"t1 CALL count\n",
    b"t1 CALL count #####\n",
    b"t1 CALL count x\n",
    b"t2 CALL count\n",
):
    s.sendto(b, tuple(a4))
    try:
        print(b, s.recv(1000))
    except OSError as e:
        print(b, e)
p.terminate()
print(p.communicate()[1][-300:])
