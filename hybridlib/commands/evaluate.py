"""``hybridlib evaluate``: the language-bias report of any encoder."""

import argparse
import re
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """The arguments of the command."""
    evaluate = commands.add_parser(
        "evaluate", help="evaluate an encoder within languages, across them, and over a mixed pool",
        description="Prints four numbers; with --out writes report.html (one page), report.json, CSV tables and the "
                    "ranks.")
    evaluate.add_argument("--model", required=True, help="a hub name, a folder, or multilingual-e5-small")
    evaluate.add_argument("--test-set", required=True, metavar="NAME_OR_FOLDER",
                          help="xquad-r or mlqa-r, or a folder in BEIR's layout with a field language")
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
    from hybridlib.data import RELEASED, TestSet, load_test_set
    from hybridlib.devices import check_device
    from hybridlib.encoding import Prompts
    from hybridlib.evaluation import evaluate
    from hybridlib.files import check_writable

    # All that can be wrong without reading a text comes first.
    if (chosen.query_prompt is None) != (chosen.passage_prompt is None):
        raise ValueError("give both prompts, or neither to use the model's own")
    prompts = None if chosen.query_prompt is None else Prompts(chosen.query_prompt, chosen.passage_prompt)
    check_device(chosen.device)
    if chosen.out:
        from hybridlib.evaluation.figures import use_style

        use_style()
        check_writable(chosen.out)
    if chosen.test_set in RELEASED:
        test_set = load_test_set(chosen.test_set, chosen.data)
    elif chosen.data:
        raise ValueError("--data goes with xquad-r or mlqa-r; name a folder with --test-set alone")
    elif not re.search(r"[\\/.]", chosen.test_set) and not Path(chosen.test_set).is_dir():
        raise ValueError(f"no test set {chosen.test_set!r}: there are {', '.join(RELEASED)}, and there is no such "
                         "folder")
    else:
        test_set = TestSet.from_beir(chosen.test_set)
    report = evaluate(chosen.model, test_set, prompts, chosen.precision, chosen.device)
    print(report.text())
    if chosen.out:
        print(f"report: {report.write(chosen.out)}")
