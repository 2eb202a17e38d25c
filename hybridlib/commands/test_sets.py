"""How a command line names a test set."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridlib.data import TestSet


def named_test_set(name: str, data: Path | None) -> "TestSet":
    """A released test set by its name, else a folder in BEIR's layout.

    Parameters
    ----------
    name : str
    data : Path, optional
        Folder of a released one's files; without it they are downloaded.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is none of that name, and no such folder.
    """
    from hybridlib.data import RELEASED, TestSet, load_test_set

    if not name.strip():
        raise ValueError("the name of the test set is empty")
    if name in RELEASED:
        return load_test_set(name, data)
    check_no_data(data)
    if not re.search(r"[\\/.]", name) and not Path(name).is_dir():
        raise ValueError(f"no test set {name!r}: there are {', '.join(RELEASED)}, and there is no such folder")
    return TestSet.from_beir(name)


def check_no_data(data: Path | None) -> None:
    """Raise ValueError where --data is given to a test set that does not need it."""
    if data:
        raise ValueError("--data goes with xquad-r or mlqa-r; name a folder with --test-set alone")
