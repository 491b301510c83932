"""The options of a peer for tests."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Unpack

from esps_portal.framings.custom import checked_framing
from esps_portal.framings.framing import Framing
from esps_portal.given_numbers import shown_value
from esps_portal.journal.recorded_dialogues import read_dialogues
from esps_portal.mock.frame_replay import FrameReplay
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.server_names import choose_plan
from esps_portal.net.tls_server import ServerTLS, own_tls
from esps_portal.peer.planned import make_state
from esps_portal.peer.serving import PeerConfig, serve_peer
from esps_portal.peer.state import PeerState
from esps_portal.protocol.limits import Limits
from esps_portal.services.service import as_bytes
from esps_portal.testing.scenario_text import scenario_text
from esps_portal.testing.served import Served
from esps_portal.testing.server_options import (
    SERVER_TYPES,
    TLS_TYPE,
    OptionType,
    ServerOptions,
    check_types,
    host_of,
    server_tls,
)
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.testing.peer_controller import PeerController

__tracebackhide__ = hides_frame

_GREETING = "text, bytes, or several of them"
_TYPES: dict[str, OptionType] = {
    "greeting": (object, _GREETING),
    "udp": (bool, "True or False"),
    "tls": TLS_TYPE,
    "scenario": (object, "a file, or the TOML itself"),
    "name": (str, "a name in the scenario"),
    "replay": (object, "the path of a recording"),
    **SERVER_TYPES,
}


class PeerOptions(ServerOptions, total=False):
    """Options of a peer for tests; each has a default."""

    #: What it sends first on each connection: a frame, or several; text as UTF-8. By default it
    #: waits for the client.
    greeting: str | bytes | Sequence[str | bytes] | None
    #: Serve UDP too, on the same number; a datagram is a frame as it is. By default false, and with
    #: ``datagrams()`` there is UDP alone.
    udp: bool
    #: By default false: TCP is plain. True: TLS, with a certificate of a CA of the peer's own,
    #: whose file is `PeerController.tls_ca`; that needs the extra ``tls``. Or a context of your
    #: own, with ``load_cert_chain``.
    tls: bool | ssl.SSLContext
    #: In place of a framing: the ``[[peers]]`` of a scenario, a file (a `Path`, or a name that ends
    #: in ``.toml``) or the TOML itself; it has the greeting, stubs and faults too.
    scenario: str | Path
    #: Which of its peers, if there are several.
    name: str
    #: In place of a framing: a recording of a proxy, which is answered from by whole units.
    replay: str | Path
    #: Only ``max_connections``, ``linger`` and ``drain`` apply; by default those of `Limits`.
    limits: Limits | None


class PeerFactory(Protocol):
    """The type of the fixture `esps_peer`."""

    def __call__(
        self,
        framing: Framing | None = None,
        *,
        strict: bool | None = None,
        **options: Unpack[PeerOptions],
    ) -> PeerController:
        r"""Start a peer in a thread of its own; it ends with the test.

        Args:
            framing: how a stream is cut into frames, such as ``lines("\r\n")``; ``datagrams()``
                for UDP. Leave it out with ``scenario`` or ``replay``.
            strict: overrides the marker and the configuration.
            options: see `PeerOptions`.

        Raises:
            FramingError: it is not a framing, or the greeting cannot be sent with it.
            ScenarioError: a key of the scenario is wrong, and which.
            RecordingError: the file is not a recording, or holds nothing to replay.
            OSError: a file cannot be read.
            CannotBindError: an address cannot be bound.
            MissingExtraError: ``tls`` is true, and trustme is not installed.
            TypeError, ValueError: an option is unknown, or not what it must be.
        """


def check_peer_options(options: PeerOptions, also: str = "") -> None:
    """Check the names and types of options.

    Args:
        also: a further option, for the message: the caller handles it itself.

    Raises:
        TypeError, ValueError: an option is unknown, or not what it must be.
    """
    check_types({key: value for key, value in options.items() if value is not None}, _TYPES, also)


def peer_config(framing: Framing | None, options: PeerOptions) -> PeerConfig:
    """Return how a peer is served: on reserved ports, which may be taken out of service.

    Raises:
        FramingError: it is not a framing, or the greeting cannot be sent with it.
        ScenarioError, RecordingError, OSError: a file is wrong, or cannot be read.
        MissingExtraError: ``tls`` is true, and trustme is not installed.
        TypeError, ValueError: an option is unknown, or not what it must be.
    """
    check_peer_options(options)
    state = _state(framing, options)
    host = host_of(options)
    tls = server_tls(options.get("tls", False), ServerTLS, lambda: own_tls([host]))
    try:
        return PeerConfig(
            state=state,
            hosts=(host,),
            port=options.get("port", 0),
            reserve_port=True,
            limits=options.get("limits") or Limits(),
            tls=tls,
        )
    except ValueError:
        if tls is not None:
            tls.close()
        raise


def served_peer(config: PeerConfig) -> Served:
    """Return a peer with its configuration, as a test has it served."""
    return Served(
        name="peer", serve=partial(serve_peer, config), state=config.state, tls=config.tls
    )


def _state(framing: Framing | None, options: PeerOptions) -> PeerState:
    is_own = options.get("tls") is True
    scenario, replay = options.get("scenario"), options.get("replay")
    given = {"framing": framing, "scenario": scenario, "replay": replay}
    sources = [key for key, value in given.items() if value is not None]
    if len(sources) != 1:
        what = " and ".join(sources) or "none"
        raise TypeError(f"a peer needs a framing, a scenario or a replay: one of them, got {what}")
    needs: dict[str, str] = {"name": "scenario", "greeting": "framing", "udp": "framing"}
    for key, source in needs.items():
        if options.get(key) is not None and source != sources[0]:
            raise TypeError(f"{key} is for a peer with {source}: leave it out with {sources[0]}")
    if scenario is not None:
        peers = read_scenario_toml(scenario_text(scenario)).peers
        plan, path = choose_plan(peers, "peers", options.get("name"))
        return make_state(plan, path, issues_certificates=is_own)[0]
    if replay is not None:
        recorded = FrameReplay.of(read_dialogues(Path(replay).read_bytes()))
        return PeerState.replaying(recorded, issues_certificates=is_own)
    return PeerState(
        checked_framing(framing),
        _greeting(options.get("greeting")),
        udp=options.get("udp", False),
        issues_certificates=is_own,
    )


def _greeting(greeting: object) -> tuple[bytes, ...]:
    if greeting is None:
        return ()
    given = [greeting] if isinstance(greeting, str | bytes | bytearray | memoryview) else greeting
    try:
        return tuple(map(as_bytes, given))  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"greeting must be {_GREETING}, got {shown_value(greeting)}") from None
