"""Hold the numbers of README and docs against what they are from: ``make verify``, or ``make verify ROW=<name>``.

Every row of ``results/ledger.yaml`` is computed anew from committed tables, in seconds, and is OK, close (off by one in
a last digit), or FAIL with what differs; numbers that no table holds are as printed, and the command that measured them
is named. So is each number without a row, with its line. ``docs/ledger.md`` is written anew. With ROW, its commands are
run first, training and all, and what they leave under ``runs/`` is compared. `reproduction.findings.ledger` says how to
add a row.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridlib import files
from hybridlib.errors import RunError, one_line_errors
from reproduction.findings.ledger import AS_PRINTED, Found, Ledger
from reproduction.findings.ledger_page import PAGE, page
from reproduction.workspace import Workspace

DATA = "data/public"


def verdict(found: Sequence[Found]) -> str:
    """What came of a row: the worst of its numbers.

    >>> verdict([Found("OK", 1, ".1", ".1"), Found(AS_PRINTED, 1, ".3")])
    'OK'
    >>> verdict([Found(AS_PRINTED, 1, ".3")])
    'as printed'
    """
    worst_first = ("FAIL", "close", "OK")
    return next((status for status in worst_first if any(one.status == status for one in found)), AS_PRINTED)


def shown(ledger: Ledger, name: str, found: Sequence[Found]) -> str:
    """A row as text: how it came out, where it stands, and a line for each number that is not what it was."""
    row, held = ledger.rows[name], sum(one.status != AS_PRINTED for one in found)
    left = len(found) - held
    text = f"{verdict(found):<10}  {row.stands}:{found[0].line if found else '?'}  {name}: {held} computed"
    if left:
        run = "; ".join(ledger.commands[made].run.format(data=DATA) for made in ledger.commands_of(row))
        text += f", {left} {AS_PRINTED}" + (f" (measured by: {run})" if run else "")
    return "\n".join([text, *(f"    {one.status}: line {one.line} prints {one.printed}, now {one.value}"
                              for one in found if one.status in ("close", "FAIL"))])


def run(ledger: Ledger, name: str, data: str) -> None:
    """Run the commands that make a row's numbers.

    Raises
    ------
    RunError
        If there is no such row, none of its numbers is made by a command, or one fails.
    """
    if name not in ledger.rows:
        raise RunError(f"no row {name!r}; there are: {', '.join(ledger.rows)}")
    commands = ledger.commands_of(ledger.rows[name])
    if not commands:
        raise RunError(f"row {name!r} is {ledger.rows[name].kind}: no command makes it; `make verify` checks it")
    # Not what `make verify` was told: DATA would make a preset another one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for made in commands:
        command = ledger.commands[made].run.format(data=data)
        print(f"$ {command}", flush=True)
        status = subprocess.run(command, shell=True, cwd=ledger.root, env=environment, check=False).returncode
        if status:
            raise RunError(f"`{command}` ended with status {status}")


def verify(workspace: Workspace, name: str = "", data: str = DATA) -> tuple[list[str], bool]:
    """Check all rows, and what has none; or run the commands of one and check that.

    Returns
    -------
    (list of str, bool)
        Lines to print, and whether all is well.
    """
    if name:
        run(Ledger(workspace), name, data)
        ledger = Ledger(workspace, fresh=True)
        found = ledger.check(name)
        return [shown(ledger, name, found)], verdict(found) in ("OK", "close", AS_PRINTED)
    ledger, lines, every = Ledger(workspace), [], []
    for row in ledger.rows:
        try:
            found = ledger.check(row)
            lines.append(shown(ledger, row, found))
        except ValueError as error:
            found = [Found("FAIL", 0, "", "")]
            lines.append(f"{'FAIL':<10}  {error}")
        every += found
    missing = ledger.without_row()
    lines += [f"no row      {number}" for number in missing]
    with files.atomic(workspace.root / PAGE) as temporary:
        temporary.write_text(page(ledger), "utf-8")
    counts = {status: sum(one.status == status for one in every) for status in ("OK", "close", "FAIL", AS_PRINTED)}
    lines.append("numbers: " + ", ".join(f"{count} {status}" for status, count in counts.items())
                 + f", {len(missing)} without a row")
    return lines, verdict(every) not in ("close", "FAIL") and not missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.commands.verify", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", default="", help="run the commands of this row of results/ledger.yaml anew")
    parser.add_argument("--data", default="", help=f"folder of the data, where a command needs it (default: {DATA})")
    chosen = parser.parse_args(arguments)
    with one_line_errors():
        lines, well = verify(Workspace(), chosen.row, chosen.data or DATA)
        print("\n".join(lines))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
