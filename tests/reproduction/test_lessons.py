"""What the lessons share: pairs as a table, complete groups, what became of runs."""

import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from conftest import NINE, group

from hybridlib import files
from hybridlib.training import LanguageBatchSampler, Pair
from reproduction.findings import lessons
from reproduction.run import XX, XY


def test_a_table_of_pairs_names_languages_escapes_texts_and_turns_them():
    page = ET.fromstring("<div>" + lessons.pairs_table(
        [("en", "a < b?", "ar", "نعم"), ("de", "c", "de", "d")] * 3, first=2).data + "</div>")
    head, first, second = page.findall("table/tr")
    assert ["".join(cell.itertext()) for cell in first] == ["1", "en English", "a < b?", "ar Arabic", "نعم"]
    assert [(cell.get("lang"), cell.get("dir")) for cell in first if cell.get("lang")] == [("en", "ltr"), ("ar", "rtl")]
    assert ["".join(cell.itertext()) for cell in second][1::2] == ["de German", "de German"]
    assert len(head) == 5 and page.find("p").text == "2 of 6 pairs"


def test_texts_of_a_batch_are_those_that_the_sampler_drew(complete_corpus):
    batch = [Pair(0, 7, "de", "ru", None), Pair(0, 1, "en", "en", None)]
    assert lessons.texts_of([complete_corpus], batch) == [
        ("de", "query 7 de", "ru", "passage 7 ru"), ("en", "query 1 en", "en", "passage 0 en")]
    drawn = LanguageBatchSampler([complete_corpus], "X-Y", NINE, 8, 1, 0).batch(0)
    assert [text[::2] for text in lessons.texts_of([complete_corpus], drawn)] == [pair[2:4] for pair in drawn]


def test_complete_groups_have_all_languages_and_no_passage_twice(make_corpus, complete_corpus):
    assert lessons.complete_groups(complete_corpus, NINE).tolist() == [0, *range(2, 60)]
    corpus = make_corpus([group(0, ("de",)), group(1, ("de", "en")), group(2, ("de", "en"), ("de",)),
                          group(3, ("de", "en"), passage=1)])
    assert lessons.complete_groups(corpus, ("de", "en")).tolist() == [1]


class Runs:
    """Two finished runs of three steps each, as a store has them."""

    def __init__(self, folder):
        self.folder = folder
        for system, best in ((XX, 1), (XY, 3)):
            files.write_json(self.run_folder(system, 0) / "manifest.json", {
                "best_step": best, "steps_run": 3, "best_validation_loss": 0.5, "seconds": 90})

    def run_folder(self, system, seed):
        return self.folder / f"{system}-s{seed}"

    def losses(self, system, seed):
        return pd.DataFrame({"loss": range(20, 0, -1), "served": [system.sampling] * 15 + ["X-X"] * 5})


def test_facts_are_of_the_losses_and_of_the_manifest(tmp_path):
    table = lessons.facts(Runs(tmp_path), [XX, XY], [0])
    assert table.loc[("X-Y", 0)].to_dict() == {
        "in one language": 0.25, "first": 15.5, "last": 5.5, "kept step": 3, "of": 3, "validation loss": 0.5,
        "minutes": 1.5}
    assert table.loc["X-X", "in one language"].tolist() == [1.0]
    assert lessons.kept(table) == "X-X step 1 of 3, X-Y step 3 of 3"


def test_a_lesson_ends_in_three_sentences():
    assert lessons.three_sentences("a", "b", "c").data == "1. a\n2. b\n3. c"
    with pytest.raises(TypeError):
        lessons.three_sentences("a", "b")
