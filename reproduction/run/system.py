"""What is measured: a sampling with changed settings and a remedy, parsed once, where a name enters."""

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any

import yaml

from hybridlib.training import SAMPLINGS
from reproduction.run.remedies import check_remedy

UNTRAINED_NAME = "untrained"


@dataclass(frozen=True)
class System:
    """A sampling, the settings that it changes, and a remedy after training; or an encoder as it comes.

    Attributes
    ----------
    sampling : str
        One of `hybridlib.training.SAMPLINGS`, or "untrained".
    changes : tuple of (setting, value)
        What differs from the preset's file.
    remedy : str
        A method of `reproduction.run.remedies`, "" for none. It is no part of the trained run.
    encoder : str
        The name of an encoder other than the preset's, "" for the preset's own; untrained only.

    Raises
    ------
    ValueError
        If there is no such sampling or remedy, or an untrained encoder changes settings.
    """

    sampling: str
    changes: tuple[tuple[str, Any], ...] = ()
    remedy: str = ""
    encoder: str = ""

    def __post_init__(self) -> None:
        if self.sampling not in (*SAMPLINGS, UNTRAINED_NAME):
            raise ValueError(f"no sampling {self.sampling!r}; there are: {', '.join(SAMPLINGS)}")
        if self.changes and not self.is_trained:
            raise ValueError(f"{self}: settings are of training, and nothing is trained here")
        if self.encoder and self.is_trained:
            raise ValueError(f"{self}: another encoder cannot be trained by this preset; set encoder in its file")
        names = [name for name, _ in self.changes]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self}: {', '.join(sorted(twice))} is given twice")
        if self.remedy:
            check_remedy(self.remedy)

    @classmethod
    def parse(cls, text: str) -> "System":
        """A system by its name: ``X-X``, ``Hybrid alpha=0.4``, ``untrained + subspace``, or the name of an encoder.

        >>> System.parse("Hybrid alpha=0.4 + subspace:4")
        System(sampling='Hybrid', changes=(('alpha', 0.4),), remedy='subspace:4', encoder='')
        >>> str(System.parse("X-X mixed languages=[de,en]"))
        'X-X mixed languages=[de,en]'
        >>> System.parse("intfloat/multilingual-e5-base").encoder
        'intfloat/multilingual-e5-base'
        """
        if not text.isprintable():
            raise ValueError(f"{text!r:.200}: a name has no control characters, line ends or lone surrogates")
        base, plus, remedy = text.partition(" + ")
        if plus and not remedy:
            raise ValueError(f"{text!r:.200}: no remedy behind the +")
        words = base.split(" ")
        changes = [word.split("=", 1) for word in words if "=" in word]
        sampling = " ".join(word for word in words if "=" not in word)
        if sampling in (*SAMPLINGS, UNTRAINED_NAME):
            return cls(sampling, tuple((name, _value(text, value)) for name, value in changes), remedy)
        near = difflib.get_close_matches(sampling.strip().lower(), [s.lower() for s in SAMPLINGS], 1, 0.8)
        if near or changes or not base.strip() or base != base.strip():
            meant = next((s for s in SAMPLINGS if [s.lower()] == near), None)
            raise ValueError(f"no sampling {sampling!r:.80} in {text!r:.200}" + (
                             f"; is {meant!r} meant?" if meant else "")
                             + f" (there are: {', '.join(SAMPLINGS)}; settings are written name=value without spaces)")
        return cls(UNTRAINED_NAME, (), remedy, base)

    def __str__(self) -> str:
        words = [self.encoder or self.sampling, *(f"{name}={_text(value)}" for name, value in self.changes)]
        return " ".join(words) + (f" + {self.remedy}" if self.remedy else "")

    @property
    def is_trained(self) -> bool:
        """Whether it is a training run, rather than an encoder as it comes."""
        return self.sampling != UNTRAINED_NAME

    @property
    def base(self) -> "System":
        """The same without its remedy: what is encoded."""
        return replace(self, remedy="")

    @property
    def trainings(self) -> tuple["System", ...]:
        """What is trained for it: itself, but for the share of its weights; of several ``losses`` one run each.

        >>> [str(one) for one in System.parse("X-Y losses=[info_nce,centred] trained_share=0.4 + quota").trainings]
        ['X-Y', 'X-Y loss=centred']
        """
        whole = self.base.without("trained_share")
        alone = whole.without("losses")
        return tuple(replace(alone, changes=(*alone.changes, ("loss", loss))) if loss != "info_nce" else alone
                     for loss in whole.setting("losses") or ()) or (whole,)

    def without(self, name: str) -> "System":
        """The same with a setting as the preset has it."""
        return replace(self, changes=tuple(change for change in self.changes if change[0] != name))

    def setting(self, name: str, default: Any = None) -> Any:
        """What it sets a setting to, or the default."""
        return dict(self.changes).get(name, default)


def _value(text: str, value: str) -> Any:
    """What a value means; only what is read as the same again when it is printed, so that a system has one name."""
    try:
        found = yaml.safe_load(value)
        found = tuple(found) if isinstance(found, list) else found
        again = yaml.safe_load(written := _text(found))
    except (yaml.YAMLError, ValueError, RecursionError):  # a value error of what looks like a date, and is none
        raise ValueError(f"{text!r:.200}: {value!r:.80} cannot be read as a value") from None
    parts = found if isinstance(found, tuple) else (found,)
    if (not all(x is None or isinstance(x, bool | int | float | str) for x in parts) or re.search(r"\s", written)
            or repr(tuple(again) if isinstance(again, list) else again) != repr(found) or found != found):
        raise ValueError(f"{text!r:.200}: {value!r:.80} is no value: a number, a word, true, false, null, or a list of "
                         "such without spaces and quotes")
    return found


def _text(value: Any) -> str:
    """As YAML reads it; it takes a number with an exponent for a word where there is no point."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, float):
        return yaml.safe_dump(value).split()[0]
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


UNTRAINED, XX, XY, HYBRID = (System(name) for name in (UNTRAINED_NAME, "X-X", "X-Y", "Hybrid"))
# The order of every table and legend.
SYSTEMS = (UNTRAINED, XX, XY, HYBRID)
