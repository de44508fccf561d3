"""``low_memory``: the same bits in less memory."""

import copy
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, Reranker
from embedge.bundle import Bundle
from embedge.engine import mapped as engine_mapped
from embedge.engine.choose import Choice
from embedge.engine.mapped import let_go, mapped
from embedge.engine.native import kernels
from tests.server.running import serve

needs_linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="memory is read from /proc")
TEXTS = ["", "Bread rises by yeast.", "Bread rises by yeast.", "The harbour is closed in winter.", "a long one " * 60]

# What a process has after two queries, in bytes: files that are mapped, and all else.
MEMORY = """
import json, sys
from pathlib import Path
from embedge import Embedder
with Embedder.load(sys.argv[1], variant="int8", threads=1, low_memory=sys.argv[2] == "low") as model:
    for _ in range(2):
        model.embed_query("What runs at the edge?")
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines}
    print(json.dumps({"written": sizes["Anonymous"], "all": sizes["Rss"]}))
"""


def graphs(bundle: Path) -> list[Choice]:
    """Every graph of a bundle that runs on this machine."""
    variants = Bundle.open(bundle).manifest.variants
    found = [Choice(name, graph) for name, variant in variants.items() for graph in variant.graphs]
    return [one for one in found if kernels().library or "kernels" not in one.graph.needs]


def test_vectors_have_the_same_bits(bundle: Path) -> None:
    for choice in graphs(bundle):
        for threads in (1, 2):
            with (
                Embedder.start(Bundle.open(bundle), choice, threads=threads) as usual,
                Embedder.start(Bundle.open(bundle), choice, threads=threads, low_memory=True) as low,
            ):
                assert np.array_equal(low.embed(TEXTS), usual.embed(TEXTS)), choice
                assert np.array_equal(low.embed_query(TEXTS[1]), usual.embed_query(TEXTS[1])), choice


def memory(bundle: Path, how: str, **environment: str) -> dict[str, int]:
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(bundle), how]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def bytes_of_codes(bundle: Path) -> int:
    """Of the matrices that are packed: all but the embeddings."""
    graph = Bundle.open(bundle).manifest.variants["int8"]
    return sum(int(np.prod(tensor.shape)) for tensor in graph.codes.values())


@needs_linux
def test_without_the_kernels_no_packed_copy_is_kept(bundle: Path) -> None:
    usual, low = (memory(bundle, how, EMBEDGE_KERNELS="0") for how in ("usual", "low"))
    assert usual["written"] - low["written"] > 0.8 * bytes_of_codes(bundle)


@needs_linux
@pytest.mark.skipif(not kernels().library, reason="the kernels are not installed")
def test_with_the_kernels_only_the_packed_copy_is_kept(bundle: Path) -> None:
    usual, low = (memory(bundle, how) for how in ("usual", "low"))
    assert usual["all"] - low["all"] > 0.8 * bytes_of_codes(bundle)


@needs_linux
def test_pages_are_let_go_but_for_those_that_were_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as read:
        assert bytes(read) == path.read_bytes()
        assert resident(path) >= path.stat().st_size
        let_go(path, [])
        assert resident(path) == 0
        assert bytes(read) == path.read_bytes()
        read[0] = 99
        let_go(path, [])
        assert read[0] == 99


def resident(path: Path) -> int:
    """Bytes in memory of the mapping of a file that has the lowest address."""
    _, _, rest = Path("/proc/self/smaps").read_text().partition(f"{path}\n")
    return 1024 * int(rest.partition("Rss:")[2].split()[0])


@needs_linux
@pytest.mark.parametrize("field", ["Anonymous", "Swap"])
def test_what_was_written_to_stays_when_it_is_swapped_out(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(4096))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as written:
        written[0] = 99
        ((start, end),) = mapped(path)
        fields = {"Anonymous": 0, "Swap": 0, field: 4}
        told = "".join(f"{name}: {value:10} kB\n" for name, value in fields.items())
        (tmp_path / "smaps").write_text(f"{start:x}-{end:x} rw-p 00000000 fe:00 5 {path}\n{told}VmFlags: rd\n")
        monkeypatch.setattr(engine_mapped, "_MORE", tmp_path / "smaps")
        let_go(path, [])
        assert written[0] == 99


@needs_linux
def test_what_others_have_mapped_is_left_alone(tmp_path: Path) -> None:
    """They may unmap it at any moment, and what is put there then would be lost."""
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(4096) * 16)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as read:
        assert bytes(read) == path.read_bytes()
        ((start, end),) = mapped(path)
        assert end - start == path.stat().st_size
        let_go(path, [(0, 4096), (start, end), (end, end + 4096)])
        assert resident(path) == path.stat().st_size
        let_go(path, [(start - 4096, start), (end, end + 4096)])
        assert resident(path) == 0


@needs_linux
@pytest.mark.skipif(not kernels().library, reason="the kernels are not installed")
def test_loading_leaves_alone_what_was_mapped_before(bundle: Path) -> None:
    weights = (bundle / Bundle.open(bundle).manifest.variants["int8"].weights).resolve()
    with weights.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as read:
        assert bytes(read) == weights.read_bytes()
        address = np.frombuffer(read, np.uint8).ctypes.data
        # Models of other tests may have mapped it, too.
        start, end = next((start, end) for start, end in mapped(weights) if start <= address < end)
        with Embedder.load(bundle, variant="int8", low_memory=True):
            _, _, rest = Path("/proc/self/smaps").read_text().partition(f"{start:x}-{end:x} ")
            assert 1024 * int(rest.partition("Rss:")[2].split()[0]) >= weights.stat().st_size


@needs_linux
def test_a_model_loads_where_the_system_does_not_say_what_is_mapped(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_MAPPINGS", "_MORE"):
        monkeypatch.setattr(engine_mapped, name, tmp_path)  # a directory, which can't be read
    with Embedder.load(bundle, low_memory=True) as model:
        assert model.embed(TEXTS).shape[0] == len(TEXTS)


def test_it_runs_on_one_thread_unless_told_otherwise(tiny: Path) -> None:
    with Embedder.load(tiny, low_memory=True) as one, Embedder.load(tiny, low_memory=True, threads=2) as two:
        assert (one.threads, two.threads) == (1, 2)


def test_a_copy_is_loaded_in_the_same_way(tiny: Path) -> None:
    with Embedder.load(tiny, low_memory=True) as model, copy.copy(model) as again:
        assert again.threads == 1
        assert again.__reduce__() == model.__reduce__()


@pytest.mark.parametrize("kind", [Embedder, Reranker])
def test_anything_but_a_bool_is_refused(kind: Any, tiny: Path) -> None:
    with pytest.raises(TypeError, match="low_memory is str, not bool"):
        kind.load(tiny, low_memory="yes")


def test_a_server_with_it_answers_on_one_thread(tiny: Path) -> None:
    with serve("--low-memory", tiny) as server:
        answer = server.ask("POST", "/v1/embeddings", b'{"input": "Bread rises."}')
        assert answer.status == 200
        with Embedder.load(tiny) as model:
            vector = np.array(answer.json["data"][0]["embedding"], np.float32)
            assert np.array_equal(vector, model.embed(["Bread rises."])[0])
