"""What a training run is made from: every choice, checked before any work starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from hybridlib.languages import is_language
from hybridlib.training import ALPHA, ORDERED, SAMPLINGS

# Settings that are part of a run, and of its key, only where they are given.
OPTIONAL = ("groups", "sets", "loss", "mini_batch_size", "trained_share", "temperature_crossing", "dropout",
            "losses")
_OF_DATA = ("data", "selection", "encoder_fingerprint")


class SettingsError(ValueError):
    """Settings that cannot be used; the message lists each problem, with where it was found."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML as usual, but a key that is given twice is refused rather than dropped, and so is half a character."""

    def construct_scalar(self, node: yaml.Node) -> str:
        text = super().construct_scalar(node)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise SettingsError(f"line {node.start_mark.line + 1}: a lone surrogate is no text")
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key) for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise SettingsError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds one mapping.

    Raises
    ------
    SettingsError
        If it is not YAML or not a mapping, or a key is given twice.
    """
    try:
        found = yaml.load(Path(path).read_text("utf-8"), _UniqueKeys)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SettingsError(f"{path}: line {mark.line + 1}, column {mark.column + 1}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        # A value error also of what looks like a date, and is none.
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: expected settings, one a line as name: value")
    return found


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda x: type(x) is int and x >= least, f"a whole number of at least {least}"


def _number(low: float, high: float, above: bool = False) -> tuple[Callable[[Any], bool], str]:
    return (lambda x: type(x) in (int, float) and (low < x if above else low <= x) and x <= high,
            f"a number {'above' if above else 'from'} {low:g} to {high:g}")


def _one_of(*values: Any) -> tuple[Callable[[Any], bool], str]:
    return lambda x: x in values and type(x) in map(type, values), "one of " + ", ".join(map(str, values))


def _maybe(check: tuple[Callable[[Any], bool], str]) -> tuple[Callable[[Any], bool], str]:
    return lambda x: x is None or check[0](x), f"{check[1]}, or null"


def _names(check: Callable[[Any], bool], what: str) -> tuple[Callable[[Any], bool], str]:
    return lambda x: isinstance(x, tuple) and bool(x) and all(map(check, x)) and len(set(x)) == len(x), what


_LOSSES = ("info_nce", "symmetric", "centred", "distillation", "embedding_distillation", "anchored",
           "centred_anchored", "lakda", "clear")
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "encoder": (lambda x: isinstance(x, str) and bool(x.strip()) and x.isprintable(), "the name of an encoder"),
    "sampling": _one_of(*SAMPLINGS), "seed": _whole(0), "alpha": _maybe(_number(0, 1)),
    "languages": _names(is_language, "a list of different language codes (in YAML, no and on are truth values: "
                                     'write "no")'),
    "pair_per_batch": _one_of(True, False), "when_unable": _one_of("error", "monolingual"),
    "hard_negatives": _one_of(True, False), "batch_size": _whole(2), "steps": _whole(1),
    # Outside of this a softmax over cosines is flat, or overflows.
    "temperature": _number(0.001, 10), "learning_rate": _number(0, 1, above=True), "weight_decay": _number(0, 1),
    "warmup_steps": _whole(0), "max_length": _whole(1), "trainable_layers": _maybe(_whole(1)),
    "eval_steps": _whole(1), "patience": _whole(1), "precision": _one_of("auto", "bf16", "fp32"),
    "groups": _maybe(_whole(1)), "sets": _maybe(_names(lambda x: isinstance(x, str), "a list of different set names")),
    "loss": _maybe(_one_of(*_LOSSES)),
    "losses": _maybe((lambda x: isinstance(x, tuple) and 1 < len({*x}) == len(x) and {*x} <= {*_LOSSES},
                      f"a list of two or more different losses: {', '.join(_LOSSES)}")),
    "mini_batch_size": _maybe(_whole(1)), "trained_share": _maybe(_number(0, 1, above=True)),
    "temperature_crossing": _maybe(_number(0.001, 10)), "dropout": _maybe(_number(0, 0.9)),
}
_FLOATS = ("alpha", "temperature", "learning_rate", "weight_decay", "trained_share", "temperature_crossing",
           "dropout")


@dataclass(frozen=True)
class TrainingSettings:
    """Every choice of a training run; its key is made from them.

    Attributes
    ----------
    encoder : str
        See `hybridlib.encoding.load`.
    sampling, languages, alpha, pair_per_batch, when_unable, hard_negatives, batch_size, steps, seed
        See `hybridlib.training.LanguageBatchSampler`. ``batch_size`` is that of all processes together.
    temperature, mini_batch_size
        See `hybridlib.training.info_nce`.
    learning_rate, weight_decay, warmup_steps
        Of AdamW; the rate falls linearly after the warm-up.
    max_length : int
        Tokens of a text in training.
    trainable_layers : int or None
        So many of the top layers; None trains everything.
    eval_steps, patience : int
        The validation loss is taken every so many steps; after so many without a lower one training ends.
    precision : {"auto", "bf16", "fp32"}
        "auto" is bf16 where the device is fast at it.
    data : list, selection : dict
        What the run is trained on and selected by: names and checksums.
    groups : int or None
        So many training groups, drawn once.
    sets : tuple of str or None
        Only those training sets.
    loss : {"info_nce", "symmetric", "centred", "distillation", "embedding_distillation", "anchored", \
"centred_anchored", "lakda", "clear"} or None
        None is InfoNCE; symmetric is the mean of it and of that of passages which look for their question; centred is
        `hybridlib.training.CentredInfoNCE`, distillation `hybridlib.training.EnglishRankingDistillation`,
        embedding_distillation `hybridlib.training.EnglishEmbeddingDistillation` (of which ``temperature`` says only
        which checkpoint is kept), anchored and centred_anchored `hybridlib.training.AnchoredInfoNCE`, lakda
        `hybridlib.training.LaKDA`, clear `hybridlib.training.CLEAR`.
    losses : tuple of str or None
        In place of ``loss``: one run each, and the mean of their weights (model soups, Wortsman et al. 2022).
    trained_share : float or None
        The weights that are kept: so much of the trained ones, the rest of those that training started from (WiSE-FT,
        Wortsman et al. 2022). None is 1.
    temperature_crossing : float or None
        The temperature of X-Y batches, where a sampling has X-X batches too (`hybridlib.training.CrossingInfoNCE`);
        None is ``temperature``.
    dropout : float or None
        Of the encoder's dropout modules while it trains; None is their own.
    encoder_fingerprint : str or None
        Of an encoder in a folder: what was in it (`hybridlib.files.fingerprint`).

    Raises
    ------
    SettingsError
        Names every setting whose value cannot be used.
    """

    encoder: str
    sampling: str
    languages: tuple[str, ...]
    alpha: float | None
    seed: int
    pair_per_batch: bool
    when_unable: str
    hard_negatives: bool
    batch_size: int
    steps: int
    temperature: float
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    max_length: int
    trainable_layers: int | None
    eval_steps: int
    patience: int
    precision: str
    data: list | None = None
    selection: dict | None = None
    groups: int | None = None
    sets: tuple[str, ...] | None = None
    loss: str | None = None
    mini_batch_size: int | None = None
    trained_share: float | None = None
    temperature_crossing: float | None = None
    dropout: float | None = None
    losses: tuple[str, ...] | None = None
    encoder_fingerprint: str | None = None

    def __post_init__(self) -> None:
        problems = []
        for name in ("languages", "sets", "losses"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in _FLOATS:
            object.__setattr__(self, name, _as_float(getattr(self, name)))
        for name, (holds, expected) in _CHECKS.items():
            if not holds(getattr(self, name)):
                problems.append(f"{name} is {getattr(self, name)!r:.80}, expected {expected}")
        if not problems and self.sampling != "Hybrid" and self.alpha != ALPHA.get(self.sampling):
            problems.append(f"alpha is {self.alpha}, and {self.sampling} has none of its own: alpha belongs to Hybrid")
        if not problems and self.sampling == "Hybrid" and self.alpha is None:
            problems.append("alpha is missing: the probability of a batch in one language, 0 to 1")
        if not problems and self.losses:
            problems += ["loss is given, and losses"] if self.loss else [
                problem for loss in self.losses for problem in self._problems_of_loss(loss)]
        elif not problems:
            problems += self._problems_of_loss(self.loss or "info_nce")
        if problems:
            raise SettingsError("; ".join(problems))

    def _problems_of_loss(self, loss: str) -> list[str]:
        """What a loss cannot be had with; the settings are good one by one."""
        problems = []
        if loss != "info_nce" and self.mini_batch_size:
            problems.append(f"mini_batch_size is {self.mini_batch_size}, and loss={loss} takes none")
        if loss in ("lakda", "clear"):
            if self.sampling != "X-Y" or self.when_unable != "error":
                problems.append(f"loss={loss} needs each question in two languages: sampling X-Y, and when_unable: "
                                f"error (they are {self.sampling} and {self.when_unable})")
        if loss.startswith("centred") and self.sampling != "X-X" and not (self.sampling in ("X-Y", "Hybrid", *ORDERED)
                                                                 and self.pair_per_batch):
            problems.append(f"loss={loss} needs batches of one question and one passage language: X-X, or "
                            f"pair_per_batch: true (this is {self.sampling})")
        if loss not in ("info_nce", "symmetric") and self.hard_negatives:
            problems.append(f"hard_negatives is true, and loss={loss} takes none")
        if self.temperature_crossing is not None and (self.sampling not in ("Hybrid", *ORDERED) or loss != "info_nce"):
            problems.append(f"temperature_crossing is {self.temperature_crossing:g}: it belongs to InfoNCE under a "
                            f"sampling with X-X and X-Y batches, as Hybrid (this is {loss} under {self.sampling})")
        return problems

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> "TrainingSettings":
        """Settings by name, as a file or a command line gives them.

        Raises
        ------
        SettingsError
            Names ``where``, and every setting that is missing, unknown, or whose value cannot be used.
        """
        known = {field.name for field in fields(cls)}
        problems = [*(f"no setting {name!r:.80}" for name in values if name not in known),
                    *(f"{name} is missing" for name in _CHECKS if name not in values and name not in OPTIONAL)]
        if problems:
            raise SettingsError(f"{where}: {'; '.join(problems)}")
        try:
            return cls(**values)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """What ``settings.json`` holds and the key is made from: JSON's types, optional settings only if given."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
                if not (value is None and name in (*OPTIONAL, *_OF_DATA))}


def _as_float(value: Any) -> Any:
    """A number as float; YAML reads 3e-5, without a point, as text."""
    try:
        return float(value) if type(value) in (str, int) else value
    except (ValueError, OverflowError):
        return value
