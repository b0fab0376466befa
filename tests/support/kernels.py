"""The compiled kernels for tests: those that are installed, or else compiled for this run."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rasteret_sql.read import compiled

ROOT = Path(__file__).parents[2]


@cache
def build_hook():
    """The module `hatch_build`, which compiles; None where hatchling is not installed."""
    if importlib.util.find_spec("hatchling") is None:
        return None
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def has_compiler() -> bool:
    """Whether a C compiler and Python's headers are here."""
    hook = build_hook()
    if hook is None or next(hook.compilers(), None) is None:
        return False
    with TemporaryDirectory() as folder:
        try:
            hook.compile_kernels(Path(folder, "probe.so"), source=_probe(Path(folder)))
        except hook.CompileError:
            return False
    return True


def load(path):
    """The kernels in a file, which other modules do not see."""
    spec = importlib.util.spec_from_file_location("rasteret_sql.read._kernels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernels_for_tests(folder):
    """The kernels that are in use, or else ones that are compiled in `folder`; None where there is no compiler."""
    if compiled.kernels is not None:
        return compiled.kernels
    if not has_compiler():
        return None
    path = Path(folder, Path(build_hook().MODULE).name)
    build_hook().compile_kernels(path)
    return load(path)


def _probe(folder: Path) -> Path:
    """The source of a module that needs nothing but a compiler and Python's headers."""
    source = folder / "probe.c"
    source.write_text("#include <Python.h>\nint probe(void) { return PY_MAJOR_VERSION; }\n")
    return source


def is_installed() -> bool:
    """Whether this checkout is installed in this Python, and not merely on its path."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = distribution("rasteret-sql").read_text("direct_url.json") or ""
    except PackageNotFoundError:
        return False
    return f'"{ROOT.as_uri()}"' in origin and str(ROOT) in sys.modules["rasteret_sql"].__file__
