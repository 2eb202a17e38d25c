"""Progress bars with the time left: in a terminal, in a notebook, and none where ``TQDM_DISABLE`` is set."""

import os
from typing import Any

from tqdm.auto import tqdm


def progress_bar(*args: Any, **kwargs: Any) -> tqdm:
    """A bar of tqdm; its parameters. Under papermill, where bars would only fill stored outputs, it shows nothing."""
    # tqdm's own reading of the variable does not reach its bars in notebooks.
    return tqdm(*args, disable=os.environ.get("TQDM_DISABLE", "0") not in ("", "0"), **kwargs)
