"""What is the user's to mend is said in one line; what is ours keeps its traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class RunError(RuntimeError):
    """Work that cannot begin, or go on, for a reason that the user can change."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """For command lines: an error of the user's making ends the program with one line on stderr and status 1.

    These are files and networks (OSError), values and data (ValueError), missing extras (ImportError) and `RunError`.
    Where the reader of the output has closed it, as ``| head`` does, the program ends in silence.
    """
    try:
        yield
        if sys.stdout is not None:  # closed before the program began
            sys.stdout.flush()
    except BrokenPipeError as error:
        try:
            print(flush=True)
        except BrokenPipeError:
            # Else Python flushes what is left when it ends, and complains.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + 13)  # as what a shell ends by SIGPIPE
        sys.exit(f"error: {error}")  # another pipe, or a connection
    except (OSError, ValueError, ImportError, RunError) as error:
        sys.exit(f"error: {error}")
