"""``hybridlib``: evaluate any encoder on data of one's own, and take language out of it."""

import argparse
import sys
from collections.abc import Sequence

from hybridlib.commands import debias, evaluate
from hybridlib.errors import one_line_errors


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="hybridlib", description="Multilingual retrieval: evaluate an encoder within "
                                  "languages, across them, and over a pool of all; take language out of it.")
    commands = top.add_subparsers(dest="command", required=True)
    for command in (evaluate, debias):
        command.add_to(commands).set_defaults(run=command.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, or ends the program with it."""
    chosen = parser().parse_args(arguments)
    with one_line_errors():
        chosen.run(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
