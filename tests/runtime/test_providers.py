"""Providers other than the CPU: asked for where they can't be had, they are an error that says why, never the CPU.

This runs without a GPU. Tests that fake one, or the packages on this machine, have `faked` in their names; what a
real GPU does is in test_cuda.py. AzureExecutionProvider is in every onnxruntime and takes no node of any model, which
is the case of a provider that leaves all to the CPU, for real.
"""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from embedge import Bundle, BundleError, Embedder, ProviderError
from embedge.cli import main
from embedge.engine import cuda, providers, sessions
from embedge.engine.capabilities import Capabilities
from embedge.engine.choose import Choice, choose
from embedge.engine.ort import CPU, CUDA
from embedge.manifest import Graph, Variant

import onnxruntime  # isort: skip

AZURE = "AzureExecutionProvider"

for_cpus = pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA")
needs_azure = pytest.mark.skipif(AZURE not in onnxruntime.get_available_providers(), reason=f"has no {AZURE}")


class FakedDriver:
    """What of the driver's library is called."""

    def __init__(self, *, init: int = 0, gpus: int = 1, version: int = 13000) -> None:
        self.init, self.gpus, self.version = init, gpus, version

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.gpus
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = b"Faked GPU"
        return 0

    def cuGetErrorName(self, code: int, name: Any) -> int:  # noqa: N802
        name._obj.value = b"CUDA_ERROR_NO_DEVICE"
        return 0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``fake(driver=..., packages=..., cuda=...)``: a driver, the installed packages, an onnxruntime built for CUDA."""

    def apply(*, driver: FakedDriver | None = None, packages: dict[str, str] | None = None, built: str = "") -> None:
        def load() -> FakedDriver:
            if driver is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return driver

        monkeypatch.setattr(cuda, "_load_driver", load)
        if packages is not None:
            monkeypatch.setattr(cuda, "distributions", lambda: packages)
        if built:
            monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
            monkeypatch.setattr(onnxruntime, "cuda_version", built)

    return apply


# Why CUDA can't be had


@for_cpus
def test_cuda_is_refused_where_onnxruntime_is_for_cpus_only(bundle: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        Embedder.load(bundle, providers=["cuda"])
    assert f"onnxruntime {onnxruntime.__version__} has no CUDAExecutionProvider: pip uninstall" in str(caught.value)
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]"' in str(caught.value)


@for_cpus
def test_packages_that_overwrite_each_other_are_named_faked(fake: Any) -> None:
    fake(driver=FakedDriver(), packages={"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"})
    (reason,) = cuda.why_not(CUDA)
    assert reason.startswith("onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are installed and overwrite each other's")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install" in reason


def test_a_machine_without_driver_is_told_apart_faked(fake: Any) -> None:
    fake(built="13.0")
    (reason,) = cuda.why_not(CUDA)
    assert reason.startswith("there is no NVIDIA driver (libcuda.so.1: cannot open")


def test_a_driver_without_gpu_is_told_apart_faked(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    fake(driver=FakedDriver(init=100), built="13.0")
    (reason,) = cuda.why_not(CUDA)
    assert reason.startswith("the NVIDIA driver finds no GPU with CUDA_VISIBLE_DEVICES='7' (CUDA_ERROR_NO_DEVICE)")


def test_a_forked_child_of_a_process_that_has_used_cuda_is_told_so_faked(fake: Any) -> None:
    fake(driver=FakedDriver(init=3), built="13.0")
    assert "multiprocessing's 'spawn' method" in cuda.why_not(CUDA)[0]


def test_a_driver_that_counts_no_gpu_is_told_apart_faked(fake: Any) -> None:
    fake(driver=FakedDriver(gpus=0), built="13.0")
    assert "the NVIDIA driver finds no GPU" in cuda.why_not(CUDA)[0]


def test_a_driver_too_old_for_onnxruntime_is_told_apart_faked(fake: Any) -> None:
    fake(driver=FakedDriver(version=12080), built="13.0")
    (reason,) = cuda.why_not(CUDA)
    assert "the NVIDIA driver supports CUDA 12.8, but onnxruntime" in reason
    assert "was built for CUDA 13.0: update the driver" in reason


@pytest.mark.parametrize(("part", "library"), [("providers_cuda", "libcublasLt.so.13"), ("cudnn", "libcudnn.so.9")])
def test_a_missing_library_is_named_faked(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, library: str
) -> None:
    (tmp_path / "capi").mkdir()
    for name in ("shared", "cuda"):
        (tmp_path / "capi" / f"libonnxruntime_providers_{name}.so").touch()

    def load(path: str, mode: int = 0) -> None:
        if part in path:
            raise OSError(f"{library}: cannot open shared object file: No such file or directory")

    preloaded = []
    fake(driver=FakedDriver(), built="13.0")
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: preloaded.append(True))
    monkeypatch.setattr(ctypes, "CDLL", load)
    (reason,) = cuda.why_not(CUDA)
    assert preloaded  # or libraries that pip installed would not be found
    assert reason.startswith(f"a library can't be loaded ({library}: cannot open shared object file")
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]"' in reason


def test_what_onnxruntime_prints_of_missing_libraries_stays_off_standard_output_faked(
    fake: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(driver=FakedDriver(), built="13.0")
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublasLt.so.13"))
    cuda.why_not(CUDA)
    assert capsys.readouterr().out == ""


def test_doctor_tells_what_cuda_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith(" "))
    reasons = cuda.why_not(CUDA)
    assert rows["CUDA"] == (reasons[0] if reasons else "can be used")
    assert rows["onnxruntime"].startswith(f"{onnxruntime.__version__}, from onnxruntime")


def test_doctor_names_the_gpu_faked(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fake(driver=FakedDriver())
    assert main(["doctor"]) == 0
    assert "Faked GPU; the driver supports CUDA 13.0" in capsys.readouterr().out


def test_onnxruntime_without_its_files_is_an_error_that_says_so_faked() -> None:
    """As pip leaves it where onnxruntime and onnxruntime-gpu were installed and one of them was uninstalled."""
    code = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import embedge.engine.ort"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ProviderError: onnxruntime is installed, but its files are gone" in done.stderr


# Which nodes run where


@needs_azure
@pytest.mark.parametrize("variant", ["fp16", "fp32"])
def test_a_provider_that_takes_no_node_is_refused(fp16_bundle: Path, variant: str) -> None:
    nodes = len(onnx.load(fp16_bundle / f"model.{variant}.onnx", load_external_data=False).graph.node)
    with pytest.raises(ProviderError, match=f"{AZURE} takes none of the model's {nodes} nodes"):
        Embedder.load(fp16_bundle, variant=variant, providers=[AZURE])


@needs_azure
def test_a_provider_that_takes_no_node_is_refused_with_the_cpu_behind_it_too(fp16_bundle: Path) -> None:
    with pytest.raises(ProviderError, match="takes none"):
        Embedder.load(fp16_bundle, providers=[AZURE, "cpu"])


def divided_session(**nodes: list[str]) -> Any:
    """A session as far as it tells which operators run where."""
    return SimpleNamespace(
        get_provider_graph_assignment_info=lambda: [
            SimpleNamespace(
                ep_name=f"{name}ExecutionProvider",
                get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=kind) for kind in kinds],
            )
            for name, kinds in nodes.items()
        ]
    )


def test_nodes_left_to_the_cpu_are_counted_and_named_faked() -> None:
    divided = divided_session(CUDA=["MatMul"] * 7, CPU=["Gelu", "Gather", "Gelu"])
    told = providers.find_fallback(divided, [CUDA])
    assert told
    assert told.startswith("3 of 10 nodes run on the CPU, which CUDAExecutionProvider does not take: 2 Gelu, 1 Gather;")


def test_of_many_kinds_of_nodes_the_most_common_are_named_faked() -> None:
    divided = divided_session(CUDA=["MatMul"], CPU=[*"aabbccddeefg"])
    told = providers.find_fallback(divided, [CUDA])
    assert told
    assert "2 a, 2 b, 2 c, 2 d, 2 e and 2 other kinds" in told


def test_nodes_left_to_a_cpu_that_was_named_are_not_told_of_faked() -> None:
    assert providers.find_fallback(divided_session(CUDA=["MatMul"], CPU=["Gelu"]), [CUDA, CPU]) is None


def test_nothing_is_told_where_all_nodes_run_as_asked_faked() -> None:
    assert providers.find_fallback(divided_session(CUDA=["MatMul"]), [CUDA]) is None


@pytest.mark.parametrize("variant", ["fp16", "fp32"])
@needs_azure
def test_loading_warns_once_of_nodes_on_the_cpu_faked(
    fp16_bundle: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "find_fallback", lambda *_: "3 of 10 nodes run on the CPU")
    with pytest.warns(UserWarning, match="3 of 10 nodes run on the CPU") as caught:
        Embedder.load(fp16_bundle, variant=variant, providers=[AZURE])
    assert [warning.filename for warning in caught] == [__file__]


# Names


@pytest.mark.parametrize("names", [["cpu"], [CPU], None])
def test_the_cpu_may_be_named(bundle: Path, names: list[str] | None) -> None:
    with Embedder.load(bundle, providers=names) as model:
        assert model.embed(["a"]).shape == (1, 384)


@pytest.mark.parametrize("name", ["coreml", "directml", "openvino"])
def test_a_provider_of_another_package_is_refused(bundle: Path, name: str) -> None:
    if providers.PROVIDERS[name] in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {name}")
    with pytest.raises(
        ProviderError, match=f"{providers.PROVIDERS[name]} is not in the installed onnxruntime .* which has"
    ):
        Embedder.load(bundle, providers=[name])


def test_an_unknown_provider_is_refused(bundle: Path) -> None:
    for name in ("gpu", "CUDA", "cpu,cuda", ""):
        with pytest.raises(ProviderError, match=f"there is no provider '{name}': give cpu, cuda, "):
            Embedder.load(bundle, providers=[name])


def test_providers_must_be_a_list_with_something_in_it(bundle: Path) -> None:
    no_list: tuple[Any, ...] = (b"cpu", 5, {"cpu": 1})
    no_name: tuple[Any, ...] = ([("CUDAExecutionProvider", {"device_id": 1})], [["cpu"]], [None])
    for wrong in (*no_list, *no_name):
        with pytest.raises(TypeError, match="give a name or a list of names"):
            Embedder.load(bundle, providers=wrong)
    with pytest.raises(ProviderError, match="providers is empty"):
        Embedder.load(bundle, providers=[])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cpu", "cpu"], "one is there twice"),
        (["cpu", CPU], "one is there twice"),
        (["cpu", "cuda"], "the CPU takes every node, so it can only be the last"),
    ],
)
def test_providers_that_make_no_sense_together_are_refused(bundle: Path, names: list[str], message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        Embedder.load(bundle, providers=names)


def test_sessions_get_what_keeps_them_honest_and_exact_faked(
    fp16_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class FakedSession:
        def __init__(self, path: str, options: Any, **arguments: Any) -> None:
            asked.update(arguments)
            asked["recorded"] = options.get_session_config_entry("session.record_ep_graph_assignment_info")

        def get_providers(self) -> list[str]:
            return [CUDA, CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", FakedSession)
    bundle = Bundle.open(fp16_bundle)
    choice = Choice("fp16", bundle.manifest.variants["fp16"].graphs[0])
    sessions.SessionMaker(bundle, choice, [CUDA]).make(1)
    ((name, options),) = asked["providers"]
    assert name == CUDA
    assert options["enable_skip_layer_norm_strict_mode"] == "1"
    assert (asked["enable_fallback"], asked["recorded"]) == (0, "1")


def test_the_command_line_takes_a_provider(fp16_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "a", "--model", str(fp16_bundle), "--provider", "cpu"]) == 0
    assert capsys.readouterr().out.startswith('{"index":0')
    assert main(["embed", "a", "--model", str(fp16_bundle), "--provider", "gpu"]) == 1
    assert "there is no provider 'gpu'" in capsys.readouterr().err


# Which variant runs on which


def variant(*devices: str, execution: str = "ragged") -> Variant:
    graph = Graph("graph", execution, needs=(), unsigned=False)
    return Variant((graph,), "weights", {}, devices=devices, recipe="")


VARIANTS = {"int8": variant("cpu"), "fp16": variant("cuda", "cpu", execution="padded"), "fp32": variant("any")}


@pytest.mark.parametrize(
    ("has", "asked", "provider", "runs"),
    [
        (["int8", "fp16", "fp32"], "auto", CUDA, "fp16"),
        (["int8", "fp32"], "auto", CUDA, "fp32"),
        (["int8", "fp16", "fp32"], "fp32", CUDA, "fp32"),
        (["int8", "fp16", "fp32"], "auto", CPU, "int8"),
        (["fp16", "fp32"], "auto", CPU, "fp32"),
        (["fp16", "fp32"], "fp16", CPU, "fp16"),
        (["int8", "fp16", "fp32"], "auto", "OpenVINOExecutionProvider", "fp32"),
        (["int8"], "auto", "OpenVINOExecutionProvider", "int8"),
        (["fp16"], "auto", "OpenVINOExecutionProvider", "fp16"),
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_each_provider_runs_what_suits_it(has: list[str], asked: str, provider: str, runs: str, exact: bool) -> None:
    variants = {name: VARIANTS[name] for name in has}
    assert choose(variants, asked, provider, Capabilities(exact_u8s8=exact, kernels=False)).variant == runs


@pytest.mark.parametrize("asked", ["auto", "int8"])
def test_int8_is_refused_on_cuda_and_what_to_do_is_told(asked: str) -> None:
    exact = Capabilities(exact_u8s8=True, kernels=False)
    with pytest.raises(ProviderError, match="export the checkpoint again, with --precision fp16"):
        choose({"int8": VARIANTS["int8"]}, asked, CUDA, exact)
    if asked != "auto":
        with pytest.raises(ProviderError, match="'int8' is for cpu, not for CUDAExecutionProvider: use variant 'fp16'"):
            choose(VARIANTS, asked, CUDA, exact)


def test_fp16_alone_is_not_run_on_the_cpu_unless_asked_for() -> None:
    with pytest.raises(ProviderError, match=r"only fp16 \(for cuda and cpu\): export .* int8 or fp32"):
        choose({"fp16": VARIANTS["fp16"]}, "auto", CPU, Capabilities(exact_u8s8=True, kernels=False))


def test_a_variant_that_is_not_there_is_an_error_on_cuda_too() -> None:
    two = {name: VARIANTS[name] for name in ("fp16", "fp32")}
    with pytest.raises(BundleError, match="no variant 'int8'; it has fp16, fp32"):
        choose(two, "int8", CUDA, Capabilities(exact_u8s8=True, kernels=False))


# Starts on the CPU


def test_a_start_on_the_cpu_imports_nothing_about_other_providers(bundle: Path) -> None:
    names = ["embedge.engine.cuda", "embedge.engine.providers", "embedge.engine.padded"]
    code = f"import sys, embedge; embedge.Embedder.load({str(bundle)!r}).embed_query('a')\n"
    code += f"print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_of_cuda_are_made_with_exact_sums() -> None:
    assert sessions._OPTIONS[CUDA] == {"enable_skip_layer_norm_strict_mode": "1", "use_tf32": "0"}
