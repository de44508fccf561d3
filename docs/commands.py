"""Write docs/cli.md: every subcommand with its options, as the parsers have them. ``make docs`` runs it."""

import argparse
import re
from pathlib import Path

from embedge import cli

PAGE = Path(__file__).parent / "cli.md"

_HEAD = """# Command line

<!-- docs/commands.py writes this page from the parsers: edit those. -->

Results go to standard output, everything else to standard error. An error is one line.

| exit code | meaning |
|--:|---|
| 0 | done |
| 1 | an error |
| 2 | wrong usage |
| 128 + n | ended by signal n: 129 where the terminal was closed, 130 by Ctrl-C, 143 by SIGTERM |
| 141 | the reader of standard output went away |
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page's text; the same on every version of Python."""
    parsers = _subparsers(cli._parser())
    return _HEAD + "".join(_section(name, parser) for name, parser in parsers.items())


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    # Not by argparse, whose form of a usage line changes from one version of Python to the next.
    shown = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    usage = " ".join(
        [f"embedge {name}", *(_operand(action) for action in shown if not action.option_strings), "[OPTION...]"]
    )
    rows = "".join(f"| {_names(action)} | {_meaning(action)} |\n" for action in shown)
    example = (parser.epilog or "").removeprefix("Example: ")
    about = f"{parser.description} For example:\n\n```text\n{example}\n```"
    return f"\n## embedge {name}\n\n`{usage}`\n\n{about}\n\n| | |\n|---|---|\n{rows}"


def _operand(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name}...]", "+": f"{name}..."}.get(str(action.nargs), name)


def _names(action: argparse.Action) -> str:
    values = r"\|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return f"`{values}`"
    return f"`{', '.join(action.option_strings)}{'' if action.nargs == 0 else f' {values}'}`"


def _meaning(action: argparse.Action) -> str:
    text = re.sub(r"(?<!`)(--[a-z][a-z-]*|\$[A-Z_]+)", r"`\1`", action.help or "").replace("|", r"\|")
    if isinstance(action.default, str) and "default" not in text:
        text += f"{'; ' if text else ''}default: {action.default}"
    return text or "–"


if __name__ == "__main__":
    main()
