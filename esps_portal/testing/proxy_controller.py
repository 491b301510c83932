"""A test's control over a running proxy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from esps_portal.journal.records import RecordedCall
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_to_toml
from esps_portal.mock.server_names import choose_plan
from esps_portal.proxy.planned import add, plan_of
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.verification import find_problems, problem_report
from esps_portal.testing import waiting
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.exchange_controller import ExchangeController
from esps_portal.testing.portal_loop import PortalLoop
from esps_portal.testing.scenario_text import scenario_text
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_repr import proxy_repr
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class ProxyController(ExchangeController):
    """A proxy for a test, in front of a server of any protocol.

    It was used as expected if each fault has struck, the upstream was reached, and frames were
    whole.

    Attributes:
        host: a literal address, never a name.
        port: the port number, the same for TCP and UDP.
        upstream: the server behind it, such as ``tcp://127.0.0.1:6379``.
        tls_ca: the path of a PEM file with the CA that a client has to trust; `None`: the proxy has
            no TLS with a certificate of its own.
    """

    def __init__(
        self,
        state: ProxyState,
        loop: PortalLoop,
        address: ServerAddress,
        *,
        may_be_unreachable: bool = False,
    ) -> None:
        server = ControlledServer(
            loop,
            state,
            partial(find_problems, state, may_be_unreachable=may_be_unreachable),
            partial(problem_report, state),
        )
        captured = state.upstream.host, state.upstream.port
        super().__init__("proxy", state, address, server, captured=captured)
        self.upstream: str = str(state.upstream)
        self._state = state

    def calls(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of a service, or all, in order; a repeat over UDP does not count.

        Raises:
            RuntimeError: the upstream is not a portal.
        """
        waiting.check_service(service)
        if not self._state.upstream.is_esps:
            raise RuntimeError(f"{self.upstream} is not a portal (esps://): see exchanges()")
        return self._loop.run(lambda: self._state.journal.calls_of(service))

    def load(self, scenario: str | Path, name: str | None = None) -> None:
        """Add the faults of a proxy in a scenario: all of them, or none.

        Its upstream there is not used: this proxy has its own.

        Args:
            scenario: a file, as a `Path` or a name that ends in ``.toml``; or the TOML itself.
            name: which of its ``[[proxies]]``, if there are several.

        Raises:
            ScenarioError: a key of the scenario is wrong, and which; or its framings differ from
                this proxy's, which are fixed when it starts.
            OSError: the file cannot be read.
        """
        proxies = read_scenario_toml(scenario_text(scenario)).proxies
        plan, path = choose_plan(proxies, "proxies", name)
        self._loop.run(lambda: add(self._state, plan, path))

    def dump(self, name: str = "proxy") -> str:
        """Return this proxy as the TOML of a scenario, for `load` and ``esps-portal run``.

        It has neither the journal nor how often each fault has struck.

        Args:
            name: of the proxy there.

        Raises:
            ScenarioError: a framing is the test's own, or a fault has a predicate: no file can
                hold them.
        """
        plan = self._loop.run(lambda: plan_of(self._state, name))
        return scenario_to_toml(Scenario(proxies=(plan,)))

    def __repr__(self) -> str:
        return proxy_repr(self._address, self._state, is_down=self._server.outage is not None)
