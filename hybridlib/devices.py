"""Whether a device is there, asked before any work."""

import torch

from hybridlib.errors import RunError


def check_device(device: str) -> None:
    """Raise ValueError if there is no such kind of device, `RunError` if there is none here.

    >>> check_device("cpu")
    >>> check_device("gpu")
    Traceback (most recent call last):
    ValueError: no device 'gpu'; there are cpu, cuda, cuda:<number> and mps
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    there = {"cpu": lambda: True, "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if kind not in there:
        raise ValueError(f"no device {device!r}; there are cpu, cuda, cuda:<number> and mps")
    if not there[kind]():
        raise RunError(f"device is {device!r} and no {kind.upper()} device is there; use cpu")
