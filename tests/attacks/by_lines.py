"""Attacks by what is sent on a connection: endless, bad, or cancelled again and again."""

from __future__ import annotations

from tests.attacks.attack import Attack, Bounds
from tests.attacks.behaviour import Behaviour
from tests.attacks.measure import Scene, against, serve
from tests.attacks.swarm import Swarm

#: Lines that are bad in every way, after a good one: a bad first line ends the connection. Each is
#: answered by one line, but for the empty one.
BAD_LINES = b"".join(
    (
        b"@\n",
        b" a PING\n",
        b"a  PING\n",
        b"a PING \n",
        b"a PING\r\r\n",
        b"a NOSUCH\n",
        b"a CALL\n",
        b"a CALL nosuch\n",
        b"a CALL echo %zz\n",
        b"a CALL echo \x1b[31m\n",
        b"\x00\xff\n",
        b"%b PING\n" % (b"t" * 33),
        b"a CANCEL b\n",
        b"a HELLO ESPS/9\n",
        b"a LIST nosuch\n",
        b"\r\n",
        b"a CALL fail busy\n",
    )
)
LF = b"\n"
_PATIENCE = 180.0  # seconds for a million lines, on a busy machine

#: Calls that fill a connection, each of which is cancelled.
CANCELLED = b"".join(b"c%d CALL delay 60000\n" % n for n in range(64)) + b"".join(
    b"x%d CANCEL c%d\n" % (n, n) for n in range(64)
)
#: What is cancelled before it is known, twice, by itself, and while it ends.
ODDLY_CANCELLED = b"a CANCEL a\nb CANCEL c\nc CALL drip 100 0\nd CANCEL c\nd CANCEL c\n"


def send_lines(scene: Scene, line: bytes, count: int, whole: int, *, first: bytes = b"") -> str:
    """Send so many bytes at least, over some connections that return when they are ended."""
    most = scene.scale.count(whole)
    how = Behaviour(first, line, returns=True)
    with Swarm(scene.port, [how], count) as swarm:
        tally = swarm.tally
        swarm.run(2 * scene.seconds, until=lambda: tally.sent >= most)
        swarm.run(10, until=lambda: tally.received)
    scene.expect(tally.received > 0, "nothing came back")
    sent = f"{tally.sent / 1e6:,.0f} MB of {'lines' if line.endswith(LF) else 'a line'}"
    return f"{sent}, {tally.received / 1e6:,.1f} MB of replies, {tally.ended:,} ended"


def have_answered(scene: Scene, lines: bytes, count: int, whole: int) -> str:
    """Send lines over some connections until so many are answered; none of these is ended."""
    most = scene.scale.count(whole)
    how = Behaviour(b"a PING\n", lines)
    with Swarm(scene.port, [how], count) as swarm:
        tally = swarm.tally
        swarm.run(_PATIENCE, until=lambda: tally.lines >= most + 2 * count)
    answered = tally.lines - 2 * count  # less a greeting and a good line of each
    scene.expect(answered >= most, f"{answered:,} lines were answered, not {most:,}")
    scene.expect(not tally.ended, f"{tally.ended} connections were ended")
    return f"{answered:,} lines answered, {tally.received / 1e6:,.1f} MB of replies"


ATTACKS = (
    Attack(
        "endless-lines",
        "50 connections whose lines have no end",
        against(
            serve(),
            lambda scene: send_lines(scene, b"a CALL echo " + b"x" * 4000, 50, 1 << 30),
            Bounds(30, "a line of 8 KiB for each, and a read of 16 KiB"),
        ),
    ),
    Attack(
        "bad-lines",
        "a million bad lines of 16 kinds that are answered, over 10 connections",
        against(
            serve(),
            lambda scene: have_answered(scene, BAD_LINES, 10, 1_000_000),
            Bounds(10, "64 KiB of output for each"),
        ),
    ),
    Attack(
        "cancel-storm",
        "100 connections that begin 64 calls and cancel them, over and over: 50,000 lines",
        against(
            serve(),
            lambda scene: have_answered(scene, CANCELLED, 100, 50_000),
            Bounds(60, "64 calls of 3 KB for each, and 64 KiB of output"),
        ),
    ),
    Attack(
        "odd-cancels",
        "100,000 lines of 100 connections that cancel what has ended, or not begun",
        against(
            serve(),
            lambda scene: have_answered(scene, ODDLY_CANCELLED, 100, 100_000),
            Bounds(20, "a call for each, and 64 KiB of output"),
        ),
    ),
)
