"""Evidence within a budget: order, shares, what is begun, what is kept of a run and what can be had from it again."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from test_explore import toy_store

from hybridlib.errors import RunError
from hybridlib.evaluation import HEADLINE, NO_SEED, cells, draws_of, macro, per_query
from reproduction.commands import measure
from reproduction.commands.publish import publish_evidence
from reproduction.findings import plan
from reproduction.run import HYBRID, UNTRAINED, XX, XY, SettingsError, Store, System
from reproduction.run.evidence import KEPT, facts_of, gather, is_kept, keep, read_cells, read_ranks
from reproduction.workspace import Workspace


@pytest.fixture
def store(tmp_path, tiny_encoder):
    return toy_store(tmp_path, tiny_encoder)


def test_what_is_kept_of_runs_gives_the_same_numbers_and_intervals(store, tmp_path):
    folder = tmp_path / "kept"
    keep(folder, store, UNTRAINED, NO_SEED, ["toy"], ["centring-corpus"])
    keep(folder, store, XX, 0, ["toy"], ranks=["toy"])
    systems = [UNTRAINED, System.parse("untrained + centring-corpus"), XX]
    results, kept = store.results([0], systems=systems), read_cells(folder)
    assert len(kept) < len(results)
    for name in HEADLINE:
        known = macro(results, name).sort_index()
        np.testing.assert_allclose(macro(kept, name).sort_index(), known, rtol=1e-6)
        drawn = draws_of(results, name, 200), draws_of(kept, name, 200)
        np.testing.assert_allclose(drawn[1][list(drawn[0])], drawn[0], rtol=1e-6)
    written = gather(folder, tmp_path / "committed")
    committed = read_cells(tmp_path / "committed")
    assert [file.name for file in written] == ["kept.cells.parquet", "X-X-s0.toy.ranks.parquet", "toy.keys.parquet"]
    assert {x["system"] for x in facts_of(written[0])} == {"untrained", "X-X"}
    for name in KEPT:
        pd.testing.assert_series_equal(macro(committed, name).sort_index(), macro(kept, name).sort_index())
    ranks = read_ranks(tmp_path / "committed", store.run_folder(XX, 0).name, "toy")
    pd.testing.assert_frame_equal(ranks, store.ranks(XX, 0), check_column_type=False)
    assert is_kept(folder, store, XX, 0) and not is_kept(folder, store, XX, 1)


def test_what_is_asked_of_a_run_later_is_measured_and_two_devices_do_not_meet(store, tmp_path):
    folder = tmp_path / "kept"
    keep(folder, store, XX, 0, ["toy"], ["centring-corpus"])
    assert is_kept(folder, store, XX, 0, ["toy"], ["centring-corpus"])
    assert not is_kept(folder, store, XX, 0, ["toy"], ["erasure-corpus"])
    assert not is_kept(folder, store, XX, 0, ["toy"], ranks=["toy"])
    facts = store.run_folder(XX, 0) / "evaluation.toy.json"
    facts.write_text(facts.read_text("utf-8").replace('"device": "cpu"', '"device": "cuda"'), "utf-8")
    keep(tmp_path / "other", store, XX, 0, ["toy"])
    keep(tmp_path / "other", store, UNTRAINED, NO_SEED, ["toy"])
    with pytest.raises(RunError, match="two devices are not compared"):
        read_cells(tmp_path / "other")


def test_a_query_without_an_answer_in_its_language_is_not_counted_as_a_zero():
    ranks = pd.DataFrame({
        "question": ["a", "a", "b"], "cluster": "c", "query_language": "de", "language": ["de", "en", "en"], "grade": 1,
        "rank_in_language": [2, 1, 1], "rank_in_pool": [3, 1, 1], "top10": 1})
    table = per_query(ranks).assign(system="s", seed=0)
    added = cells(table).assign(system="s", seed=0)
    assert added["monolingual AP: queries"].tolist() == [1] and added["crosslingual AP: queries"].tolist() == [2]
    assert macro(added, "monolingual AP").item() == macro(table, "monolingual AP").item() == 0.5


def test_runs_of_two_precisions_are_refused_and_what_is_no_evidence_is_named(store, tmp_path):
    keep(tmp_path / "kept", store, XX, 0, ["toy"])
    file = tmp_path / "kept" / "X-X-s0.cells.parquet"
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({b"reproduction": b'{"precision": "bf16", "device": "cpu"}'}),
                   tmp_path / "kept" / "X-Y-s0.cells.parquet")
    with pytest.raises(RunError, match="two precisions are not compared: X-X-s0.cells.parquet is of float32, X-Y-s0"):
        read_cells(tmp_path / "kept")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "kept" / "X-Y-s0.cells.parquet")
    with pytest.raises(ValueError, match=r"X-Y-s0.cells.parquet: not a file of evidence"):
        read_cells(tmp_path / "kept")
    with pytest.raises(FileNotFoundError, match="no evidence"):
        read_cells(tmp_path)


def test_other_settings_are_other_evidence(store, tmp_path):
    keep(tmp_path / "kept", store, UNTRAINED, NO_SEED, ["toy"])
    assert facts_of(tmp_path / "kept" / "untrained.cells.parquet")[0]["device"] == "cpu"
    text = yaml.safe_load((tmp_path / "toy.yaml").read_text("utf-8")) | {"precision": "bf16"}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(text), "utf-8")
    assert not is_kept(tmp_path / "kept", Store.open(str(tmp_path / "toy")), UNTRAINED, NO_SEED)


def test_evidence_is_published_unless_it_lacks_a_run_that_is_committed(store, tmp_path):
    workspace = Workspace(root=tmp_path / "root")
    measured = workspace.runs / "toy" / "evidence" / "cpu" / "one"
    keep(measured, store, XX, 0, ["toy"])
    assert publish_evidence("toy", workspace) == (["evidence of one"], {})
    committed = workspace.results("toy") / "cpu" / "one" / "one.cells.parquet"
    before = committed.read_bytes()
    (measured / "X-X-s0.cells.parquet").unlink()
    keep(measured, store, XY, 0, ["toy"])
    assert publish_evidence("toy", workspace) == ([], {"evidence of one": "the new one lacks X-X of seed 0 on toy"})
    assert committed.read_bytes() == before


@pytest.mark.parametrize("name", ["mini", "xquad"])
def test_the_plan_names_what_there_is(name):
    items = plan.plan_of(Store.open(name, Workspace(data=None if name == "mini" else ROOT)))
    assert items and len(set(items)) == len(items)
    assert [(str(item.system), item.seed) for item in items[:4]] == [
        ("untrained", NO_SEED), ("X-X", 0), ("X-Y", 0), ("Hybrid", 0)]


def test_a_preset_without_a_plan_has_its_sweeps(tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "configs" / "evidence").mkdir(parents=True)
    for name in ("mini.yaml", "evidence/sweeps.yaml"):
        (tmp_path / "configs" / name).write_text((ROOT / "configs" / name).read_text("utf-8"), "utf-8")
    (tmp_path / "configs" / "evidence" / "plan.yaml").write_text("{}", "utf-8")
    items = plan.plan_of(Store.open("mini", Workspace(root=tmp_path)))
    assert [(str(item.system), item.seed) for item in items[:4]] == [
        ("X-Y", 0), ("X-X", 0), ("Hybrid", 0), ("Hybrid alpha=0.4", 0)]


def test_a_block_whose_data_are_not_there_is_named(tmp_path):
    for name in ("xquad-r", "mlqa-r"):
        (tmp_path / name).mkdir()
    store = Store.open("xquad", Workspace(data=tmp_path))
    assert plan.not_at_hand(store, plan.plan_of(store)) == {
        "domains": str(tmp_path / "ood" / "tico19"), "programming": str(tmp_path / "ood" / "python-faq"),
        "african": str(tmp_path / "ood" / "afriqa")}


def test_shares_are_disjoint_and_whole_and_keep_the_items_of_a_run_together():
    items = [plan.Item(block, system, seed, ()) for block in "ab" for seed in (0, 1) for system in (XX, XY, HYBRID)]
    shares = [plan.share(items, number, 4) for number in (1, 2, 3, 4)]
    assert sorted(str(item) for share in shares for item in share) == sorted(map(str, items))
    for part in shares:
        assert len({(item.system, item.seed) for item in part}) * 2 == len(part)


@pytest.mark.parametrize(("change", "reason"), [
    ({"systems": ["Hybird"]}, "no sampling .Hybird."), ({"seeds": 0}, "seeds is 0"), ({"seeds": [5, -1]}, "seeds is"),
    ({"test_sets": ["moon"]}, "moon"),
    ({"remedies": "subspace"}, "remedies must be a list"), ({"colour": 1}, "expected name, seeds, systems")])
def test_a_block_that_cannot_be_measured_is_refused_by_name(tmp_path, change, reason):
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "configs" / "evidence").mkdir(parents=True)
    (tmp_path / "configs" / "mini.yaml").write_text((ROOT / "configs" / "mini.yaml").read_text("utf-8"), "utf-8")
    block = {"name": "one", "systems": ["X-X"], "seeds": 1} | change
    (tmp_path / "configs" / "evidence" / "plan.yaml").write_text(yaml.safe_dump({"mini": [block]}), "utf-8")
    with pytest.raises((SettingsError, ValueError), match=reason):
        plan.plan_of(Store.open("mini", Workspace(root=tmp_path)))


def test_seeds_of_a_block_can_be_named(tmp_path):
    block = {"name": "one", "systems": ["untrained", "X-X"], "seeds": [5, 7]}
    found = list(plan._items(Store.open("mini"), block, "here"))
    assert [(str(item.system), item.seed) for item in found] == [("untrained", NO_SEED), ("X-X", 5), ("X-X", 7)]


class Toy:
    """A store and a clock: training takes a second a step, measuring ten seconds."""

    def __init__(self, monkeypatch, folder):
        self.now, self.done, self.folder, self.workspace = 0.0, [], folder, Workspace()
        monkeypatch.setattr(plan, "is_kept", lambda _, store, system, seed, *rest: (str(system), seed) in self.done)
        monkeypatch.setattr(plan, "keep", self.keep)
        monkeypatch.setattr(plan, "cost", lambda store, item, trained=(): self.price(item) if self.done else 0)

    def price(self, item):
        return 10 + item.system.setting("steps", 40)

    def train(self, system, seed):
        self.now += system.setting("steps", 40)

    def keep(self, folder, store, system, seed, *rest):
        self.now += 10
        self.done.append((str(system), seed))


def test_no_run_is_begun_that_does_not_fit_and_a_shorter_one_behind_it_is(monkeypatch, tmp_path):
    toy = Toy(monkeypatch, tmp_path)
    long, short = System.parse("X-X steps=400"), System.parse("X-X steps=20")
    items = [plan.Item("a", system, 0, ()) for system in (XX, long, XY, short, HYBRID)]
    left = plan.spend(toy, items, 130, tell=lambda text: None, clock=lambda: toy.now)
    # 50 and 50 seconds, then 30 are left, enough for 20 steps.
    assert toy.done == [("X-X", 0), ("X-Y", 0), ("X-X steps=20", 0)] and toy.now == 130
    assert [str(item.system) for item in left] == ["X-X steps=400", "Hybrid"]
    assert plan.rest(toy, left) == "left of a: 2 runs, about 8 minutes"
    # Asked again, it goes on.
    assert plan.spend(toy, items, 1000, tell=lambda text: None, clock=lambda: toy.now) == []
    assert len(toy.done) == 5 and plan.rest(toy, []) == "nothing is left"


HALF, TENTH = (System.parse(f"X-X trained_share={share}") for share in (0.5, 0.1))


def test_the_shares_of_a_run_stay_with_it_and_cost_one_training(store, monkeypatch):
    monkeypatch.setattr(plan, "facts_of", lambda file: [{"training seconds": 100.0, "steps": 10,
                                                         "measuring seconds": 7.0}])
    place = plan.folder_of(store, plan.Item("one", XX, 0, ()))
    place.mkdir(parents=True)
    (place / "known.cells.parquet").touch()
    items = [plan.Item("one", system, seed, ()) for seed in (5, 6) for system in (HALF, XX, TENTH, XY)]
    assert [len(plan.share(items, number, 4)) for number in (1, 2, 3, 4)] == [3, 1, 3, 1]
    steps = store.preset.settings(XX, 5).steps
    # A training of each of the four runs, at ten seconds a step, and eight evaluations.
    assert sum(plan._costs(store, items)) == pytest.approx(4 * 10 * steps + 8 * 7)
    assert plan.rest(store, items) == f"left of one: 8 runs, about {(40 * steps + 56) / 60:.0f} minutes"
    assert plan.cost(store, items[0], [(XX, 5)]) == 7
    both = plan.Item("one", System.parse("X-Y losses=[info_nce,symmetric]"), 5, ())
    assert plan.cost(store, both) == pytest.approx(2 * 10 * steps + 7), "a training each"


def test_a_share_and_the_run_that_it_was_made_of_are_discarded_together(store, monkeypatch):
    items = [plan.Item("one", system, 0, ()) for system in (HALF, TENTH)]
    half, whole, other = (store.run_folder(*run) for run in ((HALF, 0), (XX, 0), (XX, 1)))
    kept = {HALF}
    monkeypatch.setattr(plan, "is_kept", lambda _, store, system, *rest: system in kept)
    monkeypatch.setattr(plan, "cost", lambda store, item: 1.0)
    for folder in (half, whole, other):
        folder.mkdir(parents=True, exist_ok=True)
    assert plan.spend(store, items, 0.5, discard=True) == items[1:], "no time for the other share"
    assert half.is_dir() and whole.is_dir(), "which the whole is needed for"
    kept.add(TENTH)
    assert plan.spend(store, items, 0.5, discard=True) == []
    assert not half.exists() and not whole.exists() and other.is_dir()


def test_a_run_stays_while_another_mean_of_weights_needs_it(store, monkeypatch):
    one, both = System.parse("X-Y loss=symmetric"), System.parse("X-Y losses=[info_nce,symmetric]")
    items, kept = [plan.Item("one", system, 0, ()) for system in (one, both)], {one}
    monkeypatch.setattr(plan, "is_kept", lambda _, store, system, *rest: system in kept)
    monkeypatch.setattr(plan, "cost", lambda store, item: 1.0)
    folders = [store.run_folder(system, 0) for system in (one, XY, both)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    assert plan.spend(store, items, 0.5, discard=True) == items[1:] and all(folder.is_dir() for folder in folders)
    kept.add(both)
    assert plan.spend(store, items, 0.5, discard=True) == [] and not any(folder.exists() for folder in folders)


def test_the_budget_goes_from_the_command_line_to_evidence(store, tmp_path, capsys, monkeypatch):
    items = [plan.Item("one", XX, 0, ("toy",), ("centring-corpus",)), plan.Item("two", XX, 0, ("toy",))]
    monkeypatch.setattr(measure, "plan_of", lambda store: items)
    arguments = ["--preset", str(tmp_path / "toy"), "--budget", "10m", "--runs", str(store.workspace.runs), "--discard"]
    measure.main(arguments)
    shown = capsys.readouterr().out
    assert "one: X-X, seed 0: " in shown and "two: X-X, seed 0: " in shown and "nothing is left" in shown
    evidence = plan.folder_of(store, items[0])
    assert set(read_cells(evidence)["system"]) == {"X-X", "X-X + centring-corpus"}
    assert not store.run_folder(XX, 0).exists()
    # What was discarded is not trained anew for what is kept.
    measure.main(arguments)
    assert capsys.readouterr().out.startswith("nothing is left")
    assert plan.cost(store, replace(items[0], system=UNTRAINED, seed=NO_SEED)) > 0


def test_a_run_costs_what_those_before_it_took(store, tmp_path):
    def kept(block, name, **facts):
        folder = store.folder / "evidence" / "cpu" / block
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({"x": [1]}).replace_schema_metadata({b"reproduction": json.dumps(facts).encode()})
        pq.write_table(table, folder / f"{name}.cells.parquet")

    kept("a", "one", steps=10, **{"training seconds": 20, "measuring seconds": 30})
    kept("a", "two", steps=10, **{"training seconds": 40, "measuring seconds": 50})
    kept("a", "ranked before", steps=None, **{"training seconds": None, "measuring seconds": None})
    kept("b", "three", steps=None, **{"training seconds": None, "measuring seconds": 7})
    # Three seconds a step; measuring takes 40 in the one block and 7 in the other; the toy's X-X of seed 0 is trained.
    ten = System.parse("X-X steps=10 eval_steps=5")
    for block, system, seconds in (("a", ten, 70), ("b", ten, 37), ("b", XX, 7), ("new", ten, 30)):
        assert plan.cost(store, plan.Item(block, system, 0, ("toy",))) == seconds


@pytest.mark.parametrize(("given", "reason"), [
    (["--budget", "soon"], "a budget of 'soon': expected a time such as 90s"), (["--budget", "10"], "a budget of '10'"),
    (["--budget", "1m", "--share", "3/2"], "--share 3/2: expected such as 2/4"),
    (["--budget", "1m", "--blocks", "moon"], "no block moon; the plan has: headline")])
def test_a_command_that_cannot_be_followed_is_refused_in_a_line(given, reason):
    with pytest.raises(SystemExit, match=f"error: {reason}"):
        measure.main(["--preset", "mini", *given])
