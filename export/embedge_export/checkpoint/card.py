"""The header of a checkpoint's ``README.md``, its model card on the hub."""

import re
from dataclasses import dataclass
from pathlib import Path

# The header stands first; cards of a few megabytes exist.
_HEADER_BYTES = 2**16
_BASE_MODEL = re.compile(r"^base_model:\s*(?:-\s*|\[\s*)?[\"']?([\w.-]+/[\w.-]+)", re.MULTILINE)
_LICENSE = re.compile(r"^license:[ \t]*[\"']?([\w.-]+)", re.MULTILINE)
_FINE_TUNED = re.compile(r"generated_from_trainer|fine-?_?tuned", re.IGNORECASE)


@dataclass(frozen=True)
class Card:
    """What a model card says of a model's origin."""

    base_model: str | None = None
    license: str | None = None
    fine_tuned: bool = False
    """Whether the model was trained on from another, whose prompts it need not have."""


def read_card(root: Path) -> Card:
    """The card of the checkpoint in ``root``; an empty one where there is none, or none that can be read."""
    try:
        with (root / "README.md").open("rb") as file:
            text = file.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return Card()
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return Card()
    header = "\n".join(lines[1 : next((n for n, line in enumerate(lines) if n and line.rstrip() == "---"), 0)])
    base, name = _BASE_MODEL.search(header), _LICENSE.search(header)
    return Card(
        base_model=base[1] if base else None,
        license=name[1] if name else None,
        fine_tuned=base is not None or _FINE_TUNED.search(header) is not None,
    )
