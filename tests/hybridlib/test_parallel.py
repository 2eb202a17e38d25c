"""Language batches in sentence-transformers' own trainer: as promised whatever the trainer does; pairs never made."""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import stock
from conftest import NINE, ROOT, group
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

import hybridlib as hl
from hybridlib.data import CorpusError
from hybridlib.training import SAMPLINGS, SamplingError, freeze

SAMPLED = ("X-X", "X-Y", "Hybrid")
STEPS = stock.GROUPS // stock.BATCH


def kinds(batches):
    """Of each batch what it is, "X-X" or "X-Y"; fails if a batch is neither, or holds two groups that must not meet."""
    found = []
    for batch in batches:
        words = [[text.split() for text in pair] for pair in batch]
        languages = {(query[2], passage[2]) for query, passage in words}
        assert all({query[1], passage[1]} in ({passage[1]}, {"0", "1"}, {"100", "101"}) for query, passage in words)
        assert len({passage[1] for _, passage in words}) == len(batch), "a group twice, or a shared passage"
        crossing = {x != y for x, y in languages}
        assert crossing == {True} or len(languages) == 1
        found.append("X-Y" if crossing == {True} else "X-X")
    return found


def check(batches, sampling):
    assert set(kinds(batches)) == ({"X-X", "X-Y"} if sampling == "Hybrid" else {sampling})


@pytest.fixture(scope="module")
def plain(tiny_encoder, tmp_path_factory):
    """The batches of the plain trainer, per sampling: two epochs."""
    return {sampling: stock.train(tiny_encoder, tmp_path_factory.mktemp("plain"), hl.language_batches(sampling))
            for sampling in SAMPLED}


@pytest.mark.parametrize("sampling", SAMPLED)
def test_batches_of_the_stock_trainer(plain, sampling):
    batches = plain[sampling]
    assert len(batches) == 2 * STEPS and {len(batch) for batch in batches} == {stock.BATCH}
    check(batches, sampling)
    # Another epoch has other batches.
    assert batches[:STEPS] != batches[STEPS:]


@pytest.mark.parametrize("sampling", SAMPLED)
@pytest.mark.parametrize("arguments", [
    {"dataloader_num_workers": 2, "dataloader_persistent_workers": True}, {"gradient_accumulation_steps": 4},
    {"dataloader_drop_last": True}, {"eval_strategy": "steps", "eval_steps": 3}], ids=lambda given: next(iter(given)))
def test_the_same_batches_however_they_are_fetched(plain, tiny_encoder, tmp_path, sampling, arguments):
    evaluation = Dataset.from_dict({"query": ["query 1 de"] * 8, "passage": ["passage 1 de"] * 8})
    with pytest.warns(UserWarning, match="for training it is not") if "eval_steps" in arguments else _nothing():
        batches = stock.train(tiny_encoder, tmp_path, hl.language_batches(sampling), **arguments,
                              evaluation=evaluation if "eval_steps" in arguments else None)
    assert batches == plain[sampling]


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False


@pytest.mark.parametrize("sampling", SAMPLED)
def test_a_resumed_run_goes_on_with_the_same_batches(plain, tiny_encoder, tmp_path, sampling):
    # In the midst of the second epoch.
    stock.train(tiny_encoder, tmp_path, hl.language_batches(sampling), save_strategy="steps", save_steps=11)
    resumed = stock.train(tiny_encoder, tmp_path, hl.language_batches(sampling),
                          resume=str(tmp_path / "checkpoint-11"))
    assert resumed == plain[sampling][11:]


@pytest.mark.slow
def test_two_processes_share_each_batch(tiny_encoder, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", stock.__file__,
               str(tiny_encoder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for sampling in SAMPLED:
        (first, first_resumed), (second, second_resumed) = (ranks[sampling] for ranks in found)
        assert len(first) == len(second) == STEPS
        # What holds in a batch of one process holds in the two slices together.
        whole = [[tuple(pair) for pair in one + other] for one, other in zip(first, second, strict=True)]
        check(whole, sampling)
        drawn = hl.language_batches(sampling)(stock_pairs := hl.parallel_dataset(
            stock.table(), "question_{}", "answer_{}"), 2 * stock.BATCH, False, seed=5)
        expected = []
        for epoch in (0, 1):
            drawn.set_epoch(epoch)
            expected += [[tuple(stock_pairs[row].values()) for row in batch] for batch in drawn]
        assert whole == expected, "two processes do not train what one does"
        assert [first_resumed, second_resumed] == [first[6:], second[6:]]


@pytest.mark.parametrize("order", ["proportional", "round_robin"])
@pytest.mark.parametrize("sampling", SAMPLED)
def test_several_sets_by_the_librarys_own_samplers(tiny_encoder, tmp_path, sampling, order):
    batches = stock.train(tiny_encoder, tmp_path, hl.language_batches(sampling), stock.sets(),
                          multi_dataset_batch_sampler=order)
    check(batches, sampling)
    origin = Counter(tuple({int(query.split()[1]) >= 100 for query, _ in batch}) for batch in batches)
    assert origin == {(False,): 2 * STEPS, (True,): 2 * STEPS}


def test_several_sets_as_one_dataset(tiny_encoder, tmp_path):
    pairs = hl.parallel_dataset([stock.table(), stock.table(100)], "question_{}", "answer_{}")
    batches = stock.train(tiny_encoder, tmp_path, hl.language_batches("Hybrid"), pairs, num_train_epochs=1)
    assert len(batches) == 2 * STEPS and set(kinds(batches)) == {"X-X", "X-Y"}
    assert {len({int(query.split()[1]) >= 100 for query, _ in batch}) for batch in batches} == {1}


def rows_of(corpus, languages, hard_negatives=False):
    """Every pair by plain loops."""
    for number in range(len(corpus)):
        for x in languages:
            for y in languages:
                query, passage = corpus.query[x][number].as_py(), corpus.passage[y][number].as_py()
                negatives = (corpus.negatives[y][number].as_py() or []) if hard_negatives else [None]
                if query and passage:
                    for negative in negatives:
                        yield {"query": query, "passage": passage} | ({"negative": negative} if negative else {})


def test_rows_are_all_pairs_and_nothing_else(make_corpus):
    rng = np.random.default_rng(1)
    corpus = make_corpus([group(i, [x for x in NINE if rng.random() < 0.6] or ["de"],
                                [x for x in NINE if rng.random() < 0.6] or ["en"]) for i in range(30)])
    pairs = hl.parallel_dataset(corpus, languages=NINE)
    expected = list(rows_of(corpus, NINE))
    assert len(pairs) == len(expected) == len(list(pairs)) and list(pairs) == expected
    assert [pairs[-1], pairs[len(pairs) - 1]] == [expected[-1]] * 2
    assert pairs[3:6] == {name: [row[name] for row in expected[3:6]] for name in ("query", "passage")}
    assert pairs.__getitems__([5, 0]) == [expected[5], expected[0]]
    assert pickle.loads(pickle.dumps(pairs))[7] == expected[7]
    with pytest.raises(IndexError, match=f"row {len(pairs)} of"):
        pairs[len(pairs)]


def test_rows_with_hard_negatives(make_corpus):
    corpus = make_corpus([group(i, ("de", "en")) | {"negatives": {x: [f"not {i} {x} {n}" for n in range(3)]
                                                                  for x in ("de", "en")}} for i in range(12)])
    pairs = hl.parallel_dataset(corpus, hard_negatives=True)
    assert list(pairs) == list(rows_of(corpus, ("de", "en"), hard_negatives=True))
    for batch in hl.language_batches("Hybrid")(pairs, 4, False, seed=1):
        for row in pairs.__getitems__(batch):
            assert row["negative"].split()[1:3] == row["passage"].split()[1:3]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_numbers_and_pairs_belong_together(make_corpus, sampling):
    corpora = [make_corpus([group(i, NINE[i % 3:], NINE[:9 - i % 2]) for i in range(start, start + 25)], name)
               for name, start in (("a", 0), ("b", 50))]
    pairs = hl.parallel_dataset(corpora)
    drawn = hl.language_batches(sampling, steps=20)(pairs, 6, False, seed=2)
    for step, batch in enumerate(drawn):
        for row, pair in zip(batch, drawn.drawn.batch(step), strict=True):
            assert pairs[row] == corpora[pair.corpus].pair(pair.group, pair.query_language, pair.passage_language)


def test_the_same_from_every_kind_of_table(tmp_path):
    wide = stock.table()
    expected = list(hl.parallel_dataset(wide, "question_{}", "answer_{}"))
    columns = wide.to_pydict()
    long = pd.DataFrame([{"id": number, "lang": x, "q": columns[f"question_{x}"][number],
                          "a": columns[f"answer_{x}"][number]}
                         for number in range(stock.GROUPS) for x in stock.LANGUAGES])
    Dataset(wide).save_to_disk(tmp_path / "wide")
    mapped = Dataset.load_from_disk(tmp_path / "wide")
    file = tmp_path / "groups.jsonl"
    file.write_text("".join(json.dumps({
        "id": str(n), "query": {x: columns[f"question_{x}"][n] for x in stock.LANGUAGES},
        "passage": {x: columns[f"answer_{x}"][n] for x in stock.LANGUAGES}}) + "\n" for n in range(stock.GROUPS)))
    shuffled = long.sample(frac=1, random_state=0).sort_values("id", kind="stable")
    for found in (hl.parallel_dataset(wide.to_pandas(), "question_{}", "answer_{}"),
                  hl.parallel_dataset(mapped, "question_{}", "answer_{}"),
                  hl.parallel_dataset(mapped.select(list(range(stock.GROUPS))), "question_{}", "answer_{}"),
                  hl.parallel_dataset(long, "q", "a", language="lang", group="id"),
                  hl.parallel_dataset(shuffled, "q", "a", language="lang", group="id"),
                  hl.parallel_dataset(file)):
        assert list(found) == expected
        # Group 1 has the passage of group 0, in whatever form it comes.
        assert found.corpora[0].passage_key[0] == found.corpora[0].passage_key[1]
        assert len(set(found.corpora[0].passage_key)) == stock.GROUPS - 1


def test_columns_that_are_called_like_languages_are_not_read_where_others_are_asked_for():
    table = stock.table().append_column("question_id", pa.array(range(stock.GROUPS)))
    with pytest.raises(CorpusError, match="column 'question_id' is of type int64"):
        hl.parallel_dataset(table, "question_{}", "answer_{}")
    pairs = hl.parallel_dataset(table, "question_{}", "answer_{}", languages=["ru", "de", "ru"])
    assert pairs.languages == ("ru", "de") and len(pairs) == 4 * stock.GROUPS


def test_columns_as_pandas_makes_them():
    # Nothing in Polish is a column of numbers; a text that comes often may be a category.
    frame = pd.DataFrame({"query_de": ["x", "y"], "query_pl": [np.nan, np.nan], "passage_pl": ["v", "w"],
                          "passage_de": pd.Categorical(["u", "u"])})
    pairs = hl.parallel_dataset(frame)
    assert pairs.languages == ("de",)
    assert list(pairs) == [{"query": "x", "passage": "u"}, {"query": "y", "passage": "u"}]


def test_a_language_too_small_for_a_batch_is_named():
    table = stock.table()
    few = pa.array([*table["question_ru"].to_pylist()[:3], *[None] * (stock.GROUPS - 3)])
    pairs = hl.parallel_dataset(table.set_column(table.column_names.index("question_ru"), "question_ru", few),
                                "question_{}", "answer_{}")
    with pytest.warns(UserWarning, match="no X-X batch is in ru: fewer than 4 groups"):
        hl.language_batches("X-X")(pairs, 4, False)


def test_forty_million_rows_are_made_nowhere():
    columns = {f"{side}_{x}": pa.array([f"{side} {i} {x}" for i in range(20_000)])
               for side in ("query", "passage") for x in NINE}
    table = pa.table(columns)
    before = pa.total_allocated_bytes()
    pairs = hl.parallel_dataset(table)
    assert len(pairs) == 20_000 * 81 and pa.total_allocated_bytes() - before < 1e5
    held = sum(array.nbytes for rows in pairs.sets for array in (rows.query, rows.passage, rows.starts))
    assert held == 20_000 * (9 + 9 + 8) + 8
    for change in (lambda: pairs.filter(len), lambda: pairs.sort("query"), pairs.to_pandas, lambda: pairs.map(dict)):
        with pytest.raises(AttributeError, match="made when they are asked for"):
            change()
    with pytest.raises(ValueError, match="at most 131,072 pairs are copied"):
        pairs.shuffle(seed=0)
    assert pairs.select([5, 3])[1] == pairs[3]


WRONG = {
    "no place for the language": (lambda: hl.parallel_dataset(stock.table(), "question_de", "answer_{}"),
                                  r"put \{\} where the language stands"),
    "no such columns": (lambda: hl.parallel_dataset(stock.table(), "frage_{}", "answer_{}"),
                        r"no column is named frage_\{\} .* there are question_de"),
    "half of a long table": (lambda: hl.parallel_dataset(stock.table(), "q", "a", language="lang"),
                             "needs both language= and group="),
    "a group twice": (lambda: hl.parallel_dataset(pd.DataFrame(
        {"g": [1, 1], "l": ["de", "de"], "q": ["x", "y"], "a": ["u", "v"]}), "q", "a", language="l", group="g"),
        "row 1: group '1' has de a second time"),
    "no language": (lambda: hl.parallel_dataset(pd.DataFrame(
        {"g": [1], "l": ["german"], "q": ["x"], "a": ["u"]}), "q", "a", language="l", group="g"),
        "row 0: l is 'german', expected a code"),
    "an empty text": (lambda: hl.parallel_dataset(pa.table({"query_de": ["x", " "], "passage_de": ["u", "v"]})),
                      r"query_\{\}, de: row 1: the text is empty"),
    "numbers": (lambda: hl.parallel_dataset(pa.table({"query_de": [1], "passage_de": ["u"]})),
                "column 'query_de' is of type int64, expected text"),
    "nothing in common": (lambda: hl.parallel_dataset(pa.table({"query_de": ["x"], "passage_en": ["u"]})),
                          "no row has a query and a passage in one language; the queries are in de, the passages"),
    "a language that is not there": (lambda: hl.parallel_dataset(stock.table(), "question_{}", "answer_{}",
                                                                 languages=["de", "fr"]), "in fr; .* there are de$"),
    "no hard negatives": (lambda: hl.parallel_dataset(stock.table(), "question_{}", "answer_{}", hard_negatives=True),
                          "no pairs in .* with a hard negative"),
    "no table": (lambda: hl.parallel_dataset({"query_de": ["x"]}), "a dict is no table here"),
    "several splits": (lambda: hl.parallel_dataset(DatasetDict({"train": Dataset(stock.table())})),
                       r"a DatasetDict is no table here: give a datasets.Dataset \(one split\)"),
    "no set": (lambda: hl.parallel_dataset([]), "an empty list"),
    "a language for languages": (lambda: hl.parallel_dataset(stock.table(), "question_{}", "answer_{}",
                                                             languages="de"), r"give a list of codes, \['de'\]"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_read(kind):
    make, reason = WRONG[kind]
    with pytest.raises((CorpusError, ValueError, TypeError), match=reason):
        make()


@pytest.mark.parametrize(("given", "reason"), [
    ({"sampling": "hybrid"}, "unknown sampling 'hybrid'"), ({"sampling": "X-Y", "alpha": 0.5}, "belongs to Hybrid"),
    ({"alpha": 1.5}, "alpha is 1.5"), ({"when_unable": "skip"}, "'skip'"), ({"steps": 0}, "steps is 0"),
    ({"sampling": "alternation", "steps": 3}, "and even"),
    ({"sampling": "X-X", "pair_per_batch": True}, "pair_per_batch belongs to X-Y")])
def test_batches_that_there_are_not(given, reason):
    with pytest.raises(SamplingError, match=reason):
        hl.language_batches(**given)


def test_a_set_that_cannot_serve_is_refused_before_training(tiny_encoder, tmp_path):
    few = hl.parallel_dataset(stock.table().slice(0, 3), "question_{}", "answer_{}")
    with pytest.raises(SamplingError, match="no language has 4 groups"):
        stock.train(tiny_encoder, tmp_path, hl.language_batches("X-X"), few)


def test_layers_are_found_whatever_they_are_called(tmp_path, tiny_encoder):
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(vocab_size=300, hidden_size=32, num_hidden_layers=3, num_attention_heads=2,
                              intermediate_size=48, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1,
                              eos_token_id=2)
    ModernBertModel(config).save_pretrained(tmp_path)
    SentenceTransformer(str(tiny_encoder), device="cpu").tokenizer.save_pretrained(tmp_path)
    model = SentenceTransformer(modules=[Transformer(str(tmp_path)), Pooling(32)], device="cpu")
    last = sum(p.numel() for name, p in model.named_parameters() if "layers.2." in name)
    assert 0 < freeze(model, 1) == last
