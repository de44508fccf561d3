"""The manifest for Kubernetes fits the server and the image. `make container-test` has its schemas."""

import argparse
import re
from typing import Any

import pytest

from benchmarks.edge import image
from embedge.cli import serve
from embedge.server.app import ENDPOINTS
from tests.examples import container

yaml: Any = pytest.importorskip("yaml")
DEPLOYMENT, SERVICE = yaml.safe_load_all((container.PLACE / "kubernetes.yaml").read_text(encoding="utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def megabytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit] / 1e6


def test_the_probes_ask_routes_of_the_server() -> None:
    routes = {endpoint.path for endpoint in ENDPOINTS if endpoint.open}
    assert {CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")} <= routes
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/health/live"  # alive, too, while it stops


def test_the_server_takes_the_arguments_and_the_ports_are_one() -> None:
    parser = argparse.ArgumentParser()
    serve.add(parser)
    options = parser.parse_args(CONTAINER["args"])
    (port,) = CONTAINER["ports"]
    assert (options.port, options.host) == (port["containerPort"], "0.0.0.0")
    assert SERVICE["spec"]["ports"][0]["targetPort"] == port["name"]
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"]
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["terminationGracePeriodSeconds"] > options.grace_s + pause


def test_a_pod_can_do_no_more_than_it_must() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    users = [rest for word, rest in image.instructions(container.CONTAINERFILE) if word == "USER"]
    assert users == [f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"]
    may = CONTAINER["securityContext"]
    assert (may["allowPrivilegeEscalation"], may["readOnlyRootFilesystem"]) == (False, True)
    assert may["capabilities"] == {"drop": ["ALL"]}


def test_the_limits_leave_room_beyond_the_smallest_that_works() -> None:
    resources = CONTAINER["resources"]
    assert 112 < megabytes(resources["requests"]["memory"]) < megabytes(resources["limits"]["memory"])
    assert "--low-memory" in CONTAINER["args"]
