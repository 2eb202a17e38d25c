"""mMARCO in its published layout, with texts of our own: looked up by id, one pass, resumable, served lazily."""

import gzip

import numpy as np
import pytest

from hybridlib import files
from hybridlib.data import CorpusError
from hybridlib.training import LanguageBatchSampler, PairDataset, SamplingError
from reproduction.run import XY, Preset, System
from reproduction.run.remedies import training_texts
from reproduction.sources import mmarco, training_sets
from reproduction.workspace import Workspace

LANGUAGES = tuple(mmarco.LANGUAGES)
# Ids neither start at 0 nor follow each other, and each language has them in an order of its own.
QUERIES, PASSAGES = [30, 7, 121, 55, 8], [4, 0, 9, 2, 5, 11, 13]
QUERIES_FILE, PASSAGES_FILE = (mmarco.PUBLISHED[side].format("english") for side in ("queries", "passages"))
TRIPLES = [(7, 4, 0), (30, 9, 2), (121, 4, 5), (7, 4, 9), (30, 0, 5), (121, 2, 4), (55, 11, 5), (8, 13, 5)]


def lines_of(language):
    """Rows of each file of a language: queries and passages, shuffled by the language."""
    rng = np.random.default_rng(LANGUAGES.index(language))
    return ([(i, f"query {i} {language}") for i in rng.permutation(QUERIES)],
            [(i, f'passage {i} {language}, "quoted", NA') for i in rng.permutation(PASSAGES)])


def write(folder, name, rows):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    for language in LANGUAGES:
        for side, rows in zip(("queries", "passages"), lines_of(language), strict=True):
            write(folder, mmarco.PUBLISHED[side].format(mmarco.LANGUAGES[language]), rows)
    write(folder, mmarco.TRIPLES, TRIPLES)
    return folder


@pytest.fixture
def prepared(published, tmp_path):
    mmarco.prepare(published, tmp_path / "data" / "mmarco")
    return tmp_path / "data" / "mmarco"


def test_each_text_is_the_one_of_its_id_in_every_language(prepared):
    marco = mmarco.MarcoCorpus(prepared)
    assert len(marco) == 8 and marco.languages == LANGUAGES
    assert marco.passage_key.tolist() == [4, 9, 4, 4, 0, 2, 11, 13]
    assert marco.query_key.tolist() == [7, 30, 121, 7, 30, 121, 55, 8]
    assert [marco.negative_keys(group, LANGUAGES) for group in range(3)] == [[[0]], [[2]], [[5]]]
    for group, (query, positive, negative) in enumerate(TRIPLES):
        for x in LANGUAGES:
            for y in LANGUAGES:
                assert marco.pair(group, x, y, negative=12345) == {
                    "query": f"query {query} {x}", "passage": f'passage {positive} {y}, "quoted", NA',
                    "negative": f'passage {negative} {y}, "quoted", NA'}
    assert marco.pair(1, "de", "en") == {"query": "query 30 de", "passage": 'passage 9 en, "quoted", NA'}
    assert all(marco.has(side, x) is True for side in (marco.query, marco.passage) for x in LANGUAGES)


@pytest.mark.parametrize("sampling", ["X-X", "X-Y", "Hybrid", "X-X mixed"])
def test_samplings_serve_it_and_a_batch_has_no_false_negative(prepared, sampling):
    marco = mmarco.MarcoCorpus(prepared)
    batches = LanguageBatchSampler([marco], sampling, LANGUAGES, 4, 200, 0, negatives=True)
    pairs, seen = PairDataset([marco]), set()
    for batch in batches:
        queries, positives, negatives = (set(ids) for ids in zip(*(TRIPLES[pair.group] for pair in batch), strict=True))
        assert len(queries) == len(positives) == 4 and not positives & negatives
        for pair in batch:
            texts = pairs[pair]
            assert texts["query"] == f"query {TRIPLES[pair.group][0]} {pair.query_language}"
            assert texts["negative"].startswith(f"passage {TRIPLES[pair.group][2]} {pair.passage_language}")
        seen |= {pair.group for pair in batch}
    assert seen == set(range(8))


def test_it_is_served_as_the_same_groups_in_memory_are(prepared, make_corpus):
    marco = mmarco.MarcoCorpus(prepared)
    texts = [{"id": str(i), "query": {x: f"query {q} {x}" for x in LANGUAGES},
              "passage": {x: f'passage {p} {x}, "quoted", NA' for x in LANGUAGES},
              "negatives": {x: [f'passage {n} {x}, "quoted", NA'] for x in LANGUAGES}}
             for i, (q, p, n) in enumerate(TRIPLES)]
    held = make_corpus(texts)
    for sampling in ("X-X", "X-Y", "Hybrid"):
        one, other = (LanguageBatchSampler([c], sampling, LANGUAGES, 4, 50, 3, negatives=True) for c in (marco, held))
        assert list(one) == list(other)
        assert [PairDataset([marco])[p] for b in one for p in b] == [PairDataset([held])[p] for b in other for p in b]
    means = [training_texts([held, c], LANGUAGES, 9) for c in (marco, held)]
    assert all(means[0][side].equals(means[1][side]) for side in means[0])


@pytest.mark.parametrize(("rows", "side"), [
    ([(i, f"query {i} de" if i != 7 else "") for i in QUERIES], "queries"),
    ([(i, f"query {i} de") for i in QUERIES if i != 7], "queries"),
    ([(i, f"passage {i} de") for i in PASSAGES if i != 0], "passages")])
def test_a_group_is_not_served_in_a_language_that_lacks_a_text_of_it(published, tmp_path, rows, side):
    write(published, mmarco.PUBLISHED[side].format("german"), rows)
    said = mmarco.prepare(published, tmp_path / "m")
    marco = mmarco.MarcoCorpus(tmp_path / "m")
    without = {0, 3} if side == "queries" else {0, 4}
    assert said["missing"] == {f"{s}.{x}": 2 if (s, x) == (side, "de") else 0
                               for s in ("queries", "passages") for x in LANGUAGES}
    assert marco.has(getattr(marco, {"queries": "query", "passages": "passage"}[side]), "de").tolist() == [
        group not in without for group in range(8)]
    for batch in LanguageBatchSampler([marco], "X-Y", LANGUAGES, 3, 100, 0):
        for pair in batch:
            assert None not in marco.pair(*pair[1:4], negative=0).values()
            assert pair.group not in without or "de" != getattr(
                pair, "query_language" if side == "queries" else "passage_language")


def test_triples_that_leave_no_batch_without_a_false_negative_are_refused_at_once(published, tmp_path):
    # Three queries and three relevant passages, but each irrelevant one is relevant to another query.
    write(published, mmarco.TRIPLES, [(7, 4, 9), (30, 9, 2), (121, 2, 4)] * 4)
    mmarco.prepare(published, tmp_path / "m")
    marco = mmarco.MarcoCorpus(tmp_path / "m")
    assert LanguageBatchSampler([marco], "X-X", LANGUAGES, 3, 10, 0).batch(0)
    with pytest.raises(SamplingError, match="'mmarco' cannot serve X-X: .*hard negatives that are none of these"):
        LanguageBatchSampler([marco], "X-X", LANGUAGES, 3, 10, 0, negatives=True)


@pytest.mark.parametrize(("name", "content", "message"), [
    (PASSAGES_FILE, "0\ttext\tmore\n", "english_collection.tsv: .*Expected 2 columns, got 3"),
    (PASSAGES_FILE, "id\ttext\n", "field 'id'.*the fields are id, text"),
    (QUERIES_FILE, "7\ta\n7\tb\n", "english_queries.train.tsv: field 'id': 7 stands twice"),
    (QUERIES_FILE, "-7\ta\n", "field 'id': below 0 .*is no id"),
    (mmarco.TRIPLES, "1\t2\n", "Expected 3 columns, got 2.*the fields are query, positive, negative"),
    (mmarco.TRIPLES, "1\t2\tthree\n", "field 'negative'")])
def test_another_layout_is_refused_by_naming_file_and_field(published, tmp_path, name, content, message):
    (published / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        mmarco.prepare(published, tmp_path / "m")
    with pytest.raises(FileNotFoundError, match="not prepared to its end"):
        mmarco.MarcoCorpus(tmp_path / "m")


def test_interrupted_it_goes_on_with_the_file_that_it_was_at(published, tmp_path):
    spanish = published / mmarco.PUBLISHED["passages"].format("spanish")
    whole, out = spanish.read_text(), tmp_path / "m"
    spanish.write_text(whole[:-4].rsplit("\n", 1)[0] + "\nhalf a line")
    with pytest.raises(CorpusError):
        mmarco.prepare(published, out)
    assert not list(out.glob(".*")) and not (out / "passages.es.arrow").exists()
    done = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    assert len(done) == 2 + 3 * (7 + 3), "triples, seven languages' queries, three languages' passages"
    spanish.write_text(whole)
    first = mmarco.prepare(published, out)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert first == mmarco.prepare(published, tmp_path / "anew")


def test_some_of_it_is_held_by_its_ids_alone(prepared):
    marco = mmarco.MarcoCorpus(prepared)
    some = marco.select([5, 1])
    assert (len(some), list(some.ids), some.passage_key.tolist()) == (2, [5, 1], [2, 9])
    assert some.pair(1, "de", "en") == marco.pair(1, "de", "en")
    assert [list(each.ids) for each in (some.select([0]), marco)] == [[5], list(range(8))]
    with pytest.raises(ValueError, match="has no th"):
        mmarco.MarcoCorpus(prepared, ["en", "th"])


def test_the_preset_takes_it_from_the_data_folder(published, tmp_path, make_corpus):
    facts = training_sets.make_training_set("mmarco", tmp_path / "data", published)
    table = training_sets.overview(tmp_path / "data")
    assert table.loc["mmarco", ["paper", "ours", "languages", "state"]].tolist() == [
        39780811, 8, "ar de en es hi ru zh", "present"]
    selection = tmp_path / "data" / "squadshifts.jsonl.gz"
    selection.write_bytes(gzip.compress(b'{"id": "1", "query": {"en": "why?"}, "passage": {"en": "so."}}\n'))
    files.write_json(tmp_path / "data" / "squadshifts.json", {"sha256": files.sha256(selection)})
    preset = Preset("mmarco", Workspace(data=tmp_path / "data"))
    assert preset.choices(XY, 0)["data"] == [["mmarco", facts["sha256"]]]
    preset.config["batch_size"] = 3
    batch = preset.sampler(XY, 0).batch(0)
    assert len(batch) == 3 and all(pair.negative is not None for pair in batch)
    assert len(preset.sampler(System.parse("X-Y groups=5"), 0).corpora[0]) == 5
    assert preset.selection[0] == {"query": "why?", "passage": "so."}
