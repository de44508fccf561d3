"""The image of ``examples/container``: its steps, and its server as nobody, as process 1, read-only, with no shell."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edge import image, sandbox
from benchmarks.speed.environments import Unavailable
from embedge import Embedder
from tests.cases import ROOT
from tests.examples import container

STEPS = image.instructions(container.CONTAINERFILE)


@pytest.fixture(scope="module")
def isolated() -> None:
    try:
        sandbox.check()
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def built(isolated: None, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> image.Stage:
    """The image, with the packages of this environment."""
    place = tmp_path_factory.mktemp("image")
    place.chmod(0o755)  # nobody reads it
    place.parent.chmod(0o755)
    context = container.context(tiny, place / "context")
    return image.build(container.CONTAINERFILE, context, place / "out", {}, container.link_packages)


def test_no_step_needs_a_shell_and_the_last_user_is_nobody() -> None:
    for word, rest in STEPS:
        if word in ("RUN", "CMD", "ENTRYPOINT"):
            assert rest.startswith("["), rest
    assert [rest for word, rest in STEPS if word == "USER"] == ["65532:65532"]
    assert "ADD" not in dict(STEPS)


def test_a_build_sees_no_more_of_the_checkout_than_it_copies(tiny: Path, tmp_path: Path) -> None:
    context = container.context(tiny, tmp_path / "context")
    copied = {name for word, rest in STEPS if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]}
    tops = {name.split("/")[0] for name in copied if "$" not in name}
    assert {path.name for path in context.iterdir()} == tops
    assert not list(context.rglob("__pycache__"))
    assert (context / "runtime" / "embedge" / "server" / "static" / "index.html").is_file()
    assert len(list(context.rglob("*.py"))) < len(list(ROOT.glob("[tred]*/**/*.py")))


def test_what_stands_in_for_a_build_does_not_copy_the_checkout_s_bundles(tmp_path: Path) -> None:
    models = tmp_path / "checkout" / "models"
    for name in ("registry.toml", "large/model.int8.bin"):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).touch()
    for bundles, found in ((True, {"registry.toml", "model.int8.bin"}), (False, {"registry.toml"})):
        out = tmp_path / str(bundles)
        image.copy_context(models.parent, container.IGNORE, out, bundles=bundles)
        assert {path.name for path in out.rglob("*") if path.is_file()} == found


def test_the_server_is_process_1_as_nobody_and_can_do_nothing_else(built: image.Stage) -> None:
    with container.running(built) as server:
        status = container.status(sandbox.first_process(server.process))
        assert status["NSpid"].split()[-1] == "1"
        assert (status["Uid"].split()[0], status["NoNewPrivs"]) == ("65532", "1")
        assert int(status["CapEff"], 16) == 0
        container.terminate(server)
        assert server.end() == 0
        assert server.log[-1]["message"] == "stopped"


def test_it_answers_with_the_library_s_bits(built: image.Stage, tiny: Path) -> None:
    with container.running(built) as server, Embedder.load(tiny) as model:
        answer = server.ask("POST", "/v1/embeddings", b'{"input": "Bread rises by yeast."}')
        vector = np.array(answer.json["data"][0]["embedding"], np.float32)
        assert np.array_equal(vector, model.embed(["Bread rises by yeast."])[0])


def test_it_finishes_what_is_under_way(built: image.Stage) -> None:
    with container.running(built, "--grace", "20") as server:
        client = server.connect()
        client.send(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        client.send(b"content-length: 18\r\n\r\n")
        server.connect().ask("GET", "/health/ready")
        container.terminate(server)
        server.event("stopping")
        client.send(b'{"input": "Bread"}')
        assert client.answer().status == 200
        assert server.end() == 0


def test_its_health_check_tells_a_server_from_none(built: image.Stage) -> None:
    *check, port = built.health
    assert port == "8080"
    assert (container.PLACE / "healthy.py").is_file()
    with container.running(built) as server:
        found = server.url.rpartition(":")[2]
        assert subprocess.run(container.command(built, [*check, found])).returncode == 0
    assert subprocess.run(container.command(built, [*check, found])).returncode == 1


def test_there_is_no_shell_and_no_place_to_write(built: image.Stage) -> None:
    code = """
import json, os
def writable(path):
    try:
        os.close(os.open(path + "/x", os.O_CREAT | os.O_WRONLY))
    except OSError:
        return False
    return True
places = ["/", "/bundle", "/dev", "/opt", "/opt/embedge", "/tmp", "/usr", "/usr/lib", "/usr/local", "/var/tmp"]
shells = filter(os.path.exists, ["/bin/sh", "/usr/bin/sh"])
print(json.dumps({"writable": list(filter(writable, places)), "shells": list(shells)}))
"""
    assert container.inside(built, code) == {"writable": [], "shells": []}
