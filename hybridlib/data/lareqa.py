"""XQuAD-R and MLQA-R (Roy et al. 2020, LAReQA): the released files as test sets, downloaded or at hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pooch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybridlib.data.reading import CorpusError, fetch_all, named, read_json, text_problem, verify_checksum
from hybridlib.data.test_set import TestSet

# Released by google-research-datasets/lareqa (CC BY-SA 4.0 and CC BY-NC 4.0); sha256 of every file.
LAREQA = "https://raw.githubusercontent.com/google-research-datasets/lareqa/354d67d1cd066854cdfbf5ad0e6105528976141d"
RELEASED = {
    "xquad-r": {
        "ar": "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d",
        "de": "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949",
        "el": "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6",
        "en": "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe",
        "es": "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de",
        "hi": "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872",
        "ru": "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1",
        "th": "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4",
        "tr": "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94",
        "vi": "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995",
        "zh": "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed"},
    "mlqa-r": {
        "ar": "2132fbc03208535c0fe01f2e2c5121d06f9c2aa799af93b0a719dbc105bdf137",
        "de": "ce9454dc5aa6f2d85c23cd6e49cb367fbb7c4c6e62d7f71e355c6b5dae4d0886",
        "en": "fedd9a5cc0848dda80caf84aa36f482adaae230526a3f6e9e86926a93ef3b1e4",
        "es": "70ecba276b8c96a692b120693a595d076ce94ad21d4b28311538a9fcbfe0f9d7",
        "hi": "4dd0fb3c06f737a5481d705bc1dcac7876712a5815c9265908fbb3a0696cb654",
        "vi": "9d3baff6ba03e6793b25594217265ea59a136b9733833dca8a9582a84a78ff85",
        "zh": "57f01d2fff50cf3392805635b01445339f225ad5bf28ba8443b12f8dbd1e69dc"}}


def fetch_lareqa(name: str, cache: str | Path | None = None, base_url: str = LAREQA) -> Path:
    """Download the released files of XQuAD-R or MLQA-R, or find them in the cache; works offline afterwards.

    Parameters
    ----------
    name : {"xquad-r", "mlqa-r"}
    cache : path, optional
        Where to keep them; the user's cache folder by default (``HYBRIDLIB_DATA`` overrides it).
    base_url : str

    Returns
    -------
    Path
        The folder of the files, for `read_lareqa`.

    Raises
    ------
    ConnectionError
        If a file cannot be downloaded, or what came is not the released file; nothing of it is kept.
    """
    checksums = RELEASED[name]
    store = pooch.create(path=Path(cache or pooch.os_cache("hybridlib")), base_url=f"{base_url}/",
                         registry={f"{name}/{x}.json": f"sha256:{digest}" for x, digest in checksums.items()},
                         env="HYBRIDLIB_DATA", retry_if_failed=2)
    try:
        fetch_all(store, "Get the files by other means and give their folder")
    except ConnectionError as error:
        raise ConnectionError(f"{name}: {error}") from error
    return store.abspath / name


def _clusters(questions: Sequence[str], articles: Sequence[str]) -> dict[str, int]:
    """Number the articles of all languages so that those joined by a shared question are one.

    The articles of different languages are translations of each other in XQuAD-R and not even aligned in
    MLQA-R; questions of one cluster are not independent, questions of two are.

    Parameters
    ----------
    questions, articles : sequence
        The question and the (language's own) article of each query.

    Returns
    -------
    dict of article to int, numbered by first appearance
    """
    question_codes, article_codes = pd.factorize(pd.Series(questions))[0], pd.factorize(pd.Series(articles))[0]
    count = question_codes.max() + 1
    nodes = count + article_codes.max() + 1
    edges = coo_array((np.ones(len(questions)), (question_codes, count + article_codes)), shape=(nodes, nodes))
    components = connected_components(edges, directed=False)[1][count:]
    numbers = pd.factorize(components)[0]
    return {article: int(numbers[code]) for article, code in zip(articles, article_codes, strict=True)}


def read_lareqa(folder: str | Path, name: str, checksums: str | dict[str, str | None] = "released") -> TestSet:
    """XQuAD-R or MLQA-R (Roy et al. 2020) from the folder of its released files, ``<language>.json``.

    A language's candidates are one per entry of ``sentence_breaks``, in order, nothing deduplicated and
    nothing stripped; the relevant one of a question is the sentence that holds ``answer_start``. In MLQA-R a
    question stands in 2 to 4 of the 7 languages: in a pair of languages only the questions that stand in both are
    asked, and the relevant sentences in the pool are those of the languages that the question stands in.

    Parameters
    ----------
    folder : path
    name : {"xquad-r", "mlqa-r"}
    checksums : "released", or a dict of language to sha256 (or None) for other files in this layout

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing, is not the released one, or does not have that structure.
    """
    return _test_set(folder, name, RELEASED[name] if checksums == "released" else checksums)


def read_lareqa_paragraphs(folder: str | Path, name: str, languages: Sequence[str],
                           query_languages: Sequence[str] | None = None) -> TestSet:
    """The paragraphs of XQuAD-R as candidates, from the folder of its released files.

    A question's relevant one in each language is the paragraph that it is asked of; 240 a language, for 1,190
    questions. (SHIFT, Jang et al. 2026, pools ar, de, en, es, hi, ru, vi and zh.)

    Parameters
    ----------
    folder : path
    name : str
        Of the test set.
    languages : sequence of str
        Of the candidates.
    query_languages : sequence of str, optional
        Of the questions, among these; all of them by default.

    Raises
    ------
    ValueError
        If XQuAD-R has no such language, or there are questions in languages without candidates.
    FileNotFoundError, CorpusError
        As `read_lareqa`.
    """
    released = RELEASED["xquad-r"]
    for chosen, among in ((languages, released), (query_languages or languages, languages)):
        if unknown := [language for language in chosen if language not in among]:
            raise ValueError(f"test set {name!r}: there is no {', '.join(map(repr, unknown))}, only {', '.join(among)}")
    whole = _test_set(folder, name, {language: released[language] for language in languages}, paragraphs=True)
    if query_languages is None:
        return whole
    # Chosen afterwards: a question's paragraph in a language is known from the question there.
    kept = np.flatnonzero(whole.queries["language"].isin(query_languages))
    relevant = whole.relevant[whole.relevant["query"].isin(kept)].reset_index(drop=True)
    return replace(whole, queries=whole.queries.iloc[kept].reset_index(drop=True),
                   relevant=relevant.assign(query=np.searchsorted(kept, relevant["query"])))


def _test_set(folder: str | Path, name: str, checksums: dict[str, str | None], paragraphs: bool = False) -> TestSet:
    """The test set of the files of some languages, whose candidates are sentences or paragraphs."""
    queries, candidates = [], []
    for language, digest in checksums.items():
        path = Path(folder, f"{language}.json")
        if digest:
            verify_checksum(path, digest)
        own_queries, own_candidates = _read(path, language, paragraphs)
        queries += own_queries
        candidates += own_candidates
    cluster = _clusters([query[0] for query in queries], [query[1] for query in queries])
    rename = {own: f"article-{number}" for own, number in cluster.items()}
    return TestSet.from_parallel(name, tuple(checksums),
                                 [(question, rename[own], *rest) for question, own, *rest in queries],
                                 [(rename.get(own, own), *rest) for own, *rest in candidates])


def _read(path: Path, language: str, paragraphs: bool) -> tuple[list[tuple], list[tuple]]:
    """The queries and candidates of a file, as `TestSet.from_parallel` takes them, an article's name as cluster."""
    queries, candidates, asked = [], [], set()
    for number, article in enumerate(_field(read_json(path), "data", list, path, "the file")):
        own = f"{language}-{number}"
        for place, paragraph in enumerate(_field(article, "paragraphs", list, path, f"data[{number}]")):
            where = f"data[{number}].paragraphs[{place}]"
            context = _field(paragraph, "context", str, path, where)
            breaks = [[0, len(context)]] if paragraphs else _breaks(
                _field(paragraph, "sentence_breaks", list, path, where), context, path, where)
            for question in _field(paragraph, "qas", list, path, where):
                key = _field(question, "id", str, path, f"a question of {where}")
                if key in asked:
                    raise CorpusError([f"{path}: question {key!r} stands twice"])
                asked.add(key)
                text = _field(question, "question", str, path, f"question {key}")
                if reason := text_problem(text):
                    raise CorpusError([f"{path}: question {key}: {reason}"])
                answers = _field(question, "answers", list, path, f"question {key}")
                if not answers:
                    raise CorpusError([f"{path}: question {key} has no answer"])
                start = _field(answers[0], "answer_start", int, path, f"the answer of question {key}")
                holds = [i for i, (a, b) in enumerate(breaks) if a <= start < b]
                if len(holds) != 1:
                    raise CorpusError([f"{path}: question {key}: answer_start {start} is in {len(holds)} sentences, "
                                       "expected one"])
                queries.append((key, own, language, text, len(candidates) + holds[0]))
            candidates += [(own, language, context[a:b]) for a, b in breaks]
    if not queries:
        raise CorpusError([f"{path}: no questions"])
    return queries, candidates


def _breaks(breaks: list[Any], context: str, path: Path, where: str) -> list[list[int]]:
    """The sentence breaks of a paragraph, if each is a stretch of its context."""
    for pair in breaks:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(end) is int for end in pair) or not (
                0 <= pair[0] <= pair[1] <= len(context)):
            raise CorpusError([f"{path}: {where}: sentence_breaks has {pair!r:.40}, expected where a sentence "
                               f"begins and ends among {len(context)} characters"])
    return breaks


def _field(record: Any, name: str, kind: type, path: Path, where: str) -> Any:
    """A field of a record that must have it, of that type."""
    if not isinstance(record, dict):
        raise CorpusError([f"{path}: {where} is {named(record)}, expected an object"])
    if name not in record:
        raise CorpusError([f"{path}: a record has no field {name!r} (it has {sorted(record)}); expected the layout "
                           "of XQuAD-R as released"])
    if type(record[name]) is not kind:
        expected = {list: "a list", str: "text", int: "a whole number"}[kind]
        raise CorpusError([f"{path}: {where}: field {name!r} is {named(record[name])}, expected {expected}"])
    return record[name]


def load_test_set(name: str, folder: str | Path | None = None) -> TestSet:
    """A released test set by its name.

    Parameters
    ----------
    name : {"xquad-r", "mlqa-r"}
    folder : path, optional
        Of the released files; without it they are downloaded (`fetch_lareqa`).

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in RELEASED:
        raise ValueError(f"no test set {name!r}; there are: {', '.join(RELEASED)}")
    return read_lareqa(folder or fetch_lareqa(name), name)
