"""Compiles the kernels of resampling when the package is built or installed. Without a compiler, the package has none.

A wheel for publication gets the compiled module and a tag for all Pythons from 3.11 on (the stable ABI). An editable
install has it in the source tree, beside the code that imports it. `python hatch_build.py` compiles it there, too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parent
SOURCE = _ROOT / "kernels" / "kernels.c"
#: Where the package looks for the module, from the root of the sources.
MODULE = "rasteret_sql/read/_kernels.abi3.so"

# Pixels are those of NumPy bit for bit, so no multiplication may be fused with an addition, and no sum reordered.
_FLAGS = ("-std=c11", "-O3", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-fast-math")
_LINK = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)


class CompileError(Exception):
    """The kernels cannot be compiled here."""


class CompiledKernels(BuildHookInterface):
    """Adds the compiled kernels to wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernels, or warn that the wheel has none."""
        if self.target_name != "wheel":
            return
        is_editable = version == "editable"
        self._folder = None if is_editable else tempfile.TemporaryDirectory()
        path = _ROOT / MODULE if self._folder is None else Path(self._folder.name, Path(MODULE).name)
        try:
            compile_kernels(path)
        except CompileError as error:
            self.app.display_warning(f"rasteret-sql is built without compiled kernels, NumPy resamples pixels: {error}")
            if is_editable:
                path.unlink(missing_ok=True)  # of an earlier install: it may not fit these sources
            return
        if not is_editable:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{_platform()}"
            build_data["force_include"][str(path)] = MODULE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder in which the kernels were compiled."""
        del version, build_data, artifact_path
        if getattr(self, "_folder", None) is not None:
            self._folder.cleanup()


def compile_kernels(path: Path, source: Path = SOURCE) -> None:
    """Compile a module, the kernels by default, to `path`.

    Raises:
        CompileError: there is no compiler, or it failed.
    """
    compiler = next(compilers(), None)
    if compiler is None:
        raise CompileError("there is no C compiler. Install one, or name it in CC")
    # A process that has the old module open keeps it, and none sees half of the new one.
    made = path.with_name(f".{path.name}.{os.getpid()}")
    command = [
        *compiler, *_FLAGS, *shlex.split(os.environ.get("CFLAGS", "")), "-I", sysconfig.get_path("include"),
        str(source), "-o", str(made), *_LINK, *shlex.split(os.environ.get("LDFLAGS", "")),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or [f"exit code {done.returncode}"]
            raise CompileError(f"{shlex.join(compiler)} failed: {said[0]}")
        made.replace(path)
    except OSError as error:
        raise CompileError(f"{shlex.join(compiler)} failed: {error}") from error
    finally:
        made.unlink(missing_ok=True)


def compilers() -> Iterator[list[str]]:
    """Give the commands of C compilers that are there: CC of the environment alone, where it is set."""
    given = os.environ.get("CC")
    for name in [given] if given else [sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]:
        command = shlex.split(name or "")
        if command and shutil.which(command[0]):
            yield command


def _platform() -> str:
    """Give the platform of the wheel's tag: that of this machine, without promises about other Linux systems."""
    from packaging.tags import sys_tags

    many = ("manylinux", "musllinux")
    return next(tag.platform for tag in sys_tags() if not tag.platform.startswith(many))


if __name__ == "__main__":
    try:
        compile_kernels(_ROOT / MODULE)
    except CompileError as failure:
        sys.exit(str(failure))
