"""What the site says of the package: its version and licence, and its repository where pyproject.toml names one."""
# ruff: noqa: INP001 - a hook of mkdocs, not a module of the package

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def on_config(config: Any) -> Any:
    """Fill in the facts, as mkdocs asks before it builds."""
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    config["copyright"] = f"{project['name']} {project['version']}, {project['license']}"
    repository = project.get("urls", {}).get("Repository")
    if repository is not None:
        config["repo_url"] = repository
    return config
