"""English groups into further languages, with an open translation model; what does not pass the filters stays out.

``python -m hybridlib.translation FILE --to de zh --out FILE`` reads a file in the groups format (`hybridlib.corpus`),
says what the work will cost, translates each distinct English text once, and writes the same groups with the further
languages. Texts go in shards of similar length; each shard of a language is a file in the folder ``<out>.work`` that
appears when it is whole. Run again, a killed run goes on there: it loses the shards that its processes were at, and
nothing else is translated twice. ``--out`` appears when it is whole. The processes of ``torchrun -m
hybridlib.translation …`` share the shards out among them.

Two families of models are known, both loaded by transformers, from safetensors only:

* NLLB-200 (Costa-jussà et al. 2022, arXiv 2207.04672), CC BY-NC 4.0: **not for commercial use**;
* M2M-100 (Fan et al. 2020, arXiv 2010.11125), MIT; its tokenizer needs `pip install hybridlib[translation]`.

Both are made to translate sentences. A passage is given to the model as one text: of a long one, sentences may get
lost, which the length filter finds where it is much. Decoding is greedy.

Memory: the model, all texts of the file and their translations.
"""

import argparse
import gzip
import io
import json
import sys
import time
import unicodedata
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from tqdm.auto import tqdm

from hybridlib import checks, corpus, encoders, runs
from hybridlib.corpus import LANGUAGES

# Language codes as the tokenizers name them: NLLB's are those of FLORES-200, M2M-100's are ISO 639-1.
FLORES = {"ar": "arb_Arab", "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn", "hi": "hin_Deva",
          "ru": "rus_Cyrl", "th": "tha_Thai", "tr": "tur_Latn", "vi": "vie_Latn", "zh": "zho_Hans"}
MODEL = "facebook/nllb-200-distilled-600M"
# The main revisions of these repositories hold pickles only; the hub's conversion bot left safetensors in pull
# requests. Per model the revision and the weights' sha256 where it is known (a full commit hash pins them as well).
# From stored copies of the hub's pages; not compared with the hub itself.
PINNED = {
    MODEL: ("refs/pr/29", "ca41e084084466b348cdc519f9762bcfc6c352f35c2fbee5588194de8da63da8"),
    "facebook/nllb-200-1.3B": ("05f78f6164fc0a21a225794b50a6413ea51718db", None),
    "facebook/nllb-200-3.3B": ("f046cc4ebd1ea4aa8015c3d48282a6299d9f3915", None),
    "facebook/m2m100_418M": ("17ef199e3a3479ca5d572350066761c5e926ac03", None)}
TO = ("ar", "de", "es", "hi", "ru", "th", "tr", "zh")  # the paper's training languages, but English
SHARD = 256  # texts
MAX_TOKENS = 512  # what NLLB was trained on at most, as its model card says
# Small batches suit a processor's caches; an accelerator needs more to be busy.
BATCH_TOKENS = {"cpu": 2**11, "cuda": 2**13}
SIDES = ("query", "passage")
FILTERS = ("too long", "empty", "copy", "other language", "length")
# Probability of the right language. The usual question, whether the identifier is sure of a wrong one, misses a third
# of Spanish texts (it hesitates between Spanish and its neighbours), and a higher bound drops honest titles.
UNLIKELY = 0.01
# Of its English, a question's length varies more than a sentence's, for which `checks.LENGTH_RATIO` was made.
QUERY_SLACK = 1.5


@dataclass(frozen=True)
class Translator:
    """A translation model with its tokenizer; `load` makes one.

    Attributes
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    source : str
        Name and revision, for the manifest.
    files : dict of str to str
        The sha256 of each file that it was loaded from.
    """

    model: torch.nn.Module
    tokenizer: object
    source: str
    files: dict

    def _name(self, language):
        """What the model calls a language: (for the tokenizer, the token's id); None if it does not know it."""
        for name, token in ((FLORES[language], FLORES[language]), (language, f"__{language}__")):
            number = self.tokenizer.convert_tokens_to_ids(token)
            if number not in (None, self.tokenizer.unk_token_id):
                return name, number
        return None

    def knows(self, language):
        """Whether the model translates into (and from) a language of `FLORES`."""
        return self._name(language) is not None

    def count(self, texts):
        """Tokens of each English text, the language's and the end's included: a list of int."""
        self.tokenizer.src_lang = self._name("en")[0]
        return [len(ids) for ids in self.tokenizer(texts)["input_ids"]] if texts else []

    def translate(self, texts, language):
        """One batch of English texts into a language, greedily.

        Parameters
        ----------
        texts : list of str
        language : str

        Returns
        -------
        list of (str or None)
            None for a translation that had not ended at twice the tokens of the batch's longest text, and 20: models
            that lose their way repeat themselves without an end.
        """
        self.tokenizer.src_lang = self._name("en")[0]
        features = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            found = self.model.generate(
                **features, forced_bos_token_id=self._name(language)[1], num_beams=1, do_sample=False,
                max_new_tokens=2 * features["input_ids"].shape[1] + 20)[:, 1:]  # the first is the start, not an end
        ended = (found == self.tokenizer.eos_token_id).any(1).tolist()
        texts = self.tokenizer.batch_decode(found, skip_special_tokens=True)
        return [unicodedata.normalize("NFC", text).strip() if end else None
                for text, end in zip(texts, ended, strict=True)]


def _fetch(name, revision):
    """The folder of a model from the hub, its weights' expected sha256 (or None), and its revision."""
    from huggingface_hub import snapshot_download

    expected = None
    if revision is None:
        if name not in PINNED:
            raise ValueError(f"{name}: no revision is pinned for it; give one that holds *.safetensors with --revision "
                             f"(a full commit hash). Pinned are {', '.join(PINNED)}")
        revision, expected = PINNED[name]
    try:
        # What is not asked for cannot be loaded by mistake: no pickle, no code.
        folder = snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors", "*.model"])
    except OSError as error:
        raise ConnectionError(f"{name} at {revision} could not be had: {error}\nGet the files by other means and give "
                              "their folder with --model") from error
    return Path(folder), expected, revision


def load(name=MODEL, revision=None, device="cpu", dtype=torch.float32):
    """Load a translation model.

    Parameters
    ----------
    name : str
        A folder, or a name at the hub.
    revision : str, optional
        Of a hub name; by default that of `PINNED`.
    device : str or torch.device
    dtype : torch.dtype

    Returns
    -------
    Translator

    Raises
    ------
    FileNotFoundError, ConnectionError
        If there is no such folder, or the hub cannot be reached.
    ValueError
        If there are no safetensors, they are not the pinned ones, or the model is of neither family.
    ImportError
        If the tokenizer needs a package that is not installed.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder, expected, source = Path(name), None, str(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith("."):
            raise FileNotFoundError(f"{name}: no such folder")
        folder, expected, revision = _fetch(name, revision)
        source = f"{name} at {revision}"
    if not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"{source}: no *.safetensors, and pickles are not loaded. Give a revision that has them with --revision "
            "(the hub's conversion bot leaves them in pull requests, refs/pr/<number>), or convert the model once "
            "yourself, where you trust it: AutoModelForSeq2SeqLM.from_pretrained(…).save_pretrained(folder), likewise "
            "its AutoTokenizer; then give the folder with --model")
    files = {file.name: runs.sha256(file) for file in sorted(folder.iterdir())
             if file.suffix in (".json", ".safetensors", ".model")}
    if expected not in (None, files.get("model.safetensors")):
        raise ValueError(f"{source}: sha256 of model.safetensors is {files.get('model.safetensors')}, expected "
                         f"{expected}; the revision has changed. Give the one that you trust with --revision")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, dtype=dtype).to(device).eval()
    # Checkpoints of both families cut at 200 tokens; `Translator.translate` has its own end.
    model.generation_config.max_length = None
    translator = Translator(model, tokenizer, source, files)
    if not translator.knows("en"):
        raise ValueError(f"{source}: not of the NLLB-200 or M2M-100 family, its tokenizer has neither a token "
                         f"{FLORES['en']} nor __en__")
    return translator


def verdict(source, text, language, query=False):
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
    >>> verdict("The sea is blue.", "The sea is blue.", "de")
    'copy'
    >>> verdict("The sea is blue.", "Das Meer ist blau.", "de")
    """
    if text is None:
        return "too long"
    if not text.strip():
        return "empty"
    if text == source or (language in checks.SCRIPTS and text.strip().casefold() == source.strip().casefold()):
        return "copy"
    if dict(checks.identifier().rank(text))[language] < UNLIKELY:
        return "other language"
    low, high = checks.LENGTH_RATIO[language]
    slack = QUERY_SLACK if query else 1
    return None if low / slack <= len(text) / len(source) <= high * slack else "length"


def lacking(record, language):
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


def add(record, language, translations, counts):
    """Add a language to a group: both query and passage, or neither; of the negatives those that pass.

    Parameters
    ----------
    record : dict
        A group, changed in place.
    language : str
    translations : dict of str to (str or None)
        Of the English texts; one that is missing was too long.
    counts : Counter of (language, "pairs" or "negatives", column of `judge`'s table)
        Changed in place.
    """
    texts = lacking(record, language)
    if not texts:
        return
    negatives = texts.pop("negatives", [])
    found = {side: translations.get(text) for side, (text,) in texts.items()}
    failed = [name for side, (text,) in texts.items()
              if (name := verdict(text, found[side], language, side == "query"))]
    counts.update((language, "pairs", column) for column in ("asked", failed[0] if failed else "kept"))
    if failed:
        return
    for side, text in found.items():
        record[side][language] = text
    kept = []
    for text in negatives:
        failed = verdict(text, translations.get(text), language)
        counts.update((language, "negatives", column) for column in ("asked", failed or "kept"))
        kept += [] if failed else [translations[text]]
    if kept:
        record["negatives"][language] = kept


def judge(records, translations):
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
    for record in tqdm(records, desc="filtering", unit="group"):
        for language, found in translations.items():
            add(record, language, found, counts)
    rows = pd.MultiIndex.from_product([translations, ["pairs", "negatives"]], names=["language", "of"])
    columns = ("asked", *FILTERS, "kept")
    return pd.DataFrame({column: [counts[*row, column] for row in rows] for column in columns}, rows)


@dataclass(frozen=True)
class Shard:
    """Texts of similar length, to be translated into one language, and the file of their translations."""

    language: str
    file: Path
    texts: list
    tokens: int


def shards(folder, records, languages, translator, size):
    """All shards of a file, there or not: the distinct texts per language, longest first, cut every ``size`` texts.

    Texts above `MAX_TOKENS` are left out. The shards of a language do not depend on the other languages.
    """
    wanted = {language: list(dict.fromkeys(text for record in records for texts in lacking(record, language).values()
                                           for text in texts)) for language in languages}
    distinct = list(dict.fromkeys(text for texts in wanted.values() for text in texts))
    tokens = dict(zip(distinct, translator.count(distinct), strict=True))
    found = []
    for language, texts in wanted.items():
        texts = sorted((text for text in texts if tokens[text] <= MAX_TOKENS), key=lambda text: -tokens[text])
        for number, start in enumerate(range(0, len(texts), size)):
            part = texts[start:start + size]
            found.append(Shard(language, Path(folder, language, f"{number:05}.json"), part,
                               sum(tokens[text] for text in part)))
    return found


def batches(texts, tokens, budget):
    """Cut texts, longest first, into batches of at most ``budget`` padded tokens, at least one text each.

    >>> list(batches(["long text", "text", "a", "b", "c"], [6, 3, 1, 1, 1], 6))
    [['long text'], ['text', 'a'], ['b', 'c']]
    """
    at = 0
    while at < len(texts):
        size = max(1, budget // tokens[at])
        yield texts[at:at + size]
        at += size


def _amount(missing, total):
    """How much there is to translate, in words."""
    distinct, languages = {text for shard in missing for text in shard.texts}, {shard.language for shard in missing}
    return (f"{len(distinct):,} distinct texts into {len(languages)} languages: "
            f"{sum(shard.tokens for shard in missing):,} tokens of English in {len(missing):,} shards "
            f"({total - len(missing):,} more are there already)")


def _translate(mine, translator, budget, show, say):
    """Translate shards and write their files, one of middle length first.

    Parameters
    ----------
    mine : list of Shard
    translator : Translator
    budget : int
        Of padded tokens in a batch.
    show : bool
        Whether to show progress.
    say : callable or None
        Called once, after the first batch, with its number of texts and its tokens of English a second.
    """
    by_length = sorted(mine, key=lambda shard: shard.tokens / len(shard.texts))
    first = by_length[len(mine) // 2:len(mine) // 2 + 1]
    with tqdm(total=sum(len(shard.texts) for shard in mine), desc="translating", unit="text", disable=not show) as bar:
        for shard in first + [shard for shard in mine if shard not in first]:
            found, lengths = [], translator.count(shard.texts)
            for batch in batches(shard.texts, lengths, budget):
                started = time.monotonic()
                found += translator.translate(batch, shard.language)
                if say:
                    say(len(batch), sum(lengths[:len(batch)]) / (time.monotonic() - started))
                    say = None
                bar.update(len(batch))
            runs.write_json(shard.file, found)


def write(path, records):
    """Write groups (records as `judge` takes them) as JSON Lines, ``.gz`` allowed; equal ones give equal bytes."""
    with runs.atomic(path) as temporary, open(temporary, "wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, "utf-8", newline="\n") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def run(path, out, model=MODEL, revision=None, to=TO, shard_size=SHARD):
    """Translate a file of groups; see the head of this module.

    Parameters
    ----------
    path : path
        A file in the groups format; ids need not be unique and stay as they are.
    out : path
        The same groups with further languages, in the same format, ``.gz`` allowed. Beside it ``<out>.counts.csv``
        and ``<out>.manifest.json``, and the folder ``<out>.work`` of shards. It may be removed when all is done; left
        there, a language can be added later at no more than its own price.
    model, revision : str
        As `load` takes them.
    to : collection of str
        Languages of `FLORES` but English.
    shard_size : int
        Texts in a shard: what a killed process has to translate again, at most.

    Returns
    -------
    DataFrame or None
        As of `judge`; None in other processes than the first.

    Raises
    ------
    CorpusError, FileNotFoundError
        If the file cannot be read as groups.
    ValueError, OSError, ImportError
        If there is nothing to translate, ``out`` is the file itself, or the model cannot be used; before any work.
    """
    started, path, out = time.monotonic(), Path(path), Path(out)
    if path.resolve() == out.resolve():
        raise ValueError(f"{out}: is the file to translate; choose another name for --out")
    corpus.read_groups(path, ids="lines")
    records = [record for _, record, _ in corpus._lines(path)]
    if not any(lacking(record, language) for record in records for language in to):
        raise ValueError(f"{path}: nothing to translate: no group has an English query and passage and lacks one of "
                         f"{' '.join(to)}")
    # Several processes without a GPU see each other only if told that they are on the processor. One that is done
    # with its shards waits for the others, however long they take.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=timedelta(weeks=1))
    dtype = torch.bfloat16 if encoders.in_bfloat16("auto", state.device) else torch.float32
    with state.main_process_first():
        translator = load(model, revision, state.device, dtype)
    if unknown := [language for language in to if not translator.knows(language)]:
        raise ValueError(f"{translator.source}: its tokenizer has no token for {' '.join(unknown)}")

    budget = BATCH_TOKENS[state.device.type]
    settings = {"files": translator.files, "input": runs.sha256(path), "precision": str(dtype).removeprefix("torch."),
                "shard": shard_size, "max_tokens": MAX_TOKENS, "batch_tokens": budget, "beams": 1}
    folder = out.with_name(f"{out.name}.work") / runs.key(settings)
    every = shards(folder, records, to, translator, shard_size)
    missing = [shard for shard in every if not shard.file.is_file()]
    # All must have listed the folder before anyone adds to it: the lists are shared out, and must be the same.
    state.wait_for_everyone()
    if state.is_main_process and missing:
        runs.write_json(folder / "settings.json", settings)
        print(_amount(missing, len(every)), flush=True)

    def say(texts, speed):
        left = timedelta(seconds=round(sum(shard.tokens for shard in missing) / speed / state.num_processes))
        tqdm.write(f"about {left} (h:mm:ss) on {state.num_processes} such process(es), {state.device.type}: a first "
                   f"batch, of {texts} texts of middle length, went at {speed:,.0f} tokens a second")

    with state.split_between_processes(missing) as mine:
        _translate(mine, translator, budget, state.is_main_process, say if state.is_main_process else None)
    state.wait_for_everyone()
    if not state.is_main_process:
        return None

    translations = {language: {} for language in to}
    for shard in every:
        found = json.loads(shard.file.read_text("utf-8"))
        translations[shard.language].update(zip(shard.texts, found, strict=True))
    counts = judge(records, translations)
    with runs.atomic(out.with_name(f"{out.name}.counts.csv")) as temporary:
        counts.to_csv(temporary)
    runs.write_json(out.with_name(f"{out.name}.manifest.json"), runs.manifest(
        started, model=translator.source, settings=settings, to=list(to), device=str(state.device),
        processes=state.num_processes))
    write(out, records)
    return counts


def main(arguments=None):
    """Entry point of ``python -m hybridlib.translation``."""
    parser = argparse.ArgumentParser(prog="python -m hybridlib.translation", description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="groups with English queries and passages")
    parser.add_argument("--model", default=MODEL, help=f"a hub name, or a folder (default: {MODEL}; not for "
                        "commercial use)")
    parser.add_argument("--revision", help="of a hub name; must hold safetensors (default: the pinned one)")
    parser.add_argument("--to", nargs="+", choices=[x for x in LANGUAGES if x != "en"], default=TO, metavar="LANGUAGE",
                        help=f"of {' '.join(x for x in LANGUAGES if x != 'en')} (default: {' '.join(TO)})")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--shard-size", type=int, default=SHARD, help="texts that a kill loses at most (default: "
                        f"{SHARD})")
    chosen = parser.parse_args(arguments)
    if chosen.shard_size < 1:
        parser.error("--shard-size must be at least 1")
    try:
        counts = run(chosen.file, chosen.out, chosen.model, chosen.revision, dict.fromkeys(chosen.to),
                     chosen.shard_size)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"hybridlib: {error}")
    if counts is not None:
        print(counts.to_string())
        print(chosen.out)


if __name__ == "__main__":
    main()
