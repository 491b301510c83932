"""The manifests of Kubernetes: valid by its schemas, they fit together, and their commands run."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

import pytest

import esps_portal
from esps_portal.deployment.kinds import KINDS
from tests.commands import run
from tests.optional import package
from tests.processes import running_server

kubernetes_validate = package("kubernetes_validate", "deployment")
yaml = package("yaml", "deployment")
KIND = KINDS["kubernetes"]
# Years apart: no field that one of them does not know.
VERSIONS = ("1.25", kubernetes_validate.latest_version())


def manifests() -> dict[str, Any]:
    """Return the manifests by kind, as `kubectl apply -f -` reads what is printed."""
    _, out, _ = run("deploy", "kubernetes")
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(out) if manifest}


MANIFESTS = manifests()
POD = MANIFESTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PROBES = ("startupProbe", "livenessProbe")


def test_one_of_each() -> None:
    assert list(MANIFESTS) == ["Deployment", "Service", "PodDisruptionBudget"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_is_valid(kind: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


def test_an_unknown_field_would_be_found() -> None:
    changed = MANIFESTS["Service"] | {"spec": MANIFESTS["Service"]["spec"] | {"protocol": "UDP"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(changed, VERSIONS[-1], strict=True)


def test_they_select_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    selectors = [MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"]]
    selectors.append(MANIFESTS["Service"]["spec"]["selector"])
    selectors.append(MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    assert all(selector and selector.items() <= labels for selector in selectors)
    budget, replicas = MANIFESTS["PodDisruptionBudget"]["spec"], MANIFESTS["Deployment"]["spec"]
    assert budget["minAvailable"] < replicas["replicas"], "or no node could be drained"


def test_both_transports_have_one_number() -> None:
    named = {port["name"]: port for port in CONTAINER["ports"]}
    ports = MANIFESTS["Service"]["spec"]["ports"]
    assert {(port["port"], port["protocol"]) for port in ports} == {(2867, "TCP"), (2867, "UDP")}
    for port in ports:
        assert named[port["targetPort"]]["protocol"] == port["protocol"]
        assert named[port["targetPort"]]["containerPort"] == 2867
    assert MANIFESTS["Service"]["spec"]["sessionAffinity"] == "ClientIP"


def test_the_pod_keeps_to_the_restricted_standard() -> None:
    """What Pod Security Standards ask of ``restricted``."""
    pod, container = POD["spec"]["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert str(pod["runAsUser"]) in KINDS["container"].read("Containerfile")


def test_it_is_this_version() -> None:
    assert CONTAINER["image"] == f"esps-portal:{esps_portal.__version__}"


def test_its_command_serves_and_its_probes_see_it() -> None:
    command, *options = CONTAINER["args"]
    # Any free port here: in a pod the numbers are its own.
    free = ["0.0.0.0:0" if option == "0.0.0.0:9867" else option for option in options]
    with running_server(*free, command=command) as running:
        for probe in PROBES:
            program, *args = CONTAINER[probe]["exec"]["command"]
            assert program == "esps-portal"
            assert run(*args, url=running.url)[0] == 0
        ready = CONTAINER["readinessProbe"]["httpGet"]
        assert ready["port"] == "metrics"
        port = str(running.ready["metrics"]).rpartition(":")[2].removesuffix("/metrics")
        with urlopen(f"http://127.0.0.1:{port}{ready['path']}", timeout=30) as answer:
            assert answer.status == 200
    for probe in PROBES:
        assert run(*CONTAINER[probe]["exec"]["command"][1:], url=running.url)[0] == 1


def test_a_probe_and_the_end_have_the_time_that_their_commands_take() -> None:
    for probe in PROBES:
        *_, limit = CONTAINER[probe]["exec"]["command"]
        assert int(limit) < CONTAINER[probe]["timeoutSeconds"]
    sleep, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    drain_and_linger = 6
    grace = POD["spec"]["terminationGracePeriodSeconds"]
    assert int(seconds) + drain_and_linger < grace
