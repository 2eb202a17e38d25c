"""AfriQA (Ogundepo et al. 2023): questions of speakers of nine African languages, answered by English or French.

The questions are natural: asked by people who did not know the answer, before any passage was seen. Only cross-lingual
retrieval can be measured, since no document is in a query's language; each query has one that is known to answer it,
and others may. Asked are the questions of the test split; the documents are the gold passages of all splits.
"""

import json
from pathlib import Path

from hybridlib.data import CorpusError
from hybridlib.data.reading import field, read_text
from reproduction.sources.ood.records import Records

REPOSITORY, COMMIT = "masakhane-io/afriqa", "5c29933753692c28773c34ac1f68482007f1d2bb"
FILES = ("/data/gold_passages/**/*.json",)
# The language of the passages of each language's questions.
PIVOTS = {"bem": "en", "fon": "fr", "hau": "en", "ibo": "en", "kin": "en", "swa": "en", "twi": "en", "yor": "en",
          "zul": "en"}
# Released without a dev split (swa: without train, too), as far as gold passages go.
SPLITS = {"swa": ("test",), "yor": ("test", "train")}


def _passages(path: Path) -> list[tuple[str, str, str]]:
    """(Id, question, passage) of the lines that have a passage."""
    found = []
    for number, line, problem in read_text(path):
        try:
            # Not parse_json, which is strict: NaN stands in some released lines, for a title.
            record = json.loads(line or "")
        except ValueError as error:
            raise CorpusError([f"{path}:{number}: {problem or f'not JSON ({error})'}"]) from error
        if isinstance(record, dict) and record.get("context", "") is None:
            continue    # no passage was found for the question
        name, question, passage = (field(record, x, str, f"{path}:{number}").strip()
                                   for x in ("id", "question_lang", "context"))
        if passage:
            found.append((name, question, passage))
    return found


def build(folder: Path) -> Records:
    """The test set, from the folder that holds a checkout of `REPOSITORY`.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or not laid out as it is published.
    """
    asked, texts = [], {"en": {}, "fr": {}}
    for language, pivot in PIVOTS.items():
        for split in SPLITS.get(language, ("dev", "test", "train")):
            file = f"gold_span_passages.afriqa.{language}.{pivot}.{split}.json"
            for name, question, passage in _passages(folder / "afriqa" / "data" / "gold_passages" / language / file):
                texts[pivot].setdefault(passage)
                if split == "test":
                    asked.append((f"{language}:afriqa-{language}-test-{name}", language, question, pivot, passage))
    made = Records.empty()
    ids = {}
    for pivot, passages in texts.items():
        for passage in passages:
            ids[pivot, passage] = f"c{len(ids)}"
            made.hold(ids[pivot, passage], pivot, passage, ids[pivot, passage])
    for name, language, question, pivot, passage in asked:
        made.ask(name, language, question, name, ids[pivot, passage])
        made.relevant.append((name, ids[pivot, passage]))
    return made
