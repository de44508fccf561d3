"""A Containerfile's steps carried out in plain directories, where there is no engine for containers.

Reads what ours has: FROM, ARG, WORKDIR, COPY, RUN as a list, ENV, USER, HEALTHCHECK, ENTRYPOINT, CMD. A base image is
an empty directory: its Python and libraries are this machine's (see :mod:`.sandbox`).
"""

import errno
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What one FROM and the instructions after it made."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


Run = Callable[[Sequence[str], Path], None]
"""Carries out a RUN, as a command whose absolute paths are those of this machine, in a directory."""


def run(command: Sequence[str], directory: Path) -> None:
    """By this Python, whose packages pip does not see."""
    subprocess.run([sys.executable, "-I", *command[1:]], cwd=directory, check=True)


def build(containerfile: Path, context: Path, out: Path, arguments: Mapping[str, str], run: Run = run) -> Stage:
    """The last stage, with a directory for each stage in ``out``."""
    values: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage = Stage(out)
    for word, rest in instructions(containerfile):
        if word == "ARG":
            name, _, default = rest.partition("=")
            values[name] = arguments.get(name, default)
            continue
        for name, value in values.items():
            rest = rest.replace(f"${{{name}}}", value)
        match word:
            case "FROM":
                base, _, name = rest.partition(" AS ")
                stage = _begin(stages.get(base), out / (name or "last"))
                stages[name or "last"] = stage
            case "WORKDIR":
                stage.directory = rest
                _place(stage, rest).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(stage, rest.split(), context, stages)
            case "RUN":
                paths = [str(_place(stage, one)) if one.startswith("/") else one for one in json.loads(rest)]
                run(paths, _place(stage, stage.directory))
            case "ENV":
                stage.environment |= dict(one.split("=", 1) for one in rest.split())
            case "USER":
                stage.user = rest
            case "HEALTHCHECK":
                stage.health = json.loads(rest.partition("CMD ")[2])
            case "ENTRYPOINT":
                stage.entrypoint, stage.command = json.loads(rest), []
            case "CMD":
                stage.command = json.loads(rest)
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"{containerfile}: this reads no {word}")
    return stage


def instructions(containerfile: Path) -> list[tuple[str, str]]:
    """Each instruction of a file and what stands behind it."""
    lines = [line for line in containerfile.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in whole.splitlines()) if word]


def copy_context(context: Path, ignore: Path, out: Path, *, bundles: bool = True) -> None:
    """The files of ``context`` that a build sees: those that the last fitting line of ``ignore`` does not leave out.

    Without ``bundles``, which may be many and large, none under ``models``.
    """
    lines = [line for line in ignore.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    lines += [] if bundles else ["models/*", "!models/registry.toml"]

    def is_seen(parts: tuple[str, ...]) -> bool:
        seen = True
        for line in lines:
            pattern = line.removeprefix("!")
            if pattern.startswith("**/"):
                fits = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
            else:
                names = ("/".join(parts[:end]) for end in range(1, len(parts) + 1))
                fits = any(fnmatch.fnmatchcase(name, pattern) for name in names)
            if fits:
                seen = line.startswith("!")
        return seen

    def copy(directory: Path, parts: tuple[str, ...]) -> None:
        for entry in sorted(directory.iterdir()):
            names = (*parts, entry.name)
            inside = "!" + "/".join(names) + "/"
            if entry.is_dir() and (is_seen(names) or any(line.startswith(inside) for line in lines)):
                copy(entry, names)
            elif entry.is_file() and is_seen(names):
                out.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                shutil.copy(entry, out.joinpath(*names))

    copy(context, ())


def link(source: str, target: str) -> None:
    """In place of a copy of a file that nobody changes."""
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target)


def _begin(base: Stage | None, root: Path) -> Stage:
    if base is None:
        root.mkdir(parents=True)
        return Stage(root)
    shutil.copytree(base.root, root, symlinks=True, copy_function=link)
    return Stage(root, dict(base.environment), base.directory, base.user, base.health, base.entrypoint, base.command)


def _place(stage: Stage, path: str) -> Path:
    return stage.root / stage.directory.lstrip("/") / path if not path.startswith("/") else stage.root / path[1:]


def _copy(stage: Stage, words: list[str], context: Path, stages: Mapping[str, Stage]) -> None:
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    for name in names:
        found, to = source / name.lstrip("/"), _place(stage, target)
        if found.is_dir():  # what is in it
            shutil.copytree(found, to, symlinks=True, dirs_exist_ok=True, copy_function=link)
        else:
            to = to / found.name if target.endswith("/") else to
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, to)
