"""Pack a bundle with all that it needs, as a function of AWS Lambda."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.cli.options import find_bundle
from embedge.cli.table import print_table

if TYPE_CHECKING:
    from embedge.pack.aws_lambda import Packed

EXAMPLE = "embedge pack lambda BAAI/bge-small-en function.zip --arch arm64"

# Lambda's limit for a file that is uploaded with the call that makes a function.
_DIRECT_UPLOAD = 52_428_800


def add(parser: argparse.ArgumentParser) -> None:
    """Options of ``embedge pack``."""
    parser.add_argument("target", choices=["lambda"], help="where it will run")
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's directory, or its name in the store")
    parser.add_argument("out", metavar="OUT", type=Path, help="the zip file to write; one that is there is replaced")
    parser.add_argument("--arch", choices=["x86_64", "arm64"], default="x86_64", help="the function's architecture")
    parser.add_argument(
        "--python", default="3.12", metavar="VERSION", help="the function's Python: 3.12, 3.13 or 3.14; default: 3.12"
    )
    parser.add_argument(
        "--kernels",
        type=Path,
        metavar="WHEEL",
        help="the wheel of embedge-kernels for that architecture; default: the one installed here, if it runs there",
    )


def run(options: argparse.Namespace) -> int:
    """Run ``embedge pack``."""
    from embedge.bundle import Bundle
    from embedge.pack.aws_lambda import lambda_target, pack_function

    target = lambda_target(options.arch, options.python)
    bundle = Bundle.open(find_bundle(options.bundle, "embed"))
    packed = pack_function(bundle, options.out, target, kernels=options.kernels)
    print_table(_lines(packed))
    return 0


def _lines(packed: "Packed") -> list[tuple[str, str]]:
    versions = {package.name.replace("-", "_"): package for package in packed.packages}
    rows = []
    for name, size in packed.sizes.items():
        package = versions.get(name)
        rows.append((name, f"{_mb(size)}  {f'{package.version}, {package.origin}' if package else ''}".rstrip()))
    upload = "" if packed.zipped <= _DIRECT_UPLOAD else "  more than 52.4 MB goes by S3"
    rows += [
        ("unzipped", f"{_mb(packed.unzipped)}  of 262.1 that Lambda takes"),
        ("zip", f"{_mb(packed.zipped)}{upload}"),
        ("left out", f"{_mb(packed.left_out)}  of the packages, never imported"),
        ("compiled", "yes" if packed.compiled else f"no: each start compiles, since {_python(packed)} is not here"),
        ("kernels", "yes" if "embedge_kernels" in versions else "no: give the wheel with --kernels for faster int8"),
        ("tried here", _trial(packed)),
    ]
    return rows


def _trial(packed: "Packed") -> str:
    if packed.cosine is not None:
        return f"vectors as sealed, cosine {packed.cosine:.6f}"
    return f"no: that needs {_python(packed)} on Linux for {packed.target.machine}, with glibc 2.{packed.target.glibc}"


def _python(packed: "Packed") -> str:
    return f"python{packed.target.version}"


def _mb(size: int) -> str:
    return f"{size / 1e6:7.1f} MB"
