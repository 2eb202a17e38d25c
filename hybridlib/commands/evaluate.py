"""``hybridlib evaluate``: the language-bias report of any encoder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hybridlib.commands.test_sets import check_no_data, named_test_set

if TYPE_CHECKING:
    from hybridlib.data import TestSet


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """The arguments of the command."""
    evaluate = commands.add_parser(
        "evaluate", help="evaluate an encoder within languages, across them, and over a mixed pool",
        description="Prints four numbers, and where answers in the language of a query stand; with --out writes "
                    "report.html (one page), report.json, CSV tables and the ranks. Several models are compared with "
                    "the first, and each has a folder of its own.")
    evaluate.add_argument("--model", required=True, action="append",
                          help="a hub name, a folder, or multilingual-e5-small; several times to compare")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--test-set", metavar="NAME_OR_FOLDER",
                        help="xquad-r or mlqa-r, or a folder in BEIR's layout with a field language")
    source.add_argument("--queries", type=Path, metavar="QUERIES.jsonl",
                        help="instead, with --corpus and --qrels: the three files of BEIR's layout, wherever they are")
    evaluate.add_argument("--corpus", type=Path, metavar="CORPUS.jsonl")
    evaluate.add_argument("--qrels", type=Path, metavar="QRELS.tsv")
    evaluate.add_argument("--data", type=Path, help="folder of the released files of xquad-r or mlqa-r; else they are "
                                                    "downloaded")
    evaluate.add_argument("--out", type=Path, help="folder of the report; needs hybridlib[report]")
    evaluate.add_argument("--query-prompt", help="default: the model's own")
    evaluate.add_argument("--passage-prompt", help="default: the model's own")
    evaluate.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    evaluate.add_argument("--device", default="cpu")
    return evaluate


def run(chosen: argparse.Namespace) -> None:
    """Evaluate as the arguments say."""
    # Here, so that --help and a typing error are answered at once.
    from hybridlib.devices import check_device
    from hybridlib.encoding import Prompts, load
    from hybridlib.evaluation import compare, evaluate
    from hybridlib.files import check_writable

    # All that can be wrong without reading a text comes first.
    if (chosen.query_prompt is None) != (chosen.passage_prompt is None):
        raise ValueError("give both prompts, or neither to use the model's own")
    prompts = None if chosen.query_prompt is None else Prompts(chosen.query_prompt, chosen.passage_prompt)
    if len({chosen.queries is None, chosen.corpus is None, chosen.qrels is None}) > 1:
        raise ValueError("--queries, --corpus and --qrels go together; or name a folder that holds all three with "
                         "--test-set")
    check_device(chosen.device)
    if chosen.out:
        from hybridlib.evaluation.figures import use_style

        use_style()
        check_writable(chosen.out)
    test_set = _test_set(chosen)
    for name in chosen.model[1:]:
        load(name)  # refused here, not after the first model has been at work for an hour
    reports = []
    for number, name in enumerate(chosen.model, 1):
        report = evaluate(name, test_set, prompts, chosen.precision, chosen.device)
        reports.append(report)
        print(report.text())
        if chosen.out:
            # Numbered, since models in different folders may have the same name.
            place = chosen.out if len(chosen.model) == 1 else chosen.out / f"{number}-{Path(name).name}"
            print(f"report: {report.write(place)}")
    for number, report in enumerate(reports[1:], 2):
        comparison = compare(report, reports[0])
        print(comparison.text())
        if chosen.out:
            place = chosen.out if len(reports) == 2 else chosen.out / f"{number}-minus-1"
            print(f"comparison: {comparison.write(place)}")


def _test_set(chosen: argparse.Namespace) -> "TestSet":
    """The test set that the arguments name."""
    from hybridlib.data import TestSet

    if not chosen.queries:
        return named_test_set(chosen.test_set, chosen.data)
    check_no_data(chosen.data)
    return TestSet.from_files(chosen.queries, chosen.corpus, chosen.qrels, chosen.queries.resolve().parent.name)
