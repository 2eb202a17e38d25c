"""Test sets of other domains and languages from their public homes, as presets name them under ``further``.

    python -m reproduction.sources.ood --out FOLDER                      download what is missing, and build
    python -m reproduction.sources.ood tico19 --out FOLDER --from SNAPSHOTS     from checkouts that are at hand

Each becomes ``FOLDER/ood/<name>`` in BEIR's layout (``queries.jsonl``, ``corpus.jsonl``, ``qrels.tsv``), unpacked, so
that its bytes do not depend on a compressor. What is there already is not made again. A folder of your own in that
layout needs none of this: ``hybridlib evaluate --test-set FOLDER``.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pooch

from hybridlib import files
from hybridlib.data import CorpusError
from reproduction.sources import public, tydi
from reproduction.sources.ood import afriqa, belebele, python_faq, tico, tydi_goldp
from reproduction.sources.ood.records import Records

FILES = ("queries.jsonl", "corpus.jsonl", "qrels.tsv")


class Source(NamedTuple):
    """Where a test set comes from, and what becomes of it.

    Attributes
    ----------
    build : callable
        From the folder that holds the checkouts.
    checkouts : tuple of (str, str, sequence of str)
        Repositories of `public.GITHUB`, a commit of each, and patterns of the files that are read.
    sha256 : tuple of str
        Of `FILES`.
    released : tuple of (str, str)
        Files of TyDi QA's release, which are read from ``tydiqa/``, and the sha256 of each.
    """

    build: Callable[[Path], Records]
    checkouts: tuple[tuple[str, str, Sequence[str]], ...]
    sha256: tuple[str, str, str]
    released: tuple[tuple[str, str], ...] = ()


# One checkout for two sets, so that the list of its 222,073 files is downloaded once.
_OPUS = (tico.REPOSITORY, tico.COMMIT, (*tico.FILES, *belebele.FLORES_FILES))
SOURCES = {
    "afriqa": Source(afriqa.build, ((afriqa.REPOSITORY, afriqa.COMMIT, afriqa.FILES),), (
        "68cb97e794f7dcf16408b9d6a393a42f2c40e90c31702de797c37168c0b082a1",
        "d63e8e1fe81a78ab7f95dff725bb84955a6d416e0eb2a70c769cf353ca4b793a",
        "2ef36231248302efda58c252430edbed65a503eabe761b148b66d8b0244d27cc")),
    "tico19": Source(tico.build, (_OPUS,), (
        "f6a2163d2c89896ed0ef899535192b4bc6f9a1e30c687d64d0c929e8329ecb8d",
        "c2fdd8b9e8a210d51a4e2611baf9c694d925a92a98c152da7cc40ae934dc29a8",
        "7a3c9a1df06238a9f04a11058df1a379f0204b40b53c98edb9be143dcc11cbc1")),
    "belebele-flores200": Source(belebele.build, (
        _OPUS, (belebele.REPOSITORY, belebele.COMMIT, belebele.FILES)), (
        "6ce0ab4f057a53cdcfac657fd7259f9693c48a84c28e8659b2f33323fd47e9a4",
        "9c4808e4e80930cefce637d6501959fbde448839dc47d9eaca349492c4d2485f",
        "a12e274f580a2aca9f53416c93ccf39d5ec6d4ba2baa0ddbe2d9d7398def6c5c")),
    "python-faq": Source(python_faq.build, tuple(
        (*home, python_faq.FILES) for home in python_faq.REPOSITORIES.values()), (
        "ab93ed0e1ac386e67d0bc11ff2048e27903b82185aef948b199e6c23c878b685",
        "6c14df431a9902b8dd1b3aa0da067343d2e8863afa1e1b906194992bb2c71ff7",
        "0b546722358a587018067e07ee5719fc460f68ae499dcecc698aed05dec57f74")),
    "tydi-goldp": Source(tydi_goldp.build, (), (
        "bf37b5d5f08e197a2076276e062ec86eb21a27be1c7ca6268a6bb67f0b22fd60",
        "cba0b744e2fb551ee35081d65165f8e7821a5f5a92676a5334178ddd99332815",
        "4b5439d6376075c289b121a8cd9222719f3dc81c420d7717513d8fac2f7ece85"),
        ((tydi_goldp.FILE, tydi_goldp.CHECKSUM), (tydi.FILE, tydi.CHECKSUM))),
}


def _fetch(source: Source, folder: Path) -> Path:
    """Get what a set is built from, as far as it is not there; returns the folder that holds it."""
    for repository, commit, patterns in source.checkouts:
        public.fetch_commit(f"{public.GITHUB}/{repository}", commit, patterns, folder / repository.rsplit("/", 1)[-1])
    if source.released:
        public.fetch_files(tydi.URL, dict(source.released), folder / "tydiqa")
    return folder


def _write(records: Records, folder: Path) -> None:
    """Write a test set; a folder without one of its files holds none."""
    lines = {"queries.jsonl": (json.dumps(row, ensure_ascii=False) for row in records.queries),
             "corpus.jsonl": (json.dumps(row, ensure_ascii=False) for row in records.corpus),
             "qrels.tsv": (row for rows in ([("query-id", "corpus-id", "score")],
                                            ((*pair, "1") for pair in records.relevant))
                           for row in map("\t".join, rows))}
    for name in FILES:
        with files.atomic(folder / name) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines[name])


def _is_made(folder: Path, sha256: Sequence[str]) -> bool:
    return all((folder / name).is_file() and files.sha256(folder / name) == expected
               for name, expected in zip(FILES, sha256, strict=True))


def make(name: str, out: Path, given: Path | None = None) -> str:
    """Make a test set, unless it is there.

    Parameters
    ----------
    name : str
        One of `SOURCES`.
    out : path
        The folder of the data; the set becomes its ``ood/<name>``.
    given : path, optional
        Holds checkouts, under the names of their repositories, and TyDi QA's files in ``tydiqa/``; nothing is
        downloaded then. Without it downloads are kept in the user's cache (``HYBRIDLIB_DATA`` overrides it).

    Returns
    -------
    str
        What there is now, in a line.

    Raises
    ------
    FileNotFoundError, ConnectionError, CorpusError
        If something is missing, cannot be had, or is not laid out as it is published: the message names the file.
    """
    source, target = SOURCES[name], out / "ood" / name
    if _is_made(target, source.sha256):
        return f"{name}: there already"
    cache = Path(os.environ.get("HYBRIDLIB_DATA") or pooch.os_cache("hybridlib")) / "ood"
    records = source.build(given or _fetch(source, cache))
    if not records.relevant:
        raise CorpusError([f"{target}: not written, there is not one answer for it"])
    # Other records than the pinned ones never get the name that the preset reads.
    other = target.with_name(f"{name}.other")
    _write(records, other)
    if not _is_made(other, source.sha256):
        raise CorpusError([f"{other}: {len(records.queries):,} queries and {len(records.corpus):,} documents, and not "
                           "those of preset xquad; the sources differ from the pinned ones"])
    # Whole, so that queries of one build never stand beside judgements of another.
    shutil.rmtree(target, ignore_errors=True)
    other.rename(target)
    return f"{name}: {len(records.queries):,} queries, {len(records.corpus):,} documents"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.sources.ood``."""
    public.build_named("reproduction.sources.ood", __doc__, SOURCES, make, arguments)


if __name__ == "__main__":
    main()
