"""The paper's nine training sets, and SQuADShifts for selection: from their public homes to files in our groups format.

    python -m hybridlib.training_sets                                     what is there, what is missing, how to get it
    python -m hybridlib.training_sets wikiqa mr-tydi --out FOLDER         download at pinned revisions
    python -m hybridlib.training_sets newsqa --data FILES --out FOLDER    from files in the published layout

The paper says only that they are question-passage pairs; how a row becomes one is our choice, in `SETS`. The texts are
English, with runs of white space made one space. No set gives more pairs than the paper has of it, so that the sets
keep its proportions: of a larger one the rows are read in an order drawn by seed 0 until that many are there.

Each ``<name>.jsonl.gz`` has a ``<name>.json`` beside it, written last: home, revision, licence, counts, sha256.
"""

import argparse
import gzip
import io
import json
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import pandas as pd
from huggingface_hub import snapshot_download
from tqdm.auto import tqdm

from hybridlib import mmarco, paper, runs
from hybridlib.corpus import CorpusError

WORDS = 100


def around(text, start, end, words=WORDS):
    """The ``words`` words around ``text[start:end]``, as evenly on both sides as the text's ends allow.

    As long as the passages of DPR (Karpukhin et al. 2020), for texts that are too long to encode.

    >>> around("one two three four five six seven", 14, 18, words=3)
    'three four five'
    >>> around("one two three four five six seven", 0, 3, words=3)
    'one two three'
    """
    spans = [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    inside = [number for number, (a, b) in enumerate(spans) if a < end and b > start]
    first = max(0, min((inside[0] + inside[-1] + 1 - words) // 2, len(spans) - words))
    return " ".join(text[a:b] for a, b in spans[first:first + words])


def _titled(passage):
    return f"{passage['title']} {passage['text']}"


def _wikiqa(row):
    if row["label"] == 1:
        yield row["question"], row["answer"]


def _mr_tydi(row):
    for passage in row["positive_passages"]:
        yield row["query"], _titled(passage)


def _duorc(row):
    for answer in [] if row["no_answer"] else row["answers"]:
        if answer.strip() and (start := row["plot"].find(answer)) >= 0:
            yield row["question"], around(row["plot"], start, start + len(answer))
            return


def _newsqa(row):
    for question in row["questions"] if row["type"] == "train" else []:
        start, end = question["consensus"]["s"], question["consensus"]["e"]
        if start is not None and row["text"][start:end].strip():
            yield question["q"], around(row["text"], start, end)


def _natural_questions(row):
    yield row["query"], row["answer"]


def _yahoo(row):
    yield row["title"], row["answer"]


def _entity_questions(row):
    passage = next((found for found in row["ctxs"] if found["has_answer"]), None)
    if passage:
        yield row["question"], _titled(passage)


def _mfaq(row):
    for pair in row["qa_pairs"]:
        yield pair["question"], pair["answer"]


def _squadshifts(row):
    yield row["question"], row["context"]


@dataclass(frozen=True)
class TrainingSet:
    """Where a set comes from, and how a row of it becomes question-passage pairs.

    Attributes
    ----------
    title : str
        As the paper's Table 9 has it.
    home : str
        A data set of the hub, or the page of a set that cannot be downloaded by a program.
    revision : str or None
        Commit of the hub; None where there is none to pin: then the files must be given.
    files : tuple of str
        Relative to the home's root, or to the folder that is given.
    reader : {"parquet", "json"}
        Which builder of `datasets` reads them; none of them runs code of the set.
    fields : dict of str to type
        What must be there; ``a.b`` is the field b inside a, through lists.
    pairs : callable
        A row to its (question, passage) pairs, any number of them.
    licence, choice : str
    get : str
        How to get the files where that takes more than a download.
    field : str, optional
        Of a JSON file, under which field the rows are.
    """

    title: str
    home: str
    revision: str | None
    files: tuple
    reader: str
    fields: dict
    pairs: Callable
    licence: str
    choice: str
    get: str = ""
    field: str | None = None


# Revisions are those that the hub's own pages show for the files named here, as public copies of these pages have them;
# not compared with the hub itself.
SETS = {
    "wikiqa": TrainingSet(
        "WikiQA", "microsoft/wiki_qa", "3f104672b5de699878fe7907afc486f0de325eb5", ("data/*.parquet",), "parquet",
        {"question": str, "answer": str, "label": int}, _wikiqa, "Microsoft Research Data License",
        "sentences labelled 1, of all three splits: only together do they come near the paper's number"),
    "mr-tydi": TrainingSet(
        "Mr. TyDi", "castorini/mr-tydi", "a05d7f0bf105cb974d293c1d782938074de8d419",
        ("mrtydi-v1.1-english/train.jsonl.gz",), "json",
        {"query": str, "positive_passages.title": str, "positive_passages.text": str}, _mr_tydi, "Apache-2.0",
        "English training queries with each positive passage, its title in front"),
    "duorc": TrainingSet(
        "DuoRC", "ibm-research/duorc", "2de12436b8945030c283bf4af83925d60efe10c6", ("SelfRC/train-*.parquet",),
        "parquet", {"plot": str, "question": str, "answers": [str], "no_answer": bool}, _duorc, "MIT",
        f"SelfRC, train; the {WORDS} words around the first place where an answer stands in the plot; a question "
        "whose answer stands nowhere is left out"),
    "newsqa": TrainingSet(
        "NewsQA", "https://github.com/Maluuba/newsqa", None, ("combined-newsqa-data-v1.json",), "json",
        {"text": str, "type": str, "questions.q": str, "questions.consensus.s": int, "questions.consensus.e": int},
        _newsqa, "Microsoft's and CNN's terms; not to be passed on",
        f"train; the {WORDS} words around the answer that the crowd agreed on; none, no pair",
        "accept Microsoft's terms for the questions, get the CNN stories, and pack both by the steps of its README; "
        "--data is the folder of the file that this makes", field="data"),
    "natural-questions": TrainingSet(
        "Google NQ", "sentence-transformers/natural-questions", "f9e894e1081e206e577b4eaa9ee6de2b06ae6f17",
        ("pair/train-*.parquet",), "parquet", {"query": str, "answer": str}, _natural_questions, "CC BY-SA 3.0",
        "the pairs of that copy: the question and its long answer"),
    "yahoo": TrainingSet(
        "Yahoo QA", "sentence-transformers/yahoo-answers", "93b3605c508cf93e3666c9d3e34640b5fe62b507",
        ("title-answer-pair/train-*.parquet",), "parquet", {"title": str, "answer": str}, _yahoo,
        "none stated; Yahoo's terms", "the question's title and the best answer"),
    "entityquestions": TrainingSet(
        "EntityQuestions", "https://github.com/princeton-nlp/EntityQuestions", None, ("P*.train.json",), "json",
        {"question": str, "ctxs.title": str, "ctxs.text": str, "ctxs.has_answer": bool}, _entity_questions,
        "MIT; passages CC BY-SA 3.0",
        "the set has questions and answers but no passages: the best of BM25's passages of DPR's Wikipedia that has "
        "an answer, as its authors retrieve them, the title in front; none, no pair",
        "download dataset.zip and DPR's psgs_w100.tsv, index it and run bm25/bm25_retriever.py over "
        "dataset/train/P*.train.json by the steps of its README; --data is the folder of the results"),
    "mfaq": TrainingSet(
        "MFAQ", "clips/mfaq", "72248e10c1bbe5e3c3710e5e969a41947ca43937", ("data/en/train.jsonl",), "json",
        {"qa_pairs.question": str, "qa_pairs.answer": str}, _mfaq, "CC0-1.0", "every pair of every English page"),
    # A copy of ludwigschmidt/squadshifts, which has only a script: its four test sets, cut in three each.
    "squadshifts": TrainingSet(
        "SQuADShifts", "lmqg/qa_squadshifts", "a2cea37f3153f25e6924bc3e6a05baca6a475fec",
        tuple(f"{part}/*.parquet" for part in ("new_wiki", "nyt", "reddit", "amazon")), "parquet",
        {"question": str, "context": str}, _squadshifts, "CC BY 4.0",
        "selection only: all four domains, the question and its paragraph"),
}
_TYPES = {str: ("string", "large_string"), int: ("int8", "int32", "int64"), bool: ("bool",)}


def _leaf(features, path):
    """What stands at a path of fields; the name of the first one that is missing."""
    for name in path.split("."):
        while isinstance(features, (datasets.List, datasets.LargeList)):
            features = features.feature
        if not isinstance(features, dict) or name not in features:
            return None, name
        features = features[name]
    return features, None


def check(dataset, chosen):
    """Raise `CorpusError` if a field is missing or of another type than published; names the set and the field."""
    problems = []
    for path, kind in chosen.fields.items():
        found, missing = _leaf(dataset.features, path)
        if missing:
            problems.append(f"{chosen.title}: field {path!r}: there is no {missing!r}")
            continue
        if isinstance(kind, list):
            kind, found = kind[0], getattr(found, "feature", found)
        known = isinstance(found, datasets.ClassLabel) if kind is int else False
        if not known and getattr(found, "dtype", None) not in _TYPES[kind]:
            problems.append(f"{chosen.title}: field {path!r} is {found}, expected {kind.__name__}")
    if problems:
        raise CorpusError([*problems, f"{chosen.title}: the fields are {list(dataset.features)}; its layout is not "
                           f"the published one ({chosen.home})"])


def load(name, data=None):
    """A set as published.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    data : path, optional
        Folder of its files; without it they are downloaded at the pinned revision.

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    ValueError
        If the set cannot be downloaded and no folder was given.
    FileNotFoundError, ConnectionError, CorpusError
        If files are missing, cannot be had, or are not in the published layout.
    """
    chosen = SETS[name]
    if data is None and chosen.revision is None:
        raise ValueError(f"{chosen.title} cannot be downloaded by a program: {chosen.get} ({chosen.home})")
    if data is None:
        try:
            data = snapshot_download(chosen.home, repo_type="dataset", revision=chosen.revision,
                                     allow_patterns=list(chosen.files))
        except OSError as error:
            raise ConnectionError(f"{chosen.home} at {chosen.revision} could not be had: {error}\nGet the files by "
                                  "other means and give their folder with --data") from error
    if absent := [file for file in chosen.files if not list(Path(data).glob(file))]:
        raise FileNotFoundError(f"{Path(data, absent[0])}: no such file; {data} must be laid out as {chosen.home}")
    options = {"field": chosen.field} if chosen.field else {}
    try:
        dataset = datasets.load_dataset(chosen.reader, split="train", **options, data_files={
            "train": [str(Path(data, file)) for file in chosen.files]})
    except datasets.exceptions.DatasetGenerationError as error:
        raise CorpusError([f"{chosen.title}: {error.__cause__ or error}"]) from error
    check(dataset, chosen)
    return dataset


def read(name, dataset):
    """Yield the (question, passage) pairs of a set, at most as many as the paper has.

    Parameters
    ----------
    name : str
        A key of `SETS`.
    dataset : datasets.Dataset
        As `load` returns it.
    """
    chosen, limit = SETS[name], papers(name)
    check(dataset, chosen)
    if limit is not None and len(dataset) > 1:
        dataset = dataset.shuffle(seed=0)
    count = 0
    for row in tqdm(dataset, desc=name, unit=" rows"):
        for pair in chosen.pairs(row):
            question, passage = (" ".join(text.split()) for text in pair)
            if question and passage:
                yield question, passage
                count += 1
                if count == limit:
                    return


def papers(name):
    """How many pairs a language the paper has of a set; None of SQuADShifts."""
    title = "mMARCO" if name == "mmarco" else SETS[name].title
    return paper.training_data().get(title)


def make(name, out, data=None):
    """Write ``<out>/<name>.jsonl.gz`` and ``<name>.json``, unless they are there at the pinned revision.

    ``mmarco`` becomes the folder ``<out>/mmarco`` (`hybridlib.mmarco.prepare`).

    Returns
    -------
    dict
        What the ``.json`` holds.
    """
    out = Path(out)
    said, file = out / f"{name}.json", out / f"{name}.jsonl.gz"
    if name == "mmarco":
        return mmarco.prepare(data or mmarco.fetch(), out / name)
    chosen = SETS[name]
    if data is None and said.is_file() and file.is_file():
        facts = json.loads(said.read_text("utf-8"))
        if facts["revision"] == chosen.revision and facts["sha256"] == runs.sha256(file):
            return facts
    dataset, count = load(name, data), 0
    said.unlink(missing_ok=True)
    with (runs.atomic(file) as temporary, open(temporary, "wb") as raw,
          gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as text):
        for question, passage in read(name, dataset):
            count += 1
            text.write(json.dumps({"id": f"{name}:{count}", "query": {"en": question}, "passage": {"en": passage}},
                                  ensure_ascii=False) + "\n")
        if not count:
            raise CorpusError([f"{chosen.title}: none of its {len(dataset)} rows gives a pair"])
    facts = {"home": chosen.home, "revision": chosen.revision if data is None else "given", "licence": chosen.licence,
             "languages": ["en"], "rows": len(dataset), "groups": count, "sha256": runs.sha256(file)}
    runs.write_json(said, facts)
    return facts


def _command(name):
    return f"python -m hybridlib.training_sets {name} --out FOLDER" + (
        " --data FILES" if name in SETS and SETS[name].revision is None else "")


def overview(folder=None):
    """The sets as a table: home, licence, the paper's pairs per language and ours, and what to do about those missing.

    Parameters
    ----------
    folder : path, optional
        Where they were made.
    """
    rows = {}
    for name in [*SETS, "mmarco"]:
        file = Path(folder, f"{name}.json") if folder else None
        facts = json.loads(file.read_text("utf-8")) if file and file.is_file() else {}
        home, revision, licence, get = (
            (mmarco.HOME, mmarco.REVISION, "Apache-2.0; MS MARCO's terms: research, not commercial", "")
            if name == "mmarco" else (SETS[name].home, SETS[name].revision, SETS[name].licence, SETS[name].get))
        rows[name] = {
            "home": home, "revision": revision or "none", "licence": licence, "paper": papers(name),
            "ours": facts.get("groups"), "languages": " ".join(facts.get("languages", [])),
            "state": "present" if facts else f"missing: {_command(name)}" + (f"; before that, {get}" if get else "")}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"paper": "Int64", "ours": "Int64"})


def resolve(data, folder):
    """What a preset says of its data, with file and checksum of each set that was made here.

    Parameters
    ----------
    data : dict
        ``training``, a list of entries, ``selection``, an entry, and ``partial``: whether to leave out training sets
        that are missing, with a warning, rather than to stop. Entries with ``format: set`` have a ``name``, a key of
        `SETS` or "mmarco"; others stay as they are.
    folder : path

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        Names every set that is missing, and the command that makes it.
    """
    def found(entry):
        name = entry.get("name")
        if entry.get("format") != "set":
            return entry
        said = Path(folder, f"{name}.json")
        if not said.is_file():
            missing.append(name)
            return None
        kind, file = ("mmarco", name) if name == "mmarco" else ("groups", f"{name}.jsonl.gz")
        return {"format": kind, "name": name, "file": file, "sha256": json.loads(said.read_text("utf-8"))["sha256"]}

    missing = []
    training = [entry for entry in map(found, data["training"]) if entry]
    skipped, selection = list(missing), found(data["selection"])
    if missing and not (data.get("partial") and training and selection):
        raise FileNotFoundError(
            f"{folder} does not have {', '.join(missing)}; make them with\n"
            + "\n".join(f"  {_command(name)}" for name in missing)
            + "\nor, to train on those that are there, set partial: true under data in the preset's file")
    if skipped:
        warnings.warn(f"training without {', '.join(skipped)}, which {folder} does not have", stacklevel=2)
    return data | {"training": training, "selection": selection}


def main(arguments=None):
    """Entry point of ``python -m hybridlib.training_sets``."""
    parser = argparse.ArgumentParser(prog="python -m hybridlib.training_sets", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {' '.join([*SETS, 'mmarco'])}; none: the table")
    parser.add_argument("--out", type=Path, help="folder of the finished files")
    parser.add_argument("--data", type=Path, help="folder of one set's files in the published layout; else downloaded")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - {*SETS, "mmarco"}:
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {' '.join([*SETS, 'mmarco'])}")
    if chosen.names and not chosen.out:
        parser.error("give the folder of the finished files with --out")
    if chosen.data and len(chosen.names) != 1:
        parser.error("--data is the folder of one set: name that one")
    try:
        for name in chosen.names:
            facts = make(name, chosen.out, chosen.data)
            print(f"{name}: {facts['groups']:,} groups")
    except (OSError, ValueError) as error:
        sys.exit(f"hybridlib: {error}")
    if not chosen.names:
        print(overview(chosen.out).to_string())


if __name__ == "__main__":
    main()
