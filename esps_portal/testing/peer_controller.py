"""A test's control over a running peer: stubs, conversations, a handler."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

from esps_portal.faults.matching import Matchable
from esps_portal.given_numbers import is_integer, shown_value
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.frame_script import FrameHandler
from esps_portal.mock.frame_stubs import FrameStub
from esps_portal.mock.peer_steps import Step, send
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_to_toml
from esps_portal.mock.scripted_conversation import ScriptedConversation
from esps_portal.mock.server_names import choose_plan
from esps_portal.peer.planned import add, plan_of
from esps_portal.peer.state import PeerState
from esps_portal.peer.verification import find_problems, problem_report
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.exchange_controller import ExchangeController
from esps_portal.testing.portal_loop import PortalLoop
from esps_portal.testing.scenario_text import scenario_text
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_repr import peer_repr
from esps_portal.tracebacks import hides_frame
from esps_portal.user_functions import check_function, check_takes

__tracebackhide__ = hides_frame

_Handler = TypeVar("_Handler", bound=FrameHandler)


class PeerController(ExchangeController):
    """A peer for a test: it plays the server of any protocol.

    It was used as expected if each frame was expected, each stub and conversation was used up, each
    fault has struck, and no bytes were left that are not a frame.

    Attributes:
        host: a literal address, never a name.
        port: the port number, the same for TCP and UDP.
        tls_ca: the path of a PEM file with the CA that a client has to trust; `None`: the peer has
            no TLS with a certificate of its own.
    """

    def __init__(
        self,
        state: PeerState,
        loop: PortalLoop,
        address: ServerAddress,
    ) -> None:
        server = ControlledServer(
            loop,
            state,
            partial(find_problems, state),
            partial(problem_report, state),
        )
        captured = address.host, address.port
        super().__init__("peer", state, address, server, captured=captured)
        self._state = state

    def stub(self, match: Matchable) -> FrameStub:
        """Answer the frames that match; what comes next says how.

        ``peer.stub("PING").reply("+PONG")``. The first stub that matches, and is not used up,
        answers. A strict test fails if it is not used up; ``.optional()`` relaxes that.

        Args:
            match: text (as UTF-8) or bytes that the frame must equal, a compiled regular expression
                that is searched in it, or a function of bytes that decides, called in the peer's
                thread. A frame comes without what ends a line, and without a length before it; with
                a framing by length with ``at`` or ``extra`` it is the whole frame.

        Raises:
            FramingError: no frame can equal the text or bytes, such as a line with its end.
            TypeError: it is none of these.
        """
        stub = FrameStub(match, self._state.framings)
        self._loop.run(lambda: self._state.script.place(stub))
        return stub

    def conversation(self, *steps: Step) -> ScriptedConversation:
        """Play these steps in order on one connection, where order matters.

        ``peer.conversation(expect("USER x"), send("331"), expect("PASS y"), send("230"), close())``

        One that begins with ``expect`` begins with the first frame that matches; any other as a
        connection is accepted, after the greeting. Over UDP a connection is all that one address
        and port sends, nothing is accepted, and an end has no effect. Frames that it does not
        expect at the moment are answered by stubs, or the handler. A strict test fails if it does
        not come to its end; ``.optional()`` relaxes that.

        Args:
            steps: `expect`, `send`, `raw`, `wait`, `close` and `reset`, all of
                `esps_portal.testing`.

        Raises:
            FramingError: what is expected or to be sent cannot be a frame.
            StubError: there are no steps, some come after an end, or one over UDP does not begin
                with ``expect``.
            TypeError: something is not a step.
        """
        placed = ScriptedConversation(steps, self._state.framings)
        self._loop.run(lambda: self._state.script.conversations.append(placed))
        return placed

    def push(self, *frames: str | bytes, connection: int | None = None) -> int:
        """Send frames that no client has asked for, text as UTF-8; return on how many connections.

        ``peer.wait_for("SUB news")``, then ``peer.push("MSG news hello")``. They are sent in order,
        after the answers to the frames that have come, and are one exchange without a request:
        a fault selects them by ``reply_match``, with ``reply=0`` as long as the client has sent
        nothing. In a `conversation` they come after what it sends
        at the moment. It returns before they have left.

        Args:
            frames: without what ends a line, or the length before a payload: the framing adds it.
            connection: the number of one that is open, as `connections` has it; by default all that
                are open. Over UDP there is none.

        Raises:
            FramingError: a frame cannot be sent with this framing.
            StubError: there are no frames, or no such connection is open.
            TypeError: a frame is neither text nor bytes, or the connection is no number.
        """
        if not frames:
            raise StubError("there is nothing to push: give a frame")
        if connection is not None and not is_integer(connection):
            shown = shown_value(connection)
            raise TypeError(f"connection must be the number of an open one, got {shown}")
        step = send(*frames)
        return self._loop.run(lambda: self._state.push(step, connection))

    def handler(self, function: _Handler) -> _Handler:
        """Have a function answer what no stub and no conversation does: a decorator.

        ::

            @peer.handler
            def answer(frame, connection):
                count = connection.state["count"] = connection.state.get("count", 0) + 1
                return f"{count}: {frame.decode()}"

        It gets the frame as bytes, and its connection (``number``, ``remote``, ``transport``, a
        dict ``state``, ``close()``, ``reset()``), and returns a frame, several, or ``None`` for
        nothing. It runs in the peer's thread; an async one runs in trio there. What it raises is a
        problem, and resets the connection.

        Raises:
            TypeError: it is not a function, has a ``yield``, or does not take a frame and its
                connection.
        """
        check_function(function, "a handler")
        check_takes(function, "a handler", "frame", "connection")

        def place() -> None:
            self._state.script.handler = function

        self._loop.run(place)
        return function

    def load(self, scenario: str | Path, name: str | None = None) -> None:
        """Add the stubs and faults of a peer in a scenario: all of them, or none.

        Args:
            scenario: a file, as a `Path` or a name that ends in ``.toml``; or the TOML itself.
            name: which of its ``[[peers]]``, if there are several.

        Raises:
            ScenarioError: a key of the scenario is wrong, and which; or its framing, greeting or
                transports differ from this peer's, which are fixed when it starts.
            OSError: the file cannot be read.
        """
        peers = read_scenario_toml(scenario_text(scenario)).peers
        plan, path = choose_plan(peers, "peers", name)
        self._loop.run(lambda: add(self._state, plan, path))

    def dump(self, name: str = "peer") -> str:
        """Return this peer as the TOML of a scenario, for `load` and ``esps_peer(scenario=...)``.

        It has neither the journal nor how often each stub was used, and no handler and no
        conversation, which are code.

        Args:
            name: of the peer there.

        Raises:
            ScenarioError: the framing is the test's own, or a stub has a predicate: no file can
                hold them.
        """
        plan = self._loop.run(lambda: plan_of(self._state, name))
        return scenario_to_toml(Scenario(peers=(plan,)))

    def __repr__(self) -> str:
        return peer_repr(self._address, self._state, is_down=self._server.outage is not None)
