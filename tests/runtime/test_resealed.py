"""A manifest that was edited and sealed anew is read as what it says, or refused: no error comes through raw."""

import copy as copying
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import embedge
from embedge import Bundle, BundleError, Embedder, EmbedgeError
from tests.damage import reseal, sealed_bytes

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.sampled_from([2**31, 2**63, 10**30, -(10**30), 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "int8", "fp32", "rerank", "model.fp32.bin", "tokenizer.json", "\ud800", "\0", "AAAA", "AAA="]),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]], {"": {}}, [0], ["\udfff"]]),
)


def places(fields: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value, down to the single ones."""
    members = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for key, value in members:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(fields: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        fields = fields[key]
    return fields


@pytest.fixture(scope="module")
def edited(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose manifest the test below writes again and again."""
    return Path(shutil.copytree(tiny, tmp_path_factory.mktemp("edited") / "bundle"))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_no_edit_of_the_manifest_gives_a_raw_error(tiny: Path, edited: Path, data: st.DataObject) -> None:
    whole = json.loads((tiny / "manifest.json").read_bytes())
    fields = copying.deepcopy(whole)
    everywhere = [place for place in places(whole) if place != ("seal",)]
    for _ in range(data.draw(st.integers(1, 3))):
        # Each top-level field as often as any other, so that those with many values below them do not crowd them out.
        top = data.draw(st.sampled_from(sorted({place[0] for place in everywhere})))
        *parents, last = data.draw(st.sampled_from([place for place in everywhere if place[0] == top]))
        try:
            parent = at(fields, tuple(parents))
            if data.draw(st.integers(0, 9)) == 0:
                del parent[last]
            elif data.draw(st.booleans()):
                parent[last] = copying.deepcopy(at(whole, data.draw(st.sampled_from(everywhere))))
            else:
                parent[last] = data.draw(VALUES)
        except (KeyError, IndexError, TypeError):  # an earlier edit took it away
            continue
    (edited / "manifest.json").write_bytes(sealed_bytes(fields))
    calls: list[Callable[[], object]] = [lambda: embedge.verify(edited), lambda: use(edited, "auto")]
    calls += [lambda: use(edited, "fp32"), lambda: repr(Bundle.open(edited)) + Bundle.open(edited).manifest.identity()]
    for call in calls:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about texts that are truncated
            try:
                call()
            except EmbedgeError as exc:
                str(exc).encode()


def use(path: Path, variant: str) -> None:
    with Embedder.load(path, variant=variant, threads=1) as model:
        for dtype in ("float32", "int8"):
            assert np.isfinite(model.embed(["a boat", "x " * 100], dtype=dtype)).all()
        model.embed_query("a boat")
        model.count_tokens(["a boat"])


@pytest.mark.parametrize("fingerprint", [["AAAA", "AAAA", "AAAA"], ["!", "", ""], ["AAA", "A", "="], [], ["AAAAAA=="]])
def test_a_fingerprint_that_is_none_is_named_by_verify(copy: Path, fingerprint: list[str]) -> None:
    reseal(copy, lambda fields: fields["measured"]["variants"]["int8"].update(fingerprint=fingerprint))
    Embedder.load(copy).close()
    with pytest.raises(BundleError, match=r"manifest\.json holds no vectors to compare with"):
        embedge.verify(copy)


@pytest.mark.parametrize("place", ["created_by", "source id", "prompts query", "prompts \udc00", "files \udc00"])
def test_half_of_a_surrogate_pair_in_the_manifest_is_refused(copy: Path, place: str) -> None:
    *parents, last = place.split()

    def change(fields: dict[str, Any]) -> None:
        value = fields["files"]["tokenizer.json"] if parents == ["files"] else "half \ud83d"
        for key in parents:
            fields = fields[key]
        fields[last] = value

    reseal(copy, change)
    with pytest.raises(BundleError, match=r"manifest\.json.* has half of a surrogate pair"):
        Bundle.open(copy)


@pytest.mark.parametrize("field", ["dimensions", "max_tokens", "int8_range"])
@pytest.mark.parametrize("value", [2**21, 2**40, 10**30, 10**400])
def test_a_size_beyond_any_model_s_is_refused_on_opening(copy: Path, field: str, value: int) -> None:
    reseal(copy, lambda fields: fields.update({field: value}))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(copy)
