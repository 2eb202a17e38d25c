"""The ledger: every number in README and docs has a row and is what its row computes; else it is found out."""

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from simulated import simulated

from hybridlib.errors import RunError
from hybridlib.evaluation import HEADLINE, cells, differences
from reproduction.commands.verify import verify
from reproduction.findings.ledger import AS_PRINTED, Ledger, judge
from reproduction.findings.ledger_page import PAGE, page
from reproduction.findings.markdown import Document
from reproduction.workspace import Workspace

HOW = "run `make verify`, see the docstring of reproduction/findings/ledger.py"


@pytest.fixture(scope="module")
def ledger():
    return Ledger(Workspace())


@pytest.fixture(scope="module")
def found(ledger):
    return {name: ledger.check(name) for name in ledger.rows}


def test_every_number_is_what_its_row_computes(ledger, found):
    wrong = [f"{ledger.rows[name].stands}:{one.line}: {name}: prints {one.printed}, its source has {one.value}"
             for name, all_ in found.items() for one in all_ if one.status not in ("OK", AS_PRINTED)]
    assert not wrong, HOW


def test_every_number_has_a_row(ledger):
    assert not ledger.without_row(), HOW


def test_the_page_is_what_the_ledger_says(ledger):
    assert (ROOT / PAGE).read_text("utf-8") == page(ledger), HOW


def test_most_numbers_are_computed(found):
    """A ledger that takes numbers as they are printed would hold everything."""
    every = [one.status for all_ in found.values() for one in all_]
    assert sum(status == "OK" for status in every) > 2 * sum(status == AS_PRINTED for status in every)


def changed(text, number):
    """A text in which the last digit of a number is another one."""
    place = number.start + re.search(r"\d(?=\D*$)", number.text).start()
    return text[:place] + str((int(text[place]) + 5) % 10) + text[place + 1:]


def test_no_number_of_ours_can_change_unseen(ledger):
    """One number of each row, drawn with a seed, gets another last digit."""
    rng, unseen = np.random.default_rng(0), []
    for name, row in ledger.rows.items():
        document, numbers = ledger.documents[row.stands], ledger.claimed(name)
        number = numbers[rng.integers(len(numbers))]
        ledger.documents[row.stands] = replace(document, text=changed(document.text, number))
        try:
            if all(one.status in ("OK", AS_PRINTED) for one in ledger.check(name)):
                unseen.append(f"{name}: {number.text}")
        except ValueError:
            pass  # the words do not stand there any more
        finally:
            ledger.documents[row.stands] = document
    assert not unseen and len(ledger.rows) > 50


@pytest.mark.parametrize(("text", "numbers"), [
    ("from .8 to 0.81, +3 and −2 [−.1, +.2]", [".8", "0.81", "+3", "−2", "−.1", "+.2"]),
    ("| 8 | **9** | 3 of 4 | 5 |", ["8", "9", "5"]),
    ("| *410* | *1206.4* | 1,190 | 3e-5 |", ["410", "1206.4", "1,190", "3e-5"]),
    ("29 to 35 %, 2 minutes, 4 GB, 5 seeds, **47 times**", ["29", "35", "2", "4", "5", "47"]),
    ("in 2026, 11 languages, seed 0, 2 to 4 of 7", []),
    ("`steps=150` [a](b/0.5) nDCG@10 NLLB-200 10^5 e5 4.2GB\n\n    make 0.5\n\n```\n.5\n```\n", []),
    ("a `b\nc` .5 and ``` .6", [".5", ".6"]),
])
def test_numbers_that_state_something(text, numbers):
    assert [number.text for number in Document("", text).numbers] == numbers


@pytest.mark.parametrize(("printed", "value", "status"), [
    (".648", 0.6475, "OK"), (".647", 0.6475, "OK"), (".648", 0.6474, "close"), (".648", 0.6464, "FAIL"),
    ("−.000", -0.0002, "OK"), ("+.000", -0.0002, "close"), (".004", -0.004, "FAIL"), ("+11.4", 11.41, "OK"),
    ("1,206", 1206.4, "OK"), ("3e-5", 2.79e-5, "OK"), ("1e-16", 2e-16, "FAIL")])
def test_a_value_is_what_is_printed_or_not(printed, value, status):
    assert judge(printed, value)[0] == status


def test_a_tolerance_is_absolute_below_one_and_relative_above():
    assert [judge(".500", 0.5 + off, 0.01)[0] for off in (0.009, 0.019, 0.021)] == ["OK", "close", "FAIL"]
    assert [judge("400", 400 + off, 0.01)[0] for off in (3.9, 7.9, 8.1)] == ["OK", "close", "FAIL"]


README = """# Toy

X-Y has .500 over the pool, X-X .250 (a half of it, 50 %), in 7 minutes.

| | pool | distance |
|---|---|---|
| X-Y, alpha .5 | .500 | 30 |
| *X-X* | 0.250 [.2, .3] | 410 |
"""
TABLE = """benchmark,system,seed,monolingual AP,crosslingual AP,multilingual AP,rank distance
toy,X-Y,0,0,0,0.4,20
toy,X-Y,1,0,0,0.6,40
toy,X-X,0,0,0,0.25,410
"""
ROWS = {
    "half": {"stands": "README.md", "quote": "has .500 over the pool, X-X .250 (a half of it, 50 %)",
             "source": "results/toy/sweep.csv", "let": {"a": {"system": "X-Y"}, "b": {"system": "X-X"}},
             "values": ["a.multilingual_AP", "b.multilingual_AP", "100 * b.multilingual_AP / a.multilingual_AP"]},
    "time": {"stands": "README.md", "quote": "in 7 minutes", "command": "train"},
    "lines": {"stands": "README.md", "below": "# Toy", "source": "results/toy/sweep.csv",
              "lines": {"X-Y, alpha .5": {"system": "X-Y"}, "X-X": {"system": "X-X"}},
              "columns": {"distance": {"values": ["d.rank_distance"]}}},
    "first": {"stands": "README.md", "quote": "| .500 |", "source": "results/toy/sweep.csv",
              "where": {"system": "X-Y"}, "values": ["d.multilingual_AP"]},
    "interval": {"stands": "README.md", "quote": "0.250 [.2, .3]", "source": "results/toy/sweep.csv",
                 "where": {"system": "X-X"}, "values": ["d.multilingual_AP", None, None]},
}
COMMANDS = {"train": {"run": "true", "machine": "a toy", "makes": ["results/toy/sweep*.csv"], "tolerance": 0.1}}


@pytest.fixture
def toy(tmp_path):
    """A function that writes a small repository, some rows of its ledger changed, and returns its workspace."""
    def write(readme=README, table=TABLE, commands=COMMANDS, without=(), **rows):
        for folder in ("docs", "results/toy", "configs/evidence"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "README.md").write_text(readme, "utf-8")
        (tmp_path / "results/toy/sweep.csv").write_text(table, "utf-8")
        kept = {name: ROWS.get(name, {}) | rows.get(name, {}) for name in {**ROWS, **rows} if name not in without}
        ledger = yaml.safe_dump({"commands": commands, "rows": kept}, sort_keys=False)
        (tmp_path / "results/ledger.yaml").write_text(ledger, "utf-8")
        return Workspace(root=tmp_path)
    return write


def test_a_ledger_that_holds(toy):
    workspace = toy()
    lines, well = verify(workspace)
    assert well and lines[-1] == "numbers: 7 OK, 0 close, 0 FAIL, 4 as printed, 0 without a row"
    assert lines[1] == "as printed  README.md:3  time: 0 computed, 1 as printed (measured by: true)"
    assert (workspace.root / PAGE).read_text("utf-8") == page(Ledger(workspace))


def test_a_number_without_a_row_is_named_with_its_line(toy):
    lines, well = verify(toy(README + "\nAnd .123 more.\n"))
    assert not well and "no row      README.md:10: .123: And .123 more." in lines
    assert Ledger(toy(without=["time"])).without_row() == [f"README.md:3: 7: {README.splitlines()[2]}"]


def test_a_number_without_a_row_in_docs(toy):
    workspace = toy()
    (workspace.root / "docs" / "how.md").write_text("It takes 3 GB.", "utf-8")
    # The diary of strangers is a record of its own.
    (workspace.root / "docs" / "reproduction-log.md").write_text("It took 9 minutes.", "utf-8")
    assert Ledger(workspace).without_row() == ["docs/how.md:1: 3: It takes 3 GB."]


def test_a_changed_number_is_found(toy):
    lines, well = verify(toy(README.replace("| 410 |", "| 430 |")))
    assert not well and "    FAIL: line 8 prints 430, now 410" in "\n".join(lines).splitlines()
    lines, well = verify(toy(README.replace("in 7 minutes", "in 8 minutes")))
    assert not well and "FAIL        row time: “in 7 minutes” stands 0 times in README.md, not once" in lines


def test_a_changed_table_is_found(toy):
    lines, well = verify(toy(table=TABLE.replace("0.6", "0.7")))
    assert not well and lines[-1] == "numbers: 4 OK, 0 close, 3 FAIL, 4 as printed, 0 without a row"
    lines, well = verify(toy(table=TABLE.replace("0.25,", "0.2506,")))
    assert not well and "    close: line 8 prints 0.250, now 0.251" in "\n".join(lines).splitlines()


def test_an_outdated_page_is_found(toy):
    workspace = toy()
    verify(workspace)
    before = (workspace.root / PAGE).read_text("utf-8")
    assert page(Ledger(toy(time={"note": "on a good day"}))) != before
    assert page(Ledger(toy())) == before


@pytest.mark.parametrize(("row", "message"), [
    ({"quote": "in 7 hours"}, "row time: “in 7 hours” stands 0 times in README.md, not once"),
    ({"quote": ".500"}, "row time: “.500” stands 2 times in README.md, not once"),
    ({"quote": "# Toy"}, "row time: no number stands there"),
    ({"source": "results/toy/sweep.csv", "where": {"system": "Z"}, "values": ["d.seed"]},
     "row time: results/toy/sweep.csv has no line with {'system': 'Z'}"),
    ({"source": "results/toy/sweep.csv", "where": {"remedy": "Z"}, "values": ["d.seed"]},
     "row time: results/toy/sweep.csv has no column 'remedy'; it has: benchmark, system, seed, "),
    ({"source": "results/toy/sweep.csv", "values": ["d.seed"]},
     "row time: results/toy/sweep.csv has several values of 'system' with {}: X-Y, X-X"),
    ({"source": "results/toy/sweep.csv", "where": {"system": "X-X"}, "values": ["d.mean"]}, "no attribute 'mean'"),
    ({"source": "results/toy/sweep.csv", "where": {"system": "X-X"}, "values": ["d.seed", "d.seed"]},
     r"row time: README.md:3 has 1 numbers \(7\), the row 2 values"),
    ({"source": "results/toy/other.csv", "values": ["d.seed"]}, "row time: .*other.csv"),
])
def test_a_wrong_row_is_refused(toy, row, message):
    with pytest.raises(ValueError, match=message.replace("{}", r"\{\}")):
        Ledger(toy(time=row)).check("time")


@pytest.mark.parametrize(("row", "message"), [
    ({"lines": {"X-Z": {}}}, "has no line “X-Z”; it has: X-Y, alpha .5, X-X"),
    ({"columns": {"pol": {}}}, "has no column “pol”; it has: , pool, distance"),
    ({"columns": {"pool": {"values": [None]}}}, "“X-X”, “pool”: quote the lines whose numbers no table holds"),
    ({"columns": {"pool": {}}}, "“X-X”, “pool”: quote the lines"),
])
def test_a_wrong_row_of_a_table_is_refused(toy, row, message):
    workspace = toy(lines={"lines": {"X-X": {"system": "X-X"}}} | row)
    with pytest.raises(ValueError, match=re.escape(message)):
        Ledger(workspace).check("lines")


@pytest.mark.parametrize(("row", "message"), [
    ({"below": "# Toy"}, "row time: give either quote or below"),
    ({"command": "walk"}, "row time: give a source, or one of the commands: train"),
    ({"quotes": "7"}, "row time: .*unexpected keyword argument 'quotes'"),
    ({"stands": "docs/ledger.md"}, "row time: stands in none of README.md"),
])
def test_a_malformed_row_is_refused(toy, row, message):
    with pytest.raises(ValueError, match=message):
        Ledger(toy(time=row))


def test_verdicts_are_judged_anew(toy):
    """By hand: Holm takes three times the smallest p-value, .03, and twice the next; only claim 1 is shown at .05."""
    workspace = toy(README + "\n**reproduced** | **undecided**, 30 minutes.\n", verdict={
        "stands": "README.md", "quote": "undecided**, 30 minutes", "source": "results/toy/claims_parts.csv",
        "where": {"claim": 2}, "values": ["d.verdict", "d.seeds_needed"]})
    (workspace.configs / "evidence" / "claims.yaml").write_text("rules: {level: 0.05}\nclaims: []\n", "utf-8")
    parts = workspace.root / "results/toy/claims_parts.csv"
    parts.write_text("claim,difference,p_for,p_against,seeds_needed\n"
                     "1,.1,.01,1,3\n2,.1,.03,1,30\n3,.1,.04,1,9\n", "utf-8")
    assert [one.status for one in Ledger(workspace).check("verdict")] == ["OK", "OK"]
    parts.write_text(parts.read_text("utf-8").replace(".03", ".02"), "utf-8")  # twice that is shown
    one, _ = Ledger(workspace).check("verdict")
    assert (one.status, one.value) == ("FAIL", "reproduced")


def evidence(folder, shift=0.0):
    """The evidence of two systems, two seeds each, as runs leave it; their results query by query."""
    results = simulated(np.random.default_rng(0), effect=1 + shift, seeds=2, systems=("X-X", "X-Y"))
    results = results.assign(benchmark="toy", **{str(measure): results["m"] for measure in HEADLINE})
    folder.mkdir(parents=True, exist_ok=True)
    for (system, seed), rows in results.groupby(["system", "seed"]):
        table = pa.Table.from_pandas(cells(rows, ["m", *HEADLINE]).assign(
            benchmark="toy", system=system, sampling=system, seed=seed))
        pq.write_table(table.replace_schema_metadata({b"reproduction": b'{"precision": "fp32", "device": "cpu"}'}),
                       folder / f"{system}-s{seed}.cells.parquet")
    return results


def test_means_and_intervals_are_computed_from_the_evidence_of_runs(toy, tmp_path):
    results = evidence(tmp_path / "results/toy/cuda/headline")
    known = differences(results, "X-Y", "X-X", ["m"]).loc["m"]
    mean = results[results["system"] == "X-Y"]["m"].mean()
    quote = f"{mean:.4f} or {known['difference']:+.4f} [{known['low']:+.4f}, {known['high']:+.4f}]"
    where = {"benchmark": "toy", "system": "X-Y", "measure": "m"}
    row = {"stands": "README.md", "source": "results/toy/cuda/headline", "where": where,
           "quote": quote.replace("-", "−"),
           "let": {"alone": {}, "d": {"reference": "X-X"}},
           "values": ["alone.value", "d.difference", "d.low", "d.high"]}
    readme = f"{README}\n{row['quote']}\n"
    workspace = toy(readme, runs=row)
    assert [one.status for one in Ledger(workspace).check("runs")] == ["OK"] * 4
    # Beside the sweep's, which is of another machine.
    mean = results[results["system"] == "X-X"]["m"].mean()
    text = page(Ledger(workspace))
    assert f"| X-X |  |{f' {mean:.3f} |' * 3} {mean:.1f} | 2 |" in text
    assert "| X-X |  | 0.000 | 0.000 | 0.250 | 410.0 | 1 | [train](#train) |" in text
    # Of runs that were made here, in place of the committed ones.
    evidence(workspace.runs / "toy" / "evidence" / "cuda" / "headline", shift=0.5)
    assert [one.status for one in Ledger(workspace, fresh=True).check("runs")] == ["FAIL"] * 4
    for wrong in ({"measure": "n"}, {"system": "X-Z"}, {"benchmark": "other"}):
        with pytest.raises(ValueError, match="results/toy/cuda/headline"):
            Ledger(toy(readme, runs=row | {"where": where | wrong})).check("runs")


def again(table):
    """A command that leaves a table where a sweep leaves it, and fails where it is told what `make verify` was told."""
    lines = table.replace("\n", r"\n")
    return {"train": COMMANDS["train"] | {
        "run": f'test -z "$MAKEFLAGS" && test {{data}} = data && mkdir -p runs/toy/report/results && '
               f"printf '{lines}' > runs/toy/report/results/sweep.csv"}}


def test_a_row_is_measured_anew_and_compared(toy, monkeypatch, capfd):
    monkeypatch.setenv("MAKEFLAGS", "DATA=elsewhere")
    lines, well = verify(toy(commands=again(TABLE.replace("410", "440"))), "lines", "data")
    assert well and lines[0].startswith("OK          README.md:7  lines: 2 computed, 1 as printed (measured by: test")
    assert "$ test -z" in capfd.readouterr().out
    for distance, worst in (("480", "close"), ("500", "FAIL")):
        lines, well = verify(toy(commands=again(TABLE.replace("410", distance))), "lines", "data")
        assert lines[0].startswith(worst) and f"    {worst}: line 8 prints 410, now {distance}" in lines[0]
        assert well == (worst == "close")
    # The committed table is another one still.
    assert verify(toy())[1]


@pytest.mark.parametrize(("commands", "row", "message"), [
    (COMMANDS, "tabel", "no row 'tabel'; there are: half, time, lines, first, interval"),
    ({"train": COMMANDS["train"] | {"run": "exit 3"}}, "time", "`exit 3` ended with status 3"),
    ({"train": COMMANDS["train"] | {"makes": []}}, "half", "row 'half' is computed: no command makes it"),
])
def test_a_run_that_cannot_be_is_refused(toy, commands, row, message):
    with pytest.raises(RunError, match=message):
        verify(toy(commands=commands), row)
