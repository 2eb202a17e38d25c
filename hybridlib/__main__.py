"""``python -m hybridlib evaluate``: the language-bias report of any encoder."""

import argparse
import re
import sys
from pathlib import Path

from hybridlib import benchmarks, encoders, figures, report


def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m hybridlib")
    commands = top.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser(
        "evaluate", help="evaluate an encoder within languages, across them, and over a mixed pool",
        description="Writes report.html (one page), report.json, CSV tables and the ranks; prints four numbers.")
    evaluate.add_argument("--model", required=True, help="a hub name, a folder, or multilingual-e5-small")
    evaluate.add_argument("--benchmark", required=True, choices=["mini", *benchmarks.RELEASED])
    evaluate.add_argument("--data", type=Path, help="folder of the released files; else they are downloaded")
    evaluate.add_argument("--out", type=Path, help="folder of the report; default reports/<benchmark>/<model>")
    evaluate.add_argument("--query-prompt", help="default: the model's own")
    evaluate.add_argument("--passage-prompt", help="default: the model's own")
    evaluate.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    evaluate.add_argument("--device", default="cpu")
    return top


def main(arguments=None):
    """Run the command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    if (chosen.query_prompt is None) != (chosen.passage_prompt is None):
        parser().error("give both prompts, or neither to use the model's own")
    prompts = None if chosen.query_prompt is None else encoders.Prompts(chosen.query_prompt, chosen.passage_prompt)
    out = chosen.out or Path("reports", chosen.benchmark, re.sub(r"[^\w.-]+", "_", chosen.model).strip("_"))
    try:
        benchmark = benchmarks.load(chosen.benchmark, chosen.data)
        figures.use_style()
        found = report.evaluate(chosen.model, benchmark, out, prompts, chosen.precision, chosen.device)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(found.text())
    print(f"report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
