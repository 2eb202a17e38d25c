"""The data of preset xquad from its public homes, at pinned commits.

    python -m reproduction.sources.public --out FOLDER                       download what is missing, and build
    python -m reproduction.sources.public docs ntrex --out FOLDER --from SNAPSHOTS     from checkouts that are at hand

``train/{docs,ntrex,tydi-en}.jsonl`` are built (`documentation`, `ntrex` and `tydi` say how), and left unpacked, so that
their bytes do not depend on a compressor; ``xquad-r/`` and ``mlqa-r/`` are the released files. What is there already is
not made again.
"""

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pooch

from hybridlib import files
from hybridlib.data import RELEASED, CorpusError, fetch_lareqa, verify_checksum
from hybridlib.data.reading import fetch_all
from hybridlib.errors import one_line_errors
from hybridlib.progress import progress_bar
from reproduction.sources import documentation, ntrex, tydi

# sha256 of each set, as in configs/xquad.yaml.
BUILT = {"docs": "bb3751f0731d4bf24ea6945f1117079ef896c3fe10f848849d641584dd5ce4ee",
         "ntrex": "eb5470bee836e4632d378109fd4193578fdcc1d6819fa9c7a2be0b8361a3c469",
         "tydi-en": "c98ec390b665ce8a86f1aae8da39db2c009181adaa23697a7cb39bb74babd76b"}
NAMES = (*BUILT, *RELEASED)
GITHUB, RAW = "https://github.com", "https://raw.githubusercontent.com"


def fetch_commit(url: str, commit: str, patterns: Sequence[str], folder: Path) -> None:
    """Check out some files of a commit with git, which verifies all that it gets; nothing, if that is done already.

    Only these files are downloaded: of the four repositories 46 MB of 1.9 GB, most of which are translated pictures.

    Parameters
    ----------
    url, commit : str
    patterns : sequence of str
        Which files, as in a ``.gitignore``.
    folder : path
        Made where there is none; what an interrupted call left is gone on with.

    Raises
    ------
    FileNotFoundError
        If there is no git.
    ConnectionError
        If git fails.
    """
    if not shutil.which("git"):
        raise FileNotFoundError(f"git: no such program, and {url} is downloaded with it; install it, or give a folder "
                                "that holds a checkout with --from")

    def git(*arguments: str, check: bool = True) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True,
                              env=os.environ | {"GIT_TERMINAL_PROMPT": "0"})
        if check and done.returncode:
            raise ConnectionError(f"{url} at {commit} could not be had: {' '.join(done.stderr.split())[-300:]}; get it "
                                  "by other means and give the folder that holds it with --from")
        return done.stdout.strip()

    folder.mkdir(parents=True, exist_ok=True)
    git("init", "--quiet")
    if git("rev-parse", "--verify", "--quiet", "HEAD", check=False) == commit:
        return
    git("config", "remote.origin.url", url)
    git("sparse-checkout", "set", "--no-cone", *patterns)
    git("fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin", commit)
    git("checkout", "--quiet", "--detach", commit)


def fetch_files(base_url: str, checksums: dict[str, str], folder: Path) -> None:
    """Download files, unless they are there.

    Raises
    ------
    ConnectionError
        If one cannot be had, or has another sha256.
    """
    store = pooch.create(path=folder, base_url=f"{base_url}/", retry_if_failed=2,
                         registry={name: f"sha256:{digest}" for name, digest in checksums.items()})
    fetch_all(store, f"Get it by other means and give the folder that holds {folder.name}/ with --from")


def _fetch(name: str, folder: Path) -> None:
    """Download what a set is built from, laid out as `_groups` reads it."""
    if name == "docs":
        patterns = [f"/translations/{x}/**/*.md" for names in documentation.LANGUAGES.values() for x in names]
        for repository, commit in progress_bar(documentation.REPOSITORIES.items(), desc="docs", unit="repository"):
            fetch_commit(f"{GITHUB}/microsoft/{repository}", commit, patterns, folder / repository)
    elif name == "ntrex":
        fetch_files(f"{RAW}/{ntrex.REPOSITORY}/{ntrex.COMMIT}", ntrex.CHECKSUMS, folder / "NTREX")
    elif name == "tydi-en":
        fetch_files(tydi.URL, {tydi.FILE: tydi.CHECKSUM}, folder / "tydiqa")
        fetch_files(f"{RAW}/{tydi.TOPICS_REPOSITORY}/{tydi.TOPICS_COMMIT}", {tydi.TOPICS: tydi.TOPICS_CHECKSUM},
                    folder / "anserini-tools")


def _groups(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    if name == "docs":
        return documentation.groups(folder)
    if name == "ntrex":
        return ntrex.groups(folder / "NTREX")
    return tydi.groups(folder / "tydiqa" / tydi.FILE, folder / "anserini-tools" / tydi.TOPICS)


def _write(records: Iterable[dict[str, Any]], target: Path) -> int:
    count = 0
    with files.atomic(target) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
        if not count:
            raise CorpusError([f"{target}: not written, there is not one group for it"])
    return count


def _copy_released(name: str, out: Path, given: Path | None) -> None:
    """Copy the released files of a benchmark, those that are not there."""
    missing = {language: digest for language, digest in RELEASED[name].items()
               if not (out / f"{language}.json").is_file() or files.sha256(out / f"{language}.json") != digest}
    source = (given / "lareqa" / name if given else fetch_lareqa(name)) if missing else out
    for language, digest in missing.items():
        verify_checksum(source / f"{language}.json", digest)
        with files.atomic(out / f"{language}.json") as temporary:
            shutil.copyfile(source / f"{language}.json", temporary)


def make(name: str, out: Path, given: Path | None = None) -> str:
    """Make a part of the data, unless it is there.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    out : path
        Becomes the folder that preset xquad reads.
    given : path, optional
        Holds checkouts, under the names of their repositories, and the released file in ``tydiqa/``; nothing is
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
    if name in RELEASED:
        _copy_released(name, out / name, given)
        return f"{name}: {len(RELEASED[name])} files, as released"
    target = out / "train" / f"{name}.jsonl"
    if target.is_file() and files.sha256(target) == BUILT[name]:
        return f"{name}: there already"
    folder = given or Path(os.environ.get("HYBRIDLIB_DATA") or pooch.os_cache("hybridlib")) / "public"
    if not given:
        _fetch(name, folder)
    count = _write(progress_bar(_groups(name, folder), desc=name, unit=" groups"), target)
    if (found := files.sha256(target)) != BUILT[name]:
        other = target.replace(target.with_name(f"{name}.other.jsonl"))
        raise CorpusError([f"{other}: {count:,} groups, and not those of preset xquad (sha256 {found}, expected "
                           f"{BUILT[name]}); to train on them, name this file and its sha256 in configs/xquad.yaml"])
    return f"{name}: {count:,} groups"


def build_named(module: str, description: str, names: Collection[str],
                make: Callable[[str, Path, Path | None], str], arguments: Sequence[str] | None = None) -> None:
    """The command line of a module that builds data by name: ``python -m <module> [NAME…] --out FOLDER``.

    Parameters
    ----------
    module, description : str
        For its help.
    names : collection of str
        What there is, all of it by default.
    make : callable
        From a name, the folder of the data and a folder of checkouts or None; returns what there is now, in a line.
    arguments : sequence of str, optional
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {' '.join(names)}; all by default")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data, for DATA=")
    parser.add_argument("--from", type=Path, dest="given", metavar="FOLDER",
                        help="of checkouts, under the names of their repositories; else downloaded")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in names]:
        parser.error(f"no {', '.join(unknown)}; there are {' '.join(names)}")
    with one_line_errors():
        files.check_writable(chosen.out)
        for name in chosen.names or names:
            print(make(name, chosen.out, chosen.given))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``python -m reproduction.sources.public``."""
    build_named("reproduction.sources.public", __doc__, NAMES, make, arguments)


if __name__ == "__main__":
    main()
