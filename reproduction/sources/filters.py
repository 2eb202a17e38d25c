"""What a machine translation must be to be added to a group, and adding it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hybridlib.languages import SCRIPTS
from hybridlib.progress import progress_bar
from reproduction.sources import checks

Translations = Mapping[str, str | None]  # of English texts; None if one was too long, or did not end
SIDES = ("query", "passage")
FILTERS = ("too long", "empty", "copy", "other language", "length")
# Probability of the right language. The usual question, whether the identifier is sure of a wrong one, misses a third
# of Spanish texts (it hesitates between Spanish and its neighbours), and a higher bound drops honest titles.
UNLIKELY = 0.01
# Of its English, a question's length varies more than a sentence's, for which `checks.LENGTH_RATIO` was made.
QUERY_SLACK = 1.5


def failed_filter(source: str, text: str | None, language: str, query: bool = False) -> str | None:
    """Which filter a translation fails.

    Parameters
    ----------
    source : str
        The English text.
    text : str or None
        Its translation; None if it was too long to translate, or the translation did not end.
    language : str
    query : bool
        Questions have wider bounds of length, see `QUERY_SLACK`.

    Returns
    -------
    str or None
        The first of `FILTERS` that it fails:

        * "too long": there is none;
        * "empty": no text;
        * "copy": the English text, in another script also if only case or outer space differ;
        * "other language": py3langid gives ``language`` a probability below `UNLIKELY`;
        * "length": characters over those of the English outside `checks.LENGTH_RATIO`.

    Examples
    --------
    >>> failed_filter("The sea is blue.", "The sea is blue.", "de")
    'copy'
    >>> failed_filter("The sea is blue.", "Das Meer ist blau.", "de")
    """
    if text is None:
        return "too long"
    if not text.strip():
        return "empty"
    if text == source or (language in SCRIPTS and text.strip().casefold() == source.strip().casefold()):
        return "copy"
    if dict(checks.identifier().rank(text))[language] < UNLIKELY:
        return "other language"
    low, high = checks.LENGTH_RATIO[language]
    slack = QUERY_SLACK if query else 1
    return None if low / slack <= len(text) / len(source) <= high * slack else "length"


def lacking(record: dict[str, Any], language: str) -> dict[str, list[str]]:
    """What a group lacks in a language and has in English: ``{field: [text, …]}`` of query, passage and negatives.

    Nothing, where its pair could not be made whole, or is there already.
    """
    if any(language not in record[side] and "en" not in record[side] for side in SIDES):
        return {}
    texts = {side: [record[side]["en"]] for side in SIDES if language not in record[side]}
    negatives = record.get("negatives") or {}
    if texts and "en" in negatives and language not in negatives:
        texts["negatives"] = negatives["en"]
    return texts


def add_language(record: dict[str, Any], language: str, translations: Translations, counts: Counter) -> None:
    """Add a language to a group: both query and passage, or neither; of the negatives those that pass.

    Parameters
    ----------
    record : dict
        A group, changed in place.
    language : str
    translations : dict of str to (str or None)
        Of the English texts; one that is missing was too long.
    counts : Counter of (language, "pairs" or "negatives", column of `add_languages`' table)
        Changed in place.
    """
    texts = lacking(record, language)
    if not texts:
        return
    negatives = texts.pop("negatives", [])
    found = {side: translations.get(text) for side, (text,) in texts.items()}
    failed = [name for side, (text,) in texts.items()
              if (name := failed_filter(text, found[side], language, side == "query"))]
    counts.update((language, "pairs", column) for column in ("asked", failed[0] if failed else "kept"))
    if failed:
        return
    for side, text in found.items():
        record[side][language] = text
    kept = []
    for text in negatives:
        failed = failed_filter(text, translations.get(text), language)
        if not failed and translations[text] == record["passage"][language]:
            failed = "copy"  # of the passage: two English texts with one translation
        counts.update((language, "negatives", column) for column in ("asked", failed or "kept"))
        kept += [] if failed else [translations[text]]
    if kept:
        record["negatives"][language] = kept


def add_languages(records: Iterable[dict[str, Any]], translations: Mapping[str, Translations]) -> pd.DataFrame:
    """Add languages to groups, as far as their translations pass the filters.

    Parameters
    ----------
    records : list of dict
        Groups, changed in place.
    translations : dict of language to (dict of English text to (str or None))

    Returns
    -------
    DataFrame of int
        Rows: language, and "pairs" or "negatives"; columns: "asked", each of `FILTERS` (what fails several counts in
        the first; a pair in that of its query, if both fail) and "kept". A negative whose pair failed is not asked.
    """
    counts = Counter()
    for record in progress_bar(records, desc="filtering", unit="group"):
        for language, found in translations.items():
            add_language(record, language, found, counts)
    rows = pd.MultiIndex.from_product([translations, ["pairs", "negatives"]], names=["language", "of"])
    columns = ("asked", *FILTERS, "kept")
    return pd.DataFrame({column: [counts[*row, column] for row in rows] for column in columns}, rows)
