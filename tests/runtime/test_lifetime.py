"""A loaded Embedder and what happens around it: its bundle replaced, its directory left, closing while it runs."""

import io
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleCorrupt, BundleError, Embedder, EmbedgeError, loaded
from embedge.engine.files import LoadedFiles
from embedge.stamps import Stamp
from embedge_export import export
from tests.cases import FORMS, MakeCheckpoint, run_script, start_form


def test_a_bundle_replaced_under_a_loaded_embedder_is_never_mixed_in(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Its second session is made later than its first, and would be made of the new weights."""
    export(make_checkpoint("first"), tmp_path / "bundle")
    with start_form(tmp_path / "bundle", "unsigned", threads=2) as model:
        model.embed_query("made at once")
        export(make_checkpoint("second", layer_norm_eps=0.1), tmp_path / "bundle", force=True)
        with pytest.raises(BundleCorrupt, match="replaced or removed after the bundle was loaded"):
            model.embed_query("made later")


def test_a_removed_bundle_is_told(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    export(make_checkpoint(), tmp_path / "bundle")
    with start_form(tmp_path / "bundle", "unsigned", threads=2) as model:
        shutil.rmtree(tmp_path / "bundle")
        model.embed_query("the first session has its weights mapped")
        with pytest.raises(BundleCorrupt, match="removed"):
            model.embed(["one", "two"])


def chmod(bundle: Path) -> Path:
    for path in bundle.iterdir():
        path.chmod(0o444)
    return bundle


def touch(bundle: Path) -> Path:
    for path in bundle.iterdir():
        path.touch()
    return bundle


def link(bundle: Path) -> Path:
    for path in bundle.iterdir():
        os.link(path, bundle.parent / path.name)
    return bundle


def rename(bundle: Path) -> Path:
    return bundle.rename(bundle.with_name("renamed"))


def rename_parent(bundle: Path) -> Path:
    parent = bundle.parent.rename(bundle.parent.with_name("renamed"))
    return parent / bundle.name


on_linux = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="directories are held open on Linux only")


@pytest.mark.parametrize(
    "change",
    [
        chmod,
        touch,
        link,
        pytest.param(rename, marks=on_linux),
        pytest.param(rename_parent, marks=on_linux),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_of_a_loaded_bundle_decide_and_not_its_times_and_names(
    tiny: Path, tmp_path: Path, change: Callable[[Path], Path], form: str
) -> None:
    """Queries that worked go on working, and so do sessions that are made later."""
    place = Path(shutil.copytree(tiny, tmp_path / "parent" / "bundle"))
    with start_form(tiny, form, threads=2) as untouched, start_form(place, form, threads=2) as model:
        first = model.embed_query("made at once")
        assert first.tobytes() == untouched.embed_query("made at once").tobytes()
        changed = change(place)
        assert model.embed_query("made at once").tobytes() == first.tobytes()
        assert model.embed(["made later " * 9] * 40).tobytes() == untouched.embed(["made later " * 9] * 40).tobytes()
        with Embedder.load(changed) as again:
            assert again.embed_query("loaded again").shape == first.shape


@on_linux
def test_a_daemon_that_closes_all_descriptors_goes_on_embedding(copy: Path) -> None:
    """Others get the numbers of those that it closed, and keep them."""
    code = """
import gc, os, sys
import numpy as np
from embedge import Embedder

with Embedder.load(sys.argv[1], threads=2) as other:
    expected = other.embed(["one", "two words"])
model = Embedder.load(sys.argv[1], threads=2)
model.embed_query("in its first session")
os.closerange(3, 256)
for reused in (False, True):
    files = [open(os.devnull) for _ in range(20 * reused)]
    print(np.array_equal(model.embed(["one", "two words"]), expected))
del model
gc.collect()
for file in files:
    file.read()
"""
    done = run_script(code, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nTrue\n", "")


@on_linux
def test_no_more_descriptors_are_a_bundle_error(copy: Path) -> None:
    import resource

    bundle = Bundle.open(copy)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(BundleError, match="copy can't be opened"):
            LoadedFiles(bundle, ["model.int8.bin"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["tokenizer.json", "model.int8.bin", "model.int8.onnx"])
@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_replaced_between_its_check_and_its_load_is_not_run(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    other = Path(shutil.copytree(copy, copy.with_name("other")))
    data = (other / name).read_bytes()
    (other / name).write_bytes(data + b" " if name == "tokenizer.json" else data[:-1] + bytes([data[-1] ^ 1]))
    ensure_sealed = Bundle.ensure_sealed

    def then_replaced(bundle: Bundle, variant: str) -> dict[str, Stamp]:
        found = ensure_sealed(bundle, variant)
        copy.rename(copy.with_name("old"))
        other.rename(copy)
        return found

    monkeypatch.setattr(Bundle, "ensure_sealed", then_replaced)
    monkeypatch.setattr(loaded, "capabilities", lambda: FORMS[form])
    if (name, form) == ("model.int8.onnx", "unsigned"):  # which has another graph
        Embedder.load(copy).close()
    else:
        with pytest.raises(BundleCorrupt, match=f"{name} was replaced"):
            Embedder.load(copy)


def test_a_bundle_written_over_in_place_is_loaded_anew_after_close(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    """Its vectors may be any until then: mapped weights are the file's."""
    export(make_checkpoint("first"), tmp_path / "bundle")
    export(make_checkpoint("second", layer_norm_eps=0.1), tmp_path / "new")
    with Embedder.load(tmp_path / "bundle") as model:
        first = model.embed_query("a text")
    shutil.copytree(tmp_path / "new", tmp_path / "bundle", dirs_exist_ok=True)
    with Embedder.load(tmp_path / "bundle") as model, Embedder.load(tmp_path / "new") as new:
        assert model.embed_query("a text").tobytes() == new.embed_query("a text").tobytes() != first.tobytes()


def test_the_working_directory_may_change(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(bundle.parent)
    with Embedder.load(bundle.name) as model:
        before = model.embed_query("a text")
        monkeypatch.chdir(tmp_path)
        assert model.embed_query("a text").tobytes() == before.tobytes()


def test_the_first_text_has_the_bits_of_the_second(bundle: Path) -> None:
    """The first runs on weights that are not packed yet."""
    with Embedder.load(bundle) as model:
        assert model.embed_query("a text").tobytes() == model.embed_query("a text").tobytes()


@pytest.mark.parametrize("count", [300, 2500])
def test_close_waits_for_the_whole_of_a_list(copy: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Long ones are taken in several windows, of which only one is under way."""
    texts = [f"number {number} of some texts" for number in range(count)]
    model = Embedder.load(copy)
    expected = model.embed(texts)
    terminal, results = Terminal(), []
    monkeypatch.setattr(sys, "stderr", terminal)

    def work() -> None:
        results.append(model.embed(texts, progress=True))

    thread = threading.Thread(target=work)
    thread.start()
    terminal.written.wait()
    model.close()
    assert f"{count}/{count}" in terminal.getvalue()
    thread.join()
    assert np.array_equal(results[0], expected)
    with pytest.raises(EmbedgeError, match="closed"):
        model.embed(texts)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.embed_query("a text"),
        lambda model: next(model.embed_iter(["a text"])),
        lambda model: model.count_tokens(["a text"]),
    ],
    ids=["embed_query", "embed_iter", "count_tokens"],
)
def test_close_waits_for_texts_whose_tokens_are_found(
    copy: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Embedder], Any]
) -> None:
    model = Embedder.load(copy)
    expected, results = call(model), []
    begun, go_on, encode = threading.Event(), threading.Event(), model._tokenizer._encode_now

    def slow(*arguments: Any) -> Any:
        begun.set()
        go_on.wait()
        return encode(*arguments)

    monkeypatch.setattr(model._tokenizer, "_encode_now", slow)
    caller = threading.Thread(target=lambda: results.append(call(model)), daemon=True)
    caller.start()
    begun.wait()
    closer = threading.Thread(target=model.close, daemon=True)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    go_on.set()
    closer.join()
    caller.join()
    assert np.array_equal(results[0], expected)
    with pytest.raises(EmbedgeError, match="closed"):
        call(model)


class Terminal(io.StringIO):
    """A standard error that says when something is first written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_an_iterator_that_was_not_read_to_its_end_does_not_keep_close_waiting(copy: Path) -> None:
    model = Embedder.load(copy)
    vectors = model.embed_iter(f"number {number}" for number in range(3000))
    next(vectors)
    model.close()
    with pytest.raises(EmbedgeError, match="closed"):
        list(vectors)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads threads and memory from Linux's /proc")
def test_close_gives_threads_and_memory_back_while_the_object_lives(bge_small: Path) -> None:
    code = """
import sys
from pathlib import Path
from embedge import Embedder

texts = [f"Passage {n} of {'many ' * (n % 40)}words." for n in range(40)]

def used():
    status = Path("/proc/self/status").read_text()
    number = lambda name: int(status.partition(name + ":")[2].split()[0])
    print(number("Threads"), number("RssAnon") // 1024, number("RssFile") // 1024)

def embed():
    model = Embedder.load(sys.argv[1], threads=2)
    for _ in range(2):
        model.embed_query("a text")
        model.embed(texts)
    return model

used()
for _ in range(2):
    model = embed()
    used()
    model.close()
    used()
"""
    done = run_script(code, bge_small)
    assert done.stderr == ""
    start, first, closed, again, end = ([int(number) for number in line.split()] for line in done.stdout.splitlines())
    assert again[0] > end[0] == closed[0]  # the tokenizer's threads, which the first list has started, stay
    grown, kept = sum(first[1:]) - sum(start[1:]), sum(end[1:]) - sum(start[1:])
    assert grown >= 40  # two sessions with 21 MB of packed weights each, and the mapped file
    assert kept <= grown / 2


def test_closing_twice_is_fine(bundle: Path) -> None:
    model = Embedder.load(bundle)
    model.close()
    model.close()


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_unusable_thread_counts_are_refused(bundle: Path, threads: int) -> None:
    with pytest.raises(ValueError, match="threads="):
        Embedder.load(bundle, threads=threads)
