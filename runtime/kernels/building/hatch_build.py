"""Hatchling's hook: it compiles the library into the wheel, and says which platform the wheel is for."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Hatchling runs this file by its path; modules beside it are not on Python's.
sys.path.insert(0, str(Path(__file__).parent))

from recipe import CannotCompile, compile_library, find_target, native_target


class KernelsBuildHook(BuildHookInterface[Any]):
    """Builds for this platform, or for the one that ``EMBEDGE_KERNELS_TARGET`` names as zig does."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the wheel's files.

        Raises:
            CannotCompile: it can't be built.
        """
        if version == "editable":
            raise CannotCompile("embedge-kernels is compiled into its wheel: install it without --editable")
        triple = os.environ.get("EMBEDGE_KERNELS_TARGET")
        target = find_target(triple) if triple else native_target()
        self._directory = tempfile.TemporaryDirectory()
        library = compile_library(target, Path(self._directory.name))
        library.chmod(0o644)
        build_data["force_include"][str(library)] = f"embedge_kernels/{target.library}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{target.tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling when the wheel is written."""
        self._directory.cleanup()
