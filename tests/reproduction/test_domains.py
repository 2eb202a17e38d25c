"""Other domains and languages from kept evidence: effects, precision at k, gains per language, facts of languages."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, SHARED
from simulated import simulated
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hybridlib.data import TestSet
from hybridlib.evaluation import NO_SEED, differences, estimates
from hybridlib.evaluation.measures import sums_and_counts
from reproduction.commands import domains as command
from reproduction.commands import passages
from reproduction.findings import domain_figures, domains
from reproduction.findings.figures import COLOURS
from reproduction.run import UNTRAINED
from reproduction.run.evidence import read_cells

MEASURE = "multilingual AP"
DRAWS = 300
HEADLINE = ROOT / "results" / "xquad" / "cuda" / "headline"


@pytest.fixture
def kept():
    """X-X and X-Y with three seeds and the untrained encoder, plain and with a remedy that adds one to X-Y."""
    rng = np.random.default_rng(3)
    trained = simulated(rng, 0.1, seeds=3, systems=("X-X", "X-Y"), measure=MEASURE)
    fixed = simulated(rng, seeds=1, systems=("untrained",), measure=MEASURE).assign(seed=NO_SEED)
    plain = pd.concat([trained, fixed], ignore_index=True)
    plain = plain.assign(sampling=plain["system"], remedy="", benchmark="toy")
    moved = plain.assign(system=plain["system"] + " + quota", remedy="quota",
                         **{MEASURE: plain[MEASURE] + (plain["system"] == "X-Y")})
    return pd.concat([plain, moved], ignore_index=True)


def test_effects_are_the_librarys_differences_with_the_remedy_on_both_sides(kept):
    table = domains.effects(kept, [("X-Y", "X-X"), ("X-Y", "untrained")], [MEASURE], DRAWS)
    table = table.set_index(["remedy", "reference"])
    for remedy, ending in (("", ""), ("quota", " + quota")):
        part = kept[kept["remedy"] == remedy]
        for reference in ("X-X", "untrained"):
            known = differences(part, f"X-Y{ending}", f"{reference}{ending}", [MEASURE], DRAWS).loc[MEASURE]
            found = table.loc[(remedy, reference)]
            np.testing.assert_allclose(found[known.index].astype(float), known)
    assert (table["seeds"] == 3).all()
    gained = table["difference"]["quota"] - table["difference"][""]
    np.testing.assert_allclose(gained, 1)


def test_the_ratio_is_that_of_the_means_and_a_measure_that_is_not_there_has_no_rows(kept):
    level = kept.assign(**{MEASURE: kept["system"].str.startswith("X-Y").map({True: 0.6, False: 0.4}), "other": np.nan})
    table = domains.effects(level, [("X-Y", "X-X")], [MEASURE, "other"], DRAWS)
    assert table["measure"].tolist() == [MEASURE] * 2
    np.testing.assert_allclose(table[["ratio", "ratio_low", "ratio_high"]], 1.5)


def ranks_of(folder, run, system, seed, rows):
    """Ranks as evidence keeps them: numbers in a file per run, keys in one for all."""
    table = pd.DataFrame(rows, columns=["question", "cluster", "query_language", "language", "grade",
                                        "rank_in_language", "rank_in_pool", "top10"])
    for name, part, facts in (("toy.keys", table.iloc[:, :5], "{}"),
                              (f"{run}.toy.ranks", table.iloc[:, 5:], f'{{"system": "{system}", "seed": {seed}}}')):
        arrow = pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata({"reproduction": facts})
        pq.write_table(arrow, folder / f"{name}.parquet")


def test_precision_at_k_by_hand(tmp_path):
    # Of the German answers two are relevant, at 1 and 5; the Spanish one is at 6; the query's own does not count.
    rows = [("q", "a", "en", "en", 1, 1, 1, 0), ("q", "a", "en", "de", 1, 1, 2, 0), ("q", "a", "en", "de", 1, 5, 9, 0),
            ("q", "a", "en", "es", 1, 6, 7, 0), ("q", "a", "en", "fr", 0, 0, 0, 0)]
    ranks_of(tmp_path, "X-Y-s4", "X-Y", 4, rows)
    ranks_of(tmp_path, "X-X-s4", "X-X", 4, rows)
    table = domains.precision(tmp_path, "toy", ["X-Y"])
    row, = table.to_dict("records")
    assert (row["system"], row["seed"], row["benchmark"], row["cluster"], row["query_language"]) == (
        "X-Y", 4, "toy", "a", "en")
    assert row["crosslingual P@1"] == pytest.approx((1 + 0) / 2)
    assert row["crosslingual P@5"] == pytest.approx((2 / 5 + 0) / 2)
    assert row["crosslingual P@10"] == pytest.approx((2 / 10 + 1 / 10) / 2)


def test_precision_from_committed_ranks_is_that_of_the_committed_cells():
    measure = "crosslingual P@1"
    found = domains.precision(HEADLINE, "xquad-r", ["Hybrid"])
    known = read_cells(HEADLINE)
    known = known[(known["system"] == "Hybrid") & (known["benchmark"] == "xquad-r")]
    by = ["seed", "cluster", "query_language"]
    first, second = (sums_and_counts(table, measure, by) for table in (found, known))
    for one, other in zip(first, second, strict=True):
        assert len(one) == 5 * 48 * 11
        np.testing.assert_allclose(one.sort_index(), other.sort_index(), rtol=1e-6)


@pytest.fixture
def two_languages(kept):
    plain = kept[kept["remedy"] == ""]
    return pd.concat([plain, plain.assign(query_language="sw", **{MEASURE: plain[MEASURE] * 2})], ignore_index=True)


def test_gains_are_differences_within_each_language_or_what_a_system_has(two_languages):
    found = domains.gains(two_languages, [("X-Y", "untrained"), ("untrained", "")], MEASURE, DRAWS)
    (table, drawn), (own, _) = found.values()
    assert table.index.tolist() == ["en", "sw"] and drawn.shape == (DRAWS, 2)
    for language in table.index:
        part = two_languages[two_languages["query_language"] == language]
        known = differences(part, "X-Y", "untrained", [MEASURE], DRAWS).loc[MEASURE]
        np.testing.assert_allclose(table.loc[language, known.index].astype(float), known)
        known = estimates(part[part["system"] == "untrained"], MEASURE, DRAWS).loc["untrained"]
        np.testing.assert_allclose(own.loc[language].astype(float), known)


def test_a_gain_goes_with_a_fact_as_ranks_do_over_the_languages_that_have_one():
    languages = list("abcdefgh")
    table = pd.DataFrame({"difference": np.arange(8.0) ** 3}, index=languages)
    drawn = pd.DataFrame(np.tile(table["difference"], (500, 1)), columns=languages)
    known = pd.Series([1, 2, 3, 4, 5, 6, np.nan], index=list("abcdefg"))
    found = domains.goes_with(table, drawn, known)
    assert found["languages"] == 6 and found["correlation"] == pytest.approx(1)
    assert found["low"] == pytest.approx(1) and found["high"] == pytest.approx(1)
    assert domains.goes_with(table, drawn, -known)["correlation"] == pytest.approx(-1)
    noise = np.random.default_rng(0).standard_normal((500, 8))
    wide = domains.goes_with(table, pd.DataFrame(noise, columns=languages), known)
    assert wide["low"] < -0.5 and wide["high"] > 0.5, "gains that are all noise leave everything open"


@pytest.fixture
def shifted():
    """Three questions in English and Somali; one Somali query is the English passage's sentence."""
    texts = {"en": (["In 2019", "At 4 %", "None"], ["and 2020", "and 5", "and 6"]),
             "so": (["Sanadka ٢٠١٩", "iyo 5", "Midna"], ["iyo 2020", "iyo 6", "iyo 7"])}
    queries = pd.DataFrame([{"question": f"q{n}", "cluster": "a", "language": language, "text": text}
                            for language, (asked, _) in texts.items() for n, text in enumerate(asked)])
    candidates = pd.DataFrame([{"cluster": "a", "language": language, "text": text}
                               for language, (_, given) in texts.items() for text in given])
    relevant = pd.DataFrame([{"query": q, "candidate": c, "grade": 1} for q in range(6) for c in (q % 3, q % 3 + 3)])
    return TestSet("toy", ("en", "so"), queries, candidates, relevant)


def test_numbers_tell_a_query_that_is_another_sentence(shifted):
    assert domains.is_parallel(shifted)
    # Two Somali queries have numbers: one is the English query's, in other digits; one is the passage's.
    assert domains.numbers_of_the_passage(shifted).to_dict() == {"en": 0, "so": 0.5}


def letters(known):
    """A tokenizer that cuts into characters, of which it knows some."""
    characters = Tokenizer(models.WordLevel({"?": 0} | {x: n for n, x in enumerate(known, 1)}, unk_token="?"))
    characters.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                        pre_tokenizers.Split("", "isolated")])
    return PreTrainedTokenizerFast(tokenizer_object=characters, unk_token="?")


def test_tokens_per_word_and_against_english(shifted):
    tokenizer = letters("In2019")
    facts = pd.DataFrame({"test_set": "toy", "language": ["so", "en"], "spaces": ["no", "yes"], "unknown": [7.0, 7.0]})
    table = domains.with_tokens(facts, [shifted], tokenizer).set_index("language")
    english = len("In2019At4%None")
    assert table.loc["en", "tokens_per_word"] == pytest.approx(english / 6) and np.isnan(
        table.loc["so", "tokens_per_word"])
    assert table.loc["en", "tokens_against_english"] == 1
    assert table.loc["so", "tokens_against_english"] == pytest.approx(len("Sanadka٢٠١٩iyo5Midna") / english)
    assert table.loc["en", "unknown"] == pytest.approx(sum(x not in "In2019" for x in "In2019At4%None") / english)


def test_passages_are_cut_where_they_are_in_more_languages_than_queries():
    tokenizer = letters("abcd")
    texts = {"eng_Latn": "ab cd", "deu_Latn": "a b c d", "tha_Thai": "aaaaaaaaaa"}
    test_set = TestSet.from_records(
        "b", [{"id": "q", "language": "eng_Latn", "text": "a"}],
        [{"id": x, "language": x, "text": text, "cluster": "p"} for x, text in texts.items()], [("q", "eng_Latn")])
    facts = pd.DataFrame({"test_set": "b", "language": list(texts), "spaces": ["yes", "yes", "no"]})
    table = domains.with_tokens(facts, [test_set], tokenizer).set_index("language")
    counted = {x: len(text.replace(" ", "")) for x, text in texts.items()}
    words = {"eng_Latn": 2, "deu_Latn": 4}
    for language, number in counted.items():
        assert table.loc[language, "tokens_against_english"] == pytest.approx(number / counted["eng_Latn"])
    assert table["tokens_per_word"].dropna().to_dict() == {x: counted[x] / n for x, n in words.items()}


def test_passages_of_a_language_are_told_by_questions_in_others():
    # Two questions in English and German, one cluster each; ranks of the passages in three languages.
    ranks = pd.DataFrame(
        [("1", "a", "en", "en", 1, 1), ("1", "a", "en", "sw", 2, 5), ("1", "a", "de", "en", 4, 9),
         ("1", "a", "de", "sw", 1, 3), ("2", "b", "en", "sw", 5, 3), ("2", "b", "de", "sw", 10, 4)],
        columns=["question", "cluster", "query_language", "language", "rank_in_language", "rank_in_pool"])
    table = domains.of_passages(ranks, 3).set_index(["query_language", "cluster"]).sort_index()
    assert table["crosslingual AP"].to_dict() == {
        ("en", "a"): 0.25, ("sw", "a"): 0.75, ("sw", "b"): pytest.approx(0.15)}  # (1/2 + 1) / 2, (1/5 + 1/10) / 2
    assert table["in the first 3"].to_dict() == {("en", "a"): 0, ("sw", "a"): 0.5, ("sw", "b"): 0.5}
    assert (table["in the first 3: queries"] == 1).all()


def test_what_is_known_of_languages_covers_the_evidence():
    facts = command.read_facts(ROOT / "results" / "xquad" / "languages.csv").set_index(["test_set", "language"])
    asked = pd.concat([read_cells(HEADLINE.parent / block) for block in ("domains", "african")])
    asked = asked[["benchmark", "query_language"]].drop_duplicates()
    assert set(facts.index) == set(asked.itertuples(index=False, name=None))
    # Table 6 of the XLM-R paper; Zulu is not in it, and of Dari it says nothing.
    assert facts.loc[("tico19", "en"), "cc100_gib"] == 300.8 and facts.loc[("afriqa", "swa"), "cc100_gib"] == 1.6
    assert facts.loc[("afriqa", "zul"), "cc100_gib"] == 0 and np.isnan(facts.loc[("tico19", "prs"), "cc100_gib"])
    assert facts["tokens_per_word"].isna().groupby(level="test_set").sum().to_dict() == {
        "tico19": 3, "afriqa": 0, "tydi-goldp": 0}, "Khmer, Burmese and Chinese are written without spaces"
    found = facts.loc["tico19", "other_sentence"]
    assert found.idxmax() == "so" and found["so"] > 0.4 and found.drop(["so", "nus"]).max() < 0.1


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "ood" / "afriqa").is_dir(), reason="no ../shared/data/ood")
def test_the_committed_tokens_are_those_of_the_packaged_encoder():
    from hybridlib.encoding import load

    facts = command.read_facts(ROOT / "results" / "xquad" / "languages.csv")
    facts = facts[facts["test_set"] == "afriqa"]
    test_set = TestSet.from_beir(SHARED / "ood" / "afriqa", "afriqa")
    table = domains.with_tokens(facts, [test_set], load()[0].tokenizer)
    np.testing.assert_allclose(table["tokens_per_word"], facts["tokens_per_word"], rtol=1e-5)
    assert not domains.is_parallel(test_set) and table["tokens_against_english"].isna().all()


def points(axis):
    """Drawn points of an axis: place to the colour that they are filled with."""
    return {(round(float(line.get_xdata()[0]), 3), round(float(line.get_ydata()[0]), 3)): line.get_markerfacecolor()
            for line in axis.lines if line.get_marker() not in ("None", None, "")}


def test_effects_are_drawn_above_from_x_x_and_below_from_untrained_and_open_with_a_remedy():
    table = pd.DataFrame([{"benchmark": "b", "measure": MEASURE, "sampling": "X-Y", "reference": reference,
                           "remedy": remedy, "difference": value, "low": value - 0.1, "high": value + 0.1}
                          for reference, remedy, value in (("X-X", "", 0.3), ("X-X", "quota", 0.2),
                                                           ("untrained", "", 0.5))])
    figure = domain_figures.effects(table, {"a": "A", "b": "B"}, [MEASURE], "title")
    above, below = ({x: (round(y), fill) for (x, y), fill in points(axis).items()} for axis in figure.axes)
    assert above == {0.3: (1, COLOURS["X-Y"]), 0.2: (1, "white")} and below == {0.5: (1, COLOURS["X-Y"])}
    plt.close(figure)


def test_a_language_without_the_fact_is_not_drawn_and_one_that_is_not_listed_is_open():
    table = pd.DataFrame({"difference": [0.1, 0.2, 0.3], "low": 0.0, "high": 0.4, "cc100_gib": [3.0, 0.0, np.nan],
                          "tokens_per_word": [1.5, 2.5, 3.5]}, index=["sw", "zu", "prs"])
    figure = domain_figures.gains({"T": table}, {"tokens_per_word": "tokens", "cc100_gib": "GiB"}, "gain", "Hybrid",
                                  "title")
    tokens, size = map(points, figure.axes)
    full = COLOURS["Hybrid"]
    assert tokens == {(1.5, 0.1): full, (2.5, 0.2): "white", (3.5, 0.3): full}
    assert size == {(3.0, 0.1): full, (0.0, 0.2): "white"}
    plt.close(figure)


def test_a_language_is_named_where_there_is_room():
    table = pd.DataFrame({"difference": [0.10, 0.101, 0.5], "low": 0.0, "high": 0.6, "cc100_gib": [3.0, 3.0, 9.0]},
                         index=["sw", "zu", "en"])
    figure = domain_figures.gains({"T": table}, {"cc100_gib": "GiB"}, "gain", "Hybrid", "title")
    named = {text.get_text() for text in figure.axes[0].texts}
    assert "en" in named and len(named & {"sw", "zu"}) == 1
    plt.close(figure)


class Ranked:
    """A store whose runs rank at random: four questions in English, passages in six languages."""

    LANGUAGES = ("en", "am", "ha", "sw", "yo", "zu")

    def __init__(self):
        self.evaluated = []

    def evaluate(self, runs, names):
        self.evaluated.append((len(runs), names))

    def ranks(self, system, seed, test_set):
        rng = np.random.default_rng([seed + 1, *map(ord, str(system))])
        found = pd.DataFrame([{"question": f"{n}", "cluster": f"{n}", "query_language": "en", "language": language}
                              for n in range(4) for language in self.LANGUAGES])
        return found.assign(rank_in_language=rng.integers(1, 9, 24), rank_in_pool=rng.integers(1, 30, 24))


def test_passages_are_told_by_their_language_and_a_fact_that_nothing_is_known_of_is_left_out(monkeypatch):
    monkeypatch.setattr(passages, "DRAWS", 50)
    store = Ranked()
    kept = passages.passages(store, "b", [0, 1], 3)
    assert store.evaluated == [(3 + 3 * 2 + 2 * 2, ["b"])], "all runs together"
    facts = pd.DataFrame({"language": store.LANGUAGES, "tokens_per_word": np.nan,
                          "tokens_against_english": [1, 2, 3, 4, 5, 6], "cc100_gib": [9, 1, 2, 3, 4, 0]})
    table, related = passages.gains(kept, facts)
    assert len(table) == len(passages.GAINS) * 2 * 5 and set(table["language"]) == {*store.LANGUAGES} - {"en"}
    at = table.set_index(["measure", "system", "reference", "language"])["difference"]
    for measure in ("crosslingual AP", "in the first 3"):
        expected = at[measure, "Hybrid", "none", "sw"] - at[measure, "untrained", "none", "sw"]
        assert at[measure, "Hybrid", "untrained", "sw"] == pytest.approx(expected)
    assert set(related["fact"]) == {"tokens_against_english", "cc100_gib"}
    found = store.ranks(UNTRAINED, NO_SEED, "b")
    assert at["crosslingual AP", "untrained", "none", "zu"] == pytest.approx(
        (1 / found.loc[found["language"] == "zu", "rank_in_language"]).mean())


def test_a_table_of_passages_keeps_what_it_has_of_other_test_sets(tmp_path):
    file = tmp_path / "passages.csv"
    first = pd.DataFrame({"benchmark": ["a", "b"], "reference": ["", "X-X"], "value": [0.1, 2]})
    passages._write(first, file, "benchmark")
    passages._write(pd.DataFrame({"benchmark": ["b"], "reference": [""], "value": [3.0]}), file, "benchmark")
    assert file.read_text("utf-8").splitlines() == ["benchmark,reference,value", "a,,0.1", "b,,3"]
