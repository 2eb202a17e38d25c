"""English groups into further languages, with an open translation model; what does not pass the filters stays out.

``python -m reproduction.sources.translation FILE --to de zh --out FILE`` reads a file in the groups format
(`hybridlib.data.groups`), says what the work will cost, translates each distinct English text once, and writes the same
groups with the further languages. The models are those of `reproduction.sources.translator`.

Texts go in shards of similar length; each shard of a language is a file in the folder ``<out>.work`` that appears when
it is whole. Run again, a killed run goes on there: it loses the shards that its processes were at, and nothing else is
translated twice. ``--out`` appears when it is whole. The processes of ``torchrun -m reproduction.sources.translation
…`` share the shards out among them.

Memory: the model, all texts of the file and their translations.
"""

import argparse
import gzip
import io
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from tqdm.auto import tqdm

from hybridlib import encoding, files
from hybridlib.data import CorpusError, read_groups
from hybridlib.data.reading import read_json, read_lines
from hybridlib.errors import one_line_errors
from reproduction.run.folder import manifest
from reproduction.sources.articles import LANGUAGES
from reproduction.sources.filters import add_languages, lacking
from reproduction.sources.translator import MODEL, Translator, load_translator

TO = ("ar", "de", "es", "hi", "ru", "th", "tr", "zh")  # the paper's training languages, but English
SHARD_TEXTS = 256
MAX_TOKENS = 512  # what NLLB was trained on at most, as its model card says
# Small batches suit a processor's caches; an accelerator needs more to be busy.
BATCH_TOKENS = {"cpu": 2**11, "cuda": 2**13}


@dataclass(frozen=True)
class Shard:
    """Texts of similar length, to be translated into one language, and the file of their translations."""

    language: str
    file: Path
    texts: list[str]
    tokens: int


def shards_of(folder: str | Path, records: Iterable[dict[str, Any]], languages: Iterable[str], translator: Translator,
              size: int) -> list[Shard]:
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


def token_batches(texts: Sequence[str], tokens: Sequence[int], budget: int) -> Iterator[Sequence[str]]:
    """Cut texts, longest first, into batches of at most ``budget`` padded tokens, at least one text each.

    >>> list(token_batches(["long text", "text", "a", "b", "c"], [6, 3, 1, 1, 1], 6))
    [['long text'], ['text', 'a'], ['b', 'c']]
    """
    at = 0
    while at < len(texts):
        size = max(1, budget // tokens[at])
        yield texts[at:at + size]
        at += size


def _amount(missing: Sequence[Shard], total: int) -> str:
    """How much there is to translate, in words."""
    distinct, languages = {text for shard in missing for text in shard.texts}, {shard.language for shard in missing}
    return (f"{len(distinct):,} distinct texts into {len(languages)} languages: "
            f"{sum(shard.tokens for shard in missing):,} tokens of English in {len(missing):,} shards "
            f"({total - len(missing):,} more are there already)")


def _translate(mine: Sequence[Shard], translator: Translator, budget: int, show: bool,
               say: Callable[[int, float], None] | None) -> None:
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
            for batch in token_batches(shard.texts, lengths, budget):
                started = time.monotonic()
                found += translator.translate(batch, shard.language)
                if say:
                    say(len(batch), sum(lengths[:len(batch)]) / (time.monotonic() - started))
                    say = None
                bar.update(len(batch))
            files.write_json(shard.file, found)


def write_groups(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write groups, as records, as JSON Lines, ``.gz`` allowed; equal ones give equal bytes."""
    with files.atomic(path) as temporary, open(temporary, "wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, "utf-8", newline="\n") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def translate_file(path: str | Path, out: str | Path, model: str = MODEL, revision: str | None = None,
                   to: Collection[str] = TO, shard_size: int = SHARD_TEXTS) -> pd.DataFrame | None:
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
        As `load_translator` takes them.
    to : collection of str
        Languages of `hybridlib.languages.FLORES` but English.
    shard_size : int
        Texts in a shard: what a killed process has to translate again, at most.

    Returns
    -------
    DataFrame or None
        As of `add_languages`; None in other processes than the first.

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
    if out.is_dir():
        raise IsADirectoryError(f"{out}: a folder; name the file to write")
    files.check_writable(out.parent)
    read_groups(path, ids="lines")
    records = [record for _, record, _ in read_lines(path)]
    if not any(lacking(record, language) for record in records for language in to):
        raise ValueError(f"{path}: nothing to translate: no group has an English query and passage and lacks one of "
                         f"{' '.join(to)}")
    # Several processes without a GPU see each other only if told that they are on the processor. One that is done
    # with its shards waits for the others, however long they take.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=timedelta(weeks=1))
    dtype = torch.bfloat16 if encoding.in_bfloat16("auto", state.device) else torch.float32
    with state.main_process_first():
        translator = load_translator(model, revision, state.device, dtype)
    if unknown := [language for language in to if not translator.knows(language)]:
        raise ValueError(f"{translator.source}: its tokenizer has no token for {' '.join(unknown)}")

    budget = BATCH_TOKENS[state.device.type]
    settings = {"files": translator.files, "input": files.sha256(path), "precision": str(dtype).removeprefix("torch."),
                "shard": shard_size, "max_tokens": MAX_TOKENS, "batch_tokens": budget, "beams": 1}
    folder = out.with_name(f"{out.name}.work") / files.key(settings)
    every = shards_of(folder, records, to, translator, shard_size)
    missing = [shard for shard in every if not shard.file.is_file()]
    # All must have listed the folder before anyone adds to it: the lists are shared out, and must be the same.
    state.wait_for_everyone()
    if state.is_main_process and missing:
        files.write_json(folder / "settings.json", settings)
        print(_amount(missing, len(every)), flush=True)

    def say(texts: int, speed: float) -> None:
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
        found = read_json(shard.file)
        if not isinstance(found, list) or len(found) != len(shard.texts):
            raise CorpusError([f"{shard.file}: not the translations of {len(shard.texts)} texts; remove it and run "
                               "again"])
        translations[shard.language].update(zip(shard.texts, found, strict=True))
    counts = add_languages(records, translations)
    with files.atomic(out.with_name(f"{out.name}.counts.csv")) as temporary:
        counts.to_csv(temporary)
    files.write_json(out.with_name(f"{out.name}.manifest.json"), manifest(
        started, model=translator.source, settings=settings, to=list(to), device=str(state.device),
        processes=state.num_processes))
    write_groups(out, records)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.sources.translation``."""
    parser = argparse.ArgumentParser(prog="python -m reproduction.sources.translation",
                                     description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="groups with English queries and passages")
    parser.add_argument("--model", default=MODEL, help=f"a hub name, or a folder (default: {MODEL}; not for "
                        "commercial use)")
    parser.add_argument("--revision", help="of a hub name; must hold safetensors (default: the pinned one)")
    parser.add_argument("--to", nargs="+", choices=[x for x in LANGUAGES if x != "en"], default=TO, metavar="LANGUAGE",
                        help=f"of {' '.join(x for x in LANGUAGES if x != 'en')} (default: {' '.join(TO)})")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--shard-size", type=int, default=SHARD_TEXTS, help="texts that a kill loses at most (default: "
                        f"{SHARD_TEXTS})")
    chosen = parser.parse_args(arguments)
    if chosen.shard_size < 1:
        parser.error("--shard-size must be at least 1")
    with one_line_errors():
        counts = translate_file(chosen.file, chosen.out, chosen.model, chosen.revision, dict.fromkeys(chosen.to),
                                chosen.shard_size)
    if counts is not None:
        print(counts.to_string())
        print(chosen.out)


if __name__ == "__main__":
    main()
