"""Presets: pinned data, held-out selection, settings that name everything; and files that cannot be used."""

import json

import pytest
import yaml
from conftest import ROOT, SHARED

from hybridlib import files
from hybridlib.data import CorpusError
from reproduction.run import HYBRID, XX, XY, Preset, SettingsError, Store, System
from reproduction.sources.articles import read_articles
from reproduction.sources.ood import belebele
from reproduction.workspace import Workspace

PUBLIC = ROOT / "data" / "public"
KEYS = json.loads((ROOT / "tests" / "reproduction" / "keys.json").read_text("utf-8"))


def test_the_corpus_is_the_pinned_one_and_clean():
    data = Preset("mini").entries
    entries = [*data["training"], data["selection"], *data["benchmarks"]]
    paths = [ROOT / entry["file"] for entry in entries]
    assert [files.sha256(path) for path in paths] == [entry["sha256"] for entry in entries]
    assert len(read_articles(*paths)) == 120


@pytest.mark.parametrize("name", list(KEYS))
def test_no_trained_run_is_orphaned(name):
    # Folder names and keys as the first version of the project computed them, of all systems that it ever swept; those
    # of xquad since its training sets are built from their public homes.
    store = Store.open(name, Workspace(data=None if name == "mini" else ROOT))
    sweeps = yaml.safe_load((ROOT / "configs" / "evidence" / "sweeps.yaml").read_text("utf-8"))[name]
    systems = {System.parse(text).base for sweep in sweeps.values() for text in sweep}
    systems |= {System.parse(text) for text in ("untrained", "X-X mini_batch_size=8", "intfloat/multilingual-e5-base")}
    found = {store.run_folder(system, seed).name: files.key(store.preset.choices(system, seed))
             for system in systems for seed in (0, 3)}
    assert found == KEYS[name]


def test_changed_data_is_refused(tmp_path):
    (tmp_path / "data" / "mini").mkdir(parents=True)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for name in ("train", "selection", "test"):
        (tmp_path / "data" / "mini" / f"{name}.jsonl").write_text("{}\n")
    with pytest.raises(CorpusError, match="train.jsonl: sha256 is"):
        Preset("mini", Workspace(root=tmp_path)).training_sets  # noqa: B018


def test_unknown_presets_and_missing_folders():
    with pytest.raises(ValueError, match="no preset 'maxi'; there are: mini, mmarco, paper, paper-labse, xquad"):
        Preset("maxi")
    with pytest.raises(ValueError, match="DATA=<folder>"):
        Preset("xquad")
    with pytest.raises(ValueError, match="preset 'mini' reads its data from the repository, not from /nowhere"):
        Preset("mini", Workspace(data="/nowhere"))
    with pytest.raises(FileNotFoundError, match="docs.jsonl: no such file"):
        Preset("xquad", Workspace(data="/nowhere")).training_sets  # noqa: B018


def test_settings_name_the_data_and_all_choices():
    mini = Preset("mini")
    settings = mini.settings(HYBRID, 7)
    assert (settings.sampling, settings.alpha, settings.seed) == ("Hybrid", 0.5, 7)
    assert settings.data[0][0] == "data/mini/train.jsonl" and len(settings.data[0][1]) == 64
    assert mini.settings(XX, 7).alpha == 1 and mini.settings(XY, 7).alpha == 0


def test_a_system_names_what_it_changes():
    mini, store = Preset("mini"), Store.open("mini")
    changed = mini.choices(System.parse("X-X temperature=0.05 groups=64"), 0)
    assert changed == mini.choices(XX, 0) | {"temperature": 0.05, "groups": 64}
    assert mini.choices(System.parse("Hybrid alpha=0.5"), 0) == mini.choices(HYBRID, 0)
    assert store.run_folder(System.parse("Hybrid alpha=0.4"), 2).name == "Hybrid-alpha-0.4-s2"
    with pytest.raises(SettingsError, match="'X-X heat=1': no setting heat in configs/mini.yaml"):
        mini.settings(System.parse("X-X heat=1"), 0)
    with pytest.raises(SettingsError, match="'X-X alpha=0.4' of configs/mini.yaml: alpha is 0.4, and X-X has none"):
        mini.settings(System.parse("X-X alpha=0.4"), 0)


@pytest.mark.parametrize(("change", "reason"), [
    ("groups=0", "groups is 0"), ("max_length=0", "max_length is 0"), ("eval_steps=0", "eval_steps is 0"),
    ("temperature=1e-30", "temperature is 1e-30"), ("temperature=hot", "temperature is 'hot'"),
    ("when_unable=skip", "when_unable is 'skip'"), ("precision=fp16", "precision is 'fp16'"),
    ("languages=[no,de]", "languages is .False, 'de'"), ("languages=[de,de]", "different language codes"),
    ("languages=de", "languages is 'de'"), ("batch_size=1", "batch_size is 1"), ("batch_size=8.0", "batch_size is 8.0"),
    ("steps=true", "steps is True"),
    ("loss=mse", "loss is 'mse', expected one of info_nce, symmetric, centred, distillation"),
    ("loss=symmetric mini_batch_size=8", "mini_batch_size is 8, and loss=symmetric takes none"),
    ("trainable_layers=0", "trainable_layers is 0"), ("mini_batch_size=0", "mini_batch_size is 0"),
    ("weight_decay=-1", "weight_decay is -1"), ("learning_rate=0", "learning_rate is 0"),
    ("seed=1", "no setting seed")])
def test_a_changed_setting_that_cannot_be_used_is_refused_by_name(change, reason):
    with pytest.raises(SettingsError, match=f"'X-X {change.partition('=')[0]}=.*{reason}"):
        Preset("mini").settings(System.parse(f"X-X {change}"), 0)


def test_fewer_groups_are_part_of_more():
    mini = Preset("mini")
    kept = {n: set(mini.sampler(System.parse(f"X-X groups={n}"), 0).corpora[0].ids) for n in (40, 100)}
    assert len(kept[40]) == 40 and kept[40] < kept[100] and len(kept[100]) == 100
    with pytest.raises(SettingsError, match="groups=999, and the training sets have 216"):
        mini.sampler(System.parse("X-X groups=999"), 0)
    with pytest.raises(SettingsError, match="sets: no training set nothere; there are: train"):
        mini.sampler(System.parse("X-X sets=[nothere]"), 0)


PARAGRAPHS = {"format": "lareqa-paragraphs", "name": "p", "folder": "xquad-r", "languages": ["de", "en"]}


def with_further(folder, *entries):
    """A preset like mini, with further test sets."""
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8"))
    config["data"]["further"] = list(entries)
    (folder / "mine.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return Preset(str(folder / "mine"))


def test_further_test_sets_are_read_when_they_are_asked_for_and_no_sooner(tmp_path):
    for name in ("queries", "corpus"):
        (tmp_path / f"{name}.jsonl").write_text('{"_id": "1", "language": "de", "text": "?"}\n', "utf-8")
    (tmp_path / "qrels.tsv").write_text("1\t1\t1\n", "utf-8")
    preset = with_further(tmp_path, {"format": "beir", "name": "there", "folder": str(tmp_path)},
                          {"format": "beir", "name": "away", "folder": str(tmp_path / "nowhere")})
    # Nothing is read by these, so that one whose folder is missing does no harm.
    assert list(preset.further) == ["there", "away"] and "away" in preset.further and len(preset.further) == 2
    assert list(preset.test_sets) == ["mini"]
    found = preset.further["there"]
    assert found.name == "there" and len(found.queries) == 1 and preset.further["there"] is found
    with pytest.raises(FileNotFoundError, match="nowhere/queries.jsonl: no such file"):
        preset.further["away"]


def test_a_third_of_belebele_is_every_third_language_and_german():
    (entry,) = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8"))["data"]["further"]
    assert entry["languages"] == sorted([*belebele.LANGUAGES[::3], "deu_Latn"]) and len(entry["languages"]) == 69
    assert entry["clusters"] == [f"p{n:03d}" for n in range(488) if n not in belebele.left_out()][::3]
    assert len(entry["clusters"]) == 100


def test_some_languages_of_a_further_test_set(tmp_path):
    for name in ("queries", "corpus"):
        lines = [json.dumps({"_id": x, "language": x, "text": x}) for x in ("de", "en", "fr")]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    (tmp_path / "qrels.tsv").write_text("de\tde\t1\nen\tfr\t1\nfr\tde\t1\n", "utf-8")
    entry = {"format": "beir", "name": "some", "folder": str(tmp_path), "languages": ["de", "en"]}
    found = with_further(tmp_path, entry).further["some"]
    assert found.languages == ("de", "en") and found.queries["text"].tolist() == ["de"] and found.left_out == 1
    with pytest.raises(ValueError, match="test set 'some' has no language 'xx', cluster 'c'"):
        with_further(tmp_path, entry | {"languages": ["xx"], "clusters": ["c"]}).further["some"]


def test_further_test_sets_change_no_key(tmp_path):
    assert with_further(tmp_path, PARAGRAPHS).choices(XX, 0) == Preset("mini").choices(XX, 0)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"name": "mini"}, "benchmarks and further: 'mini' stands there twice"),
    ({"format": "csv"}, "further: format is 'csv', expected one of articles, lareqa, beir, lareqa-paragraphs"),
    ({"format": "beir", "queries": ["de"]}, "further: an entry of format beir has no setting queries"),
    ({"format": "beir", "languages": "de"}, "further: languages is 'de', expected a list of different languages"),
    ({"format": "beir", "languages": ["de", "de"]}, r"further: languages is \['de', 'de'\], expected a list"),
    ({"languages": ["de", "fr"]}, r"further: languages is \['de', 'fr'\], expected different ones of ar, de, el, en"),
    ({"languages": ["de", "de"]}, r"further: languages is \['de', 'de'\], expected different"),
    ({"languages": [["de"]]}, r"further: languages is \[\['de'\]\], expected different"),
    ({"languages": "de"}, "further: languages is 'de'"), ({"languages": []}, r"further: languages is \[\]"),
    ({"queries": ["es"]}, r"further: queries is \['es'\], expected different ones of de, en$"),
    ({"queries": ["de"], "languages": 7}, "further: languages is 7"), ({"name": "a/b"}, "further: name is 'a/b'"),
    ({"folder": None}, "further: folder is None, expected text")])
def test_further_entries_that_cannot_be_used_are_refused(tmp_path, changes, reason):
    assert list(with_further(tmp_path, PARAGRAPHS | {"queries": ["en"]}).further) == ["p"]
    with pytest.raises(SettingsError, match=f"mine.yaml: .*{reason}"):
        with_further(tmp_path, PARAGRAPHS | changes)


def test_no_further_entries_are_no_list_of_them(tmp_path):
    with pytest.raises(SettingsError, match="further must be a list of entries"):
        with_further(tmp_path)


def test_the_sets_beside_the_benchmarks_need_no_folder_until_they_are_asked_for():
    preset = Preset("xquad", Workspace(data=ROOT))
    assert {"xquad-paragraphs", "xquad-paragraphs-en", "xquad-paragraphs-en-de-es", "tico19"} <= set(preset.further)


@pytest.mark.parametrize(("change", "reason"), [
    ({"batch_size": 1}, "batch_size is 1, expected a whole number of at least 2"),
    ({"precision": "bf-16"}, "precision is 'bf-16', expected one of auto, bf16, fp32"),
    ({"when_unable": "eror"}, "when_unable is 'eror', expected one of error, monolingual"),
    ({"languages": [False, "de"]}, "different language codes .*truth values"),
    ({"stepps": 40}, "no setting 'stepps'"), ({"sampling": "X-X"}, "sampling cannot be set for all runs"),
    ({"steps": None}, "steps is None"), ({"temperature": 1e-30}, "temperature is 1e-30, expected a number from 0.001"),
    ({"data": {"training": []}}, "data must say training, selection and benchmarks")])
def test_a_file_that_cannot_be_used_is_refused_before_any_work(tmp_path, change, reason):
    config = yaml.safe_load((ROOT / "configs" / "mini.yaml").read_text("utf-8")) | change
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises(SettingsError, match=f"mine.yaml: .*{reason}"):
        Preset(str(tmp_path / "mine"))


def test_a_setting_that_is_given_twice_or_missing(tmp_path):
    text = (ROOT / "configs" / "mini.yaml").read_text("utf-8")
    (tmp_path / "twice.yaml").write_text(text + "\nsteps: 50\n", "utf-8")
    with pytest.raises(SettingsError, match="twice.yaml: .*steps is given twice"):
        Preset(str(tmp_path / "twice"))
    (tmp_path / "less.yaml").write_text(text.replace("batch_size:", "# "), "utf-8")
    with pytest.raises(SettingsError, match="less.yaml: batch_size is missing"):
        Preset(str(tmp_path / "less"))


def test_numbers_without_a_point_are_numbers(tmp_path):
    # YAML 1.1 reads 5e-5 as text.
    text = (ROOT / "configs" / "mini.yaml").read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("5.0e-5", "5e-5"), "utf-8")
    ours, theirs = Preset(str(tmp_path / "mine")), Preset("mini")
    assert ours.choices(XX, 0) == theirs.choices(XX, 0)


def test_ranks_of_an_untrained_run_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="train it first"):
        Store.open("mini", Workspace(runs=tmp_path)).ranks(XX, 0)


@pytest.mark.skipif(not (PUBLIC / "train").is_dir(), reason="the training data was not built (make data)")
def test_selection_is_held_out_of_training():
    preset = Preset("xquad", Workspace(data=PUBLIC))
    assert [len(c) for c in preset.training_sets[:2]] == [3270, 1874]
    tydi = preset.training_sets[2]
    held = preset.selection["passage"]
    assert len(held) == len(set(held)) == 256
    assert not set(held) & set(tydi.passage["en"].to_pylist())


@pytest.mark.skipif(not (SHARED / "xquad-r").is_dir(), reason="XQuAD-R is not at hand (../shared/data)")
def test_paragraphs_are_pooled_as_the_file_says():
    test_set = Preset("xquad", Workspace(data=SHARED)).further["xquad-paragraphs-en-de-es"]
    assert test_set.languages == test_set.query_languages == ("en", "de", "es")
    assert (len(test_set.queries), len(test_set.candidates)) == (3570, 720)
