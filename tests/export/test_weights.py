"""Weights in every file that users bring become the same encoder; files that would do more are refused."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from embedge.errors import CheckpointError
from embedge_export.checkpoint.files import read_object
from embedge_export.checkpoint.pickled import read_pickled
from embedge_export.checkpoint.tokenizer import load_tokenizer
from embedge_export.checkpoint.weights import load_encoder, read_tensors
from embedge_export.encoder import Encoder
from tests import torch_files
from tests.cases import random_weights
from tests.stored import upper_halves, write_safetensors
from tests.torch_files import Call, Name, Persistent, operations, pickled

CONFIG = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
}
WEIGHTS = random_weights(CONFIG)
WORDS = "embeddings.word_embeddings.weight"


def load(directory: Path) -> Encoder:
    return load_encoder(directory, CONFIG)


def numbers(encoder: Encoder) -> bytes:
    """All of an encoder's weights."""
    arrays: list[Any] = [encoder.words, encoder.positions, encoder.norm.weight, encoder.norm.bias]
    for layer in encoder.layers:
        for part in vars(layer).values():
            arrays += [part.weight, part.bias]
    return b"".join(array.tobytes() for array in arrays)


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    """What ``WEIGHTS`` give as safetensors."""
    (tmp_path / "plain").mkdir()
    save_file(WEIGHTS, tmp_path / "plain" / "model.safetensors")
    return numbers(load(tmp_path / "plain"))


# pytorch_model.bin


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_pytorch_weights_give_the_encoder_that_safetensors_give(tmp_path: Path, expected: bytes, legacy: bool) -> None:
    torch_files.write(tmp_path / "pytorch_model.bin", WEIGHTS, legacy=legacy)
    assert numbers(load(tmp_path)) == expected


def test_pytorch_weights_in_shards_give_the_encoder_that_safetensors_give(tmp_path: Path, expected: bytes) -> None:
    names = sorted(WEIGHTS)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for legacy, (file, members) in enumerate(shards.items()):
        torch_files.write(tmp_path / file, {name: WEIGHTS[name] for name in members}, legacy=bool(legacy))
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert numbers(load(tmp_path)) == expected
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no pytorch_model-00002-of-00002\.bin, which .* names"):
        load(tmp_path)


def test_safetensors_win_over_pytorch_weights_beside_them(tmp_path: Path, expected: bytes) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    torch_files.write(tmp_path / "pytorch_model.bin", {name: array * 2 for name, array in WEIGHTS.items()})
    assert numbers(load(tmp_path)) == expected


def test_tensors_that_share_a_storage_are_taken_from_their_places_in_it(tmp_path: Path) -> None:
    storage = np.arange(100, dtype=np.float32)
    views: dict[str, dict[str, Any]] = {
        "plain": {"offset": 0, "shape": (10, 10), "strides": (10, 1)},
        "transposed": {"offset": 0, "shape": (10, 10), "strides": (1, 10)},
        "column": {"offset": 7, "shape": (10,), "strides": (10,)},
        "part": {"offset": 22, "shape": (3, 4), "strides": (20, 2)},
        "last": {"offset": 99, "shape": (1, 1), "strides": (500, 1)},
        "number": {"offset": 5, "shape": (), "strides": ()},
    }
    values = {name: torch_files.tensor("0", storage, **view) for name, view in views.items()}
    path = torch_files.write_zip(tmp_path / "model.bin", pickled(values), {"0": storage.tobytes()})
    found = {name: tensor.read() for name, tensor in read_pickled(path).items()}
    table = storage.reshape(10, 10)
    right = {"plain": table, "transposed": table.T, "column": table[:, 7], "part": table[2:7:2, 2:10:2]}
    right |= {"last": table[9:, 9:], "number": table[0, 5]}
    for name, value in right.items():
        assert found[name].flags.c_contiguous
        assert np.array_equal(found[name], value), name


def test_parameters_are_tensors(tmp_path: Path) -> None:
    hooks = Call("collections OrderedDict", ())
    array = np.ones(3, np.float32)
    value = {"x": Call("torch._utils _rebuild_parameter", (torch_files.tensor("0", array), True, hooks))}
    path = torch_files.write_zip(tmp_path / "model.bin", pickled(value), {"0": array.tobytes()})
    assert np.array_equal(read_pickled(path)["x"].read(), array)


def test_only_the_tensors_that_are_needed_are_in_memory_beside_the_encoder(tmp_path: Path) -> None:
    config = {**CONFIG, "hidden_size": 128, "intermediate_size": 512, "vocab_size": 5000, "num_hidden_layers": 4}
    weights = random_weights(config)
    path = torch_files.write(tmp_path / "pytorch_model.bin", {**weights, "cls.x": np.zeros((5000, 128), np.float32)})
    tracemalloc.start()
    try:
        load_encoder(tmp_path, config)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * path.stat().st_size


# pytorch_model.bin, hostile

ARRAY = np.ones((4, 4), np.float32)
REFERENCE = ("storage", Name("torch FloatStorage"), "0", "cpu", 16)
RUN = "touch embedge-was-here"


class Attack:
    def __reduce__(self) -> Any:
        return os.system, (RUN,)


def raw(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def changed(**changes: Any) -> bytes:
    return pickled({"x": torch_files.tensor("0", ARRAY, **changes)})


HOSTILE = {
    "os.system": pickle.dumps(Attack(), 2),
    "os.system in protocol 0": pickle.dumps(Attack(), 0),
    "os.system in protocol 5": pickle.dumps(Attack(), 5),
    "os.system as a tensor": pickled({"x": Call("os system", (RUN,))}),
    "builtins.eval": pickled(Call("builtins eval", ("1",))),
    "a name within an allowed module": pickled(Call("torch._utils os.system", (RUN,))),
    "torch.load": pickled(Call("torch load", ("x",))),
    "another rebuild": pickled({"x": Call("torch._utils _rebuild_wrapper_subclass", ())}),
    "an instance": raw(b"(ios\nsystem\n"),
    "a new object": raw(operations(Name("collections OrderedDict")) + b")\x81"),
    "an extension": raw(b"\x82\x01"),
    "a huge shape": changed(shape=(2**40, 2**40), strides=(2**40, 1)),
    "a shape that repeats one number": changed(shape=(2**20, 2**20), strides=(0, 0)),
    "more dimensions than numpy has": changed(shape=(1,) * 100, strides=(1,) * 100),
    "a shape larger than its storage": changed(shape=(4, 5)),
    "strides beyond the storage": changed(strides=(5, 1)),
    "an offset beyond the storage": changed(offset=1),
    "a negative offset": changed(offset=-1),
    "a negative stride": changed(strides=(-4, 1)),
    "a negative shape": changed(shape=(-4, 4)),
    "a huge offset": changed(offset=2**1000),
    "strides of another number": changed(strides=(1,)),
    "a shape of strings": changed(shape=("4", "4")),
    "a shape that is true": changed(shape=(True, True)),
    "a shape that is a number": changed(shape=4),
    "an offset that is a list": changed(offset=[0]),
    "a gradient that is a string": changed(gradient="no"),
    "a storage that is a tensor": changed(storage=torch_files.tensor("0", ARRAY)),
    "a storage that is a name": changed(storage=Name("torch FloatStorage")),
    "too few arguments": pickled({"x": Call("torch._utils _rebuild_tensor_v2", (Persistent(REFERENCE),))}),
    "flags": changed(flags={"conj": True}),
    "no arguments": pickled({"x": Call("torch._utils _rebuild_parameter", ())}),
    "a dictionary with arguments": pickled(Call("collections OrderedDict", ([("a", "b")],))),
    "a storage as a function": raw(operations(Name("torch FloatStorage")) + b")R"),
    "a string as a function": raw(operations("os.system") + b")R"),
    "attributes of a function": raw(operations(Name("torch._utils _rebuild_tensor_v2")) + b"}b"),
    "attributes of a tensor": raw(operations(torch_files.tensor("0", ARRAY)) + b"}b"),
    "a missing storage": changed(storage=Persistent((*REFERENCE[:2], "1", *REFERENCE[3:]))),
    "a storage outside the archive": changed(storage=Persistent((*REFERENCE[:2], "../../etc/passwd", *REFERENCE[3:]))),
    "a storage that is the pickle": changed(storage=Persistent((*REFERENCE[:2], "../data.pkl", *REFERENCE[3:]))),
    "a storage of another size": changed(storage=Persistent((*REFERENCE[:4], 17))),
    "a storage of a negative size": changed(storage=Persistent((*REFERENCE[:4], -16))),
    "a storage of a huge size": changed(storage=Persistent((*REFERENCE[:4], 2**62))),
    "a storage of no type": changed(storage=Persistent(("storage", "torch FloatStorage", *REFERENCE[2:]))),
    "a storage of a type that is a function": changed(
        storage=Persistent(("storage", Name("collections OrderedDict"), *REFERENCE[2:]))
    ),
    "a module": changed(storage=Persistent(("module", Name("torch FloatStorage"), "x.py", "import os"))),
    "a reference that is a number": changed(storage=Persistent(0)),
    "complex numbers": changed(storage=Persistent(("storage", Name("torch ComplexFloatStorage"), *REFERENCE[2:]))),
    "a whole model": pickled(Call("transformers.models.bert.modeling_bert BertModel", ())),
    "a state dict in another": pickled({"state_dict": {"x": torch_files.tensor("0", ARRAY)}}),
    "a list": pickled([torch_files.tensor("0", ARRAY)]),
    "numbers beside the tensors": pickled({"x": torch_files.tensor("0", ARRAY), "epoch": 3}),
    "names that are numbers": pickled({0: torch_files.tensor("0", ARRAY)}),
    "a name that is a deep tuple": raw(b"})" + b"\x85" * 40_000 + b"Ns"),
    "deep lists": raw(b"]" * 40_000 + b"a" * 39_999),
    "deep tuples": raw(b")" + b"\x85" * 40_000),
    "a list in itself": raw(b"]q\x00h\x00a"),
    "a dictionary in itself": raw(b"}q\x00X\x01\x00\x00\x00xh\x00s"),
    "a memo that is not there": raw(b"h\x07"),
    "a huge memo": raw(b"Nr\xff\xff\xff\xff"),
    "nothing for the memo": raw(b"q\x00"),
    "a mark that is not there": raw(b"t"),
    "a mark as a value": raw(b"}(X\x01\x00\x00\x00x((us"),
    "nothing on the stack": raw(b""),
    "values without a name": raw(b"}(X\x01\x00\x00\x00xu"),
    "items of a string": raw(operations("x") + operations("y") + b"a"),
    "items of a number": raw(b"K\x01X\x01\x00\x00\x00xNs"),
    "a string that is cut off": raw(b"X\xff\xff\xff\x7fx"),
    "bytes that are cut off": raw(b"\x8e" + b"\xff" * 8),
    "a huge bytearray": raw(b"\x96" + struct.pack("<Q", 2**45)),
    "a huge number": raw(b"\x8b\xff\xff\xff\x7f"),
    "digits without end": raw(b"L" + b"9" * 5_000 + b"L\n"),
    "a name that is not text": raw(b"c\xff\xff\n\xff\n"),
    "an unknown operation": raw(b"\xff"),
    "no end": b"\x80\x02N",
    "nothing": b"",
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_line_and_little_memory(tmp_path: Path, attack: str, legacy: bool) -> None:
    if legacy:
        path = torch_files.write_legacy(tmp_path / "pytorch_model.bin", HOSTILE[attack], {"0": ARRAY})
    else:
        path = torch_files.write_zip(tmp_path / "pytorch_model.bin", HOSTILE[attack], {"0": ARRAY.tobytes()})
    assert_refused(path)
    assert not Path(RUN.split()[1]).exists()


def read_all(path: Path) -> list[Any]:
    return [tensor.read() for tensor in read_pickled(path).values()]


def assert_refused(path: Path) -> None:
    """Reading all tensors ends in an error that names the file, and allocates no more than a real file's pickle may."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            read_all(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert peak < 150e6


def test_what_is_refused_names_the_function_that_the_file_would_call(tmp_path: Path) -> None:
    path = torch_files.write_zip(tmp_path / "pytorch_model.bin", HOSTILE["os.system"], {})
    with pytest.raises(CheckpointError, match="its pickle names 'posix system', which no state dict needs"):
        read_pickled(path)


def good_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"x": torch_files.tensor("0", ARRAY)}))
        archive.writestr("archive/data/0", ARRAY.tobytes())
    return file.getvalue()


def archive_of(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def with_directory(field: int, form: str, value: int) -> bytes:
    """A good archive of whose last entry one field in the directory is another."""
    data = bytearray(good_archive())
    struct.pack_into(form, data, data.rindex(b"PK\1\2") + field, value)
    return bytes(data)


PICKLE = ("archive/data.pkl", pickled({"x": torch_files.tensor("0", ARRAY)}))
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "compressed": lambda: archive_of(PICKLE, ("archive/data/0", ARRAY.tobytes()), compression=zipfile.ZIP_DEFLATED),
    "a bomb": lambda: archive_of(PICKLE, ("archive/data/0", b"\0" * 50_000_000), compression=zipfile.ZIP_DEFLATED),
    "encrypted": lambda: with_directory(8, "<H", 1),
    "an unknown compression": lambda: with_directory(10, "<H", 99),
    "a declared size that is larger": lambda: with_directory(24, "<I", 2**31),
    "declared sizes that are larger": lambda: with_directory(20, "<I", 2**31).replace(
        struct.pack("<II", 2**31, 64), struct.pack("<II", 2**31, 2**31)
    ),
    "an entry elsewhere": lambda: with_directory(42, "<I", 5),
    "an entry outside the file": lambda: with_directory(42, "<I", 2**31),
    "cut off": lambda: good_archive()[:-30],
    "cut off early": lambda: good_archive()[:100],
    "without a pickle": lambda: archive_of(("archive/data/0", ARRAY.tobytes())),
    "two pickles": lambda: archive_of(PICKLE, ("other/data.pkl", PICKLE[1])),
    "big-endian": lambda: archive_of(PICKLE, ("archive/byteorder", b"big"), ("archive/data/0", ARRAY.tobytes())),
    "a pickle of many megabytes": lambda: archive_of((PICKLE[0], raw(b"]" * 50_000_000))),
    "a huge byte order": lambda: archive_of(PICKLE, ("archive/byteorder", b"\0" * 50_000_000)),
    "other bytes": lambda: b"\0" * 1000,
    "text": lambda: b"<!DOCTYPE html><html>404</html>",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_damaged_or_hostile_archive_is_refused_in_one_line_and_little_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(good_archive())
    assert np.array_equal(read_pickled(path)["x"].read(), ARRAY)
    path.write_bytes(ARCHIVES[kind]())
    assert_refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(archive_of(PICKLE, ("archive/data/0", ARRAY.tobytes()), ("archive/data/0", ARRAY.tobytes())))
    assert_refused(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_pytorch_weights_that_are_cut_off_anywhere_are_refused(tmp_path: Path, legacy: bool) -> None:
    path = torch_files.write(tmp_path / "pytorch_model.bin", {"x": ARRAY, "y": ARRAY}, legacy=legacy)
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_all(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_no_damaged_byte_does_more_than_change_numbers_or_be_refused(tmp_path: Path, legacy: bool) -> None:
    path = torch_files.write(tmp_path / "pytorch_model.bin", {"x": ARRAY, "y": ARRAY}, legacy=legacy)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + random.bytes(1) + whole[place + 1 :])
        try:
            found = read_all(path)
        except CheckpointError:
            continue
        assert sum(array.nbytes for array in found) <= 2 * ARRAY.nbytes


# types


@pytest.mark.parametrize("form", ["safetensors", "zip", "before torch 1.6"])
@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
def test_other_floating_point_numbers_become_float32(tmp_path: Path, kind: str, form: str) -> None:
    stored: dict[str, Any]
    if kind == "BF16":
        stored = upper_halves(WEIGHTS)
        right = {name: (array.astype(np.uint32) << 16).view(np.float32) for name, array in stored.items()}
    else:
        stored = {name: array.astype({"F16": "<f2", "F64": "<f8"}[kind]) for name, array in WEIGHTS.items()}
        right = {name: array.astype(np.float32) for name, array in stored.items()}
    if form == "safetensors":
        write_safetensors(tmp_path / "model.safetensors", kind, stored)
    else:
        torch_files.write(tmp_path / "pytorch_model.bin", stored, legacy=form != "zip")
    (tmp_path / "plain").mkdir()
    save_file(right, tmp_path / "plain" / "model.safetensors")
    assert numbers(load(tmp_path)) == numbers(load(tmp_path / "plain"))


def test_bfloat16_needs_no_other_package(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", "BF16", upper_halves(WEIGHTS))
    code = (
        "import sys; from pathlib import Path; from embedge_export.checkpoint.weights import load_encoder\n"
        "sys.modules |= dict.fromkeys(['ml_dtypes', 'safetensors', 'torch'])  # onnx loads the first\n"
        f"load_encoder(Path({str(tmp_path)!r}), {CONFIG})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("kind", "name"), [("I64", "int64"), ("F8_E4M3", "F8_E4M3"), ("BOOL", "bool")])
def test_weights_that_are_no_floating_point_numbers_are_named(tmp_path: Path, kind: str, name: str) -> None:
    item = {"I64": np.int64}.get(kind, np.uint8)
    whole = {name: array.astype(item) for name, array in WEIGHTS.items()}
    write_safetensors(tmp_path / "model.safetensors", kind, whole)
    with pytest.raises(CheckpointError, match=f"is of type {name}; supported are float16, bfloat16"):
        load(tmp_path)


def test_a_number_too_large_for_float32_is_refused(tmp_path: Path) -> None:
    large = {name: array.astype(np.float64) for name, array in WEIGHTS.items()}
    large[WORDS][3, 3] = 1e300
    save_file(large, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{WORDS} holds NaN or infinity"):
        load(tmp_path)


def header_of(fields: Any) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 16


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 2**24) + b"{}",
        header_of([]),
        header_of({"x": 1}),
        header_of({"x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 17]}}),
        header_of({"x": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}}),
        header_of({"x": {"dtype": "F32", "shape": [-4], "data_offsets": [0, -16]}}),
        header_of({"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**64]}}),
        header_of({"x": {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}}),
        header_of({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        header_of({"x": {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]}}),
        header_of({"x": {"dtype": "F32", "shape": [4], "data_offsets": [16]}}),
        header_of({"x": {"dtype": "F32", "shape": [4]}}),
        struct.pack("<Q", 40_000) + b"[" * 40_000,
    ],
)
def test_a_damaged_header_of_safetensors_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_tensors(tmp_path)


# files that are not the weights


def test_a_git_lfs_pointer_is_recognised_with_what_to_do(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 133466304\n"
    readers: dict[str, Callable[[], object]] = {
        "model.safetensors": lambda: load(tmp_path),
        "pytorch_model.bin": lambda: load(tmp_path),
        "model.safetensors.index.json": lambda: load(tmp_path),
        "config.json": lambda: read_object(tmp_path / "config.json"),
        "tokenizer.json": lambda: load_tokenizer(tmp_path, 50, lower_case=False),
    }
    for name, read in readers.items():
        (tmp_path / name).write_text(pointer)
        with pytest.raises(CheckpointError, match=rf"{name} is a Git LFS pointer, .*`git lfs pull`"):
            read()
        (tmp_path / name).unlink()


def test_a_directory_without_weights_says_which_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors and no pytorch_model\.bin"):
        load(tmp_path)


@pytest.mark.parametrize("index", [{}, [], {"weight_map": {}}, {"weight_map": {"x": 1}}, {"weight_map": ["x"]}])
def test_an_index_that_makes_no_sense_is_refused(tmp_path: Path, index: object) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin\.index\.json"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../x.bin", "/etc/passwd", "a/b.bin", "..", ""])
def test_an_index_names_files_beside_it_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(CheckpointError, match=r"outside|has no"):
        load(tmp_path)


# names


@pytest.mark.parametrize(
    "prefix",
    ["bert.", "module.", "_orig_mod.", "model.", "0.auto_model.", "model.bert.", "_orig_mod.module.0.auto_model."],
)
def test_prefixes_of_what_an_encoder_was_trained_in_are_taken_off(tmp_path: Path, expected: bytes, prefix: str) -> None:
    heads = [
        "classifier.weight",
        "cls.predictions.bias",
        "lm_head.dense.weight",
        "qa_outputs.bias",
        "vocab_projector.bias",
    ]
    extra: dict[str, Any] = {f"module.{name}": np.ones(3, np.float32) for name in heads}
    extra[f"{prefix}pooler.dense.weight"] = np.ones((16, 16), np.float32)
    extra[f"{prefix}embeddings.position_ids"] = np.arange(12)[None]
    extra[f"{prefix}embeddings.token_type_ids"] = np.zeros((1, 12), np.int64)
    save_file({**{prefix + name: array for name, array in WEIGHTS.items()}, **extra}, tmp_path / "model.safetensors")
    assert numbers(load(tmp_path)) == expected


@pytest.mark.parametrize(
    "name",
    [
        "1.linear.weight",
        "embeddings.position_ids.x",
        "encoder.layer.2.output.dense.bias",
        "x.pooler.b",
        "classifiers.b",
    ],
)
def test_tensors_of_other_names_are_refused(tmp_path: Path, name: str) -> None:
    save_file({**WEIGHTS, name: np.ones(16, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"the first is {name}"):
        load(tmp_path)


def test_two_encoders_in_one_file_are_refused(tmp_path: Path) -> None:
    twice = {**WEIGHTS, **{f"model.{name}": array * 2 for name, array in WEIGHTS.items()}}
    save_file(twice, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="twice"):
        load(tmp_path)


def test_gelu_in_python_is_gelu(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    assert load_encoder(tmp_path, {**CONFIG, "hidden_act": "gelu_python"}).activation == "gelu"


# files that torch itself wrote


@pytest.mark.parity
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_tensors_that_torch_saved_are_read_as_torch_reads_them(tmp_path: Path, legacy: bool) -> None:
    import torch

    torch.manual_seed(0)
    table = torch.randn(30, 40)
    values: dict[str, Any] = {
        **{str(kind): table.to(kind) for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64)},
        "transposed": table.T,
        "part": table[3:20:4, 5:30:3],
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2),
        "parameter": torch.nn.Parameter(table[1]),
        "number": torch.tensor(1.5),
        "large": torch.randn(300, 400),
    }
    torch.save(values, tmp_path / "model.bin", _use_new_zipfile_serialization=not legacy)
    found = read_pickled(tmp_path / "model.bin")
    assert list(found) == list(values)
    for name, value in values.items():
        assert np.array_equal(found[name].read(), value.detach().float().numpy()), name


@pytest.mark.parity
@pytest.mark.parametrize("shards", [False, True])
def test_what_transformers_saves_is_the_same_encoder_in_either_format(tmp_path: Path, shards: bool) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    config = {name: value for name, value in CONFIG.items() if name != "model_type"}
    model = BertForMaskedLM(BertConfig(**config))
    size = "20KB" if shards else "1GB"
    model.save_pretrained(tmp_path / "safetensors", max_shard_size=size)
    model.save_pretrained(tmp_path / "pickled", max_shard_size=size, safe_serialization=False)
    assert bool([*(tmp_path / "pickled").glob("*.index.json")]) == shards
    right = numbers(load(tmp_path / "safetensors"))
    assert numbers(load(tmp_path / "pickled")) == right
    (tmp_path / "legacy").mkdir()
    path = tmp_path / "legacy" / "pytorch_model.bin"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    assert numbers(load(tmp_path / "legacy")) == right
