"""Data sets of the hub at pinned revisions, kept in the user's cache."""

import os
from collections.abc import Sequence
from pathlib import Path

import pooch


def fetch_files(home: str, revision: str, patterns: Sequence[str], name: str, folder: str | Path | None = None) -> Path:
    """Download files of a data set; what is there already is not fetched again.

    Parameters
    ----------
    home, revision : str
        The data set's name at the hub, and a commit of it.
    patterns : sequence of str
        Which files.
    name : str
        Of the folder in the user's cache (``HYBRIDLIB_DATA`` overrides the cache).
    folder : path, optional
        In place of the user's cache.

    Returns
    -------
    Path
        The folder of the files, laid out as at the hub.

    Raises
    ------
    ConnectionError
    """
    from huggingface_hub import snapshot_download

    place = Path(folder or Path(os.environ.get("HYBRIDLIB_DATA") or pooch.os_cache("hybridlib")) / name)
    try:
        snapshot_download(home, repo_type="dataset", revision=revision, local_dir=place, allow_patterns=list(patterns))
    except OSError as error:
        raise ConnectionError(f"{home} at {revision} could not be had: {error}\nGet the files by other means and give "
                              "their folder with --data") from error
    return place
