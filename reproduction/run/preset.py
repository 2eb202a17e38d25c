"""A preset: one file of ``configs/``, the data that it names, and the settings of the runs over them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hybridlib import files
from hybridlib.data import RELEASED, ParallelCorpus, TestSet, read_groups, read_lareqa, verify_checksum
from hybridlib.data.lareqa import read_lareqa_paragraphs
from hybridlib.languages import is_language
from hybridlib.training import ALPHA, LanguageBatchSampler, selection_of
from reproduction.run.settings import OPTIONAL, SettingsError, TrainingSettings, read_yaml
from reproduction.run.system import System
from reproduction.run.training import sampler_of
from reproduction.sources import articles, mmarco, training_sets
from reproduction.sources.sets import SETS
from reproduction.workspace import Workspace

# What an entry of a place says: by format the settings that it must have, and those that it may have.
_TRAINING = {"groups": ({"file", "sha256"}, {"name", "ids"}), "articles": ({"file", "sha256"}, {"name"}),
             "set": ({"name"}, set())}
_BENCHMARKS = {"articles": ({"name", "file", "sha256"}, set()), "lareqa": ({"name", "folder"}, set())}
_FORMATS = {"training": _TRAINING, "selection": _TRAINING, "benchmarks": _BENCHMARKS, "further": _BENCHMARKS | {
    "beir": ({"name", "folder"}, {"languages", "clusters"}),
    "lareqa-paragraphs": ({"name", "folder", "languages"}, {"queries"})}}
_HELD_OUT = {"held_out_of", "passages", "seed"}


class _ReadLater(Mapping):
    """Test sets by name, each read when it is first asked for."""

    def __init__(self, entries: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], TestSet]) -> None:
        self._entries, self._read, self._found = {entry["name"]: entry for entry in entries}, read, {}

    def __getitem__(self, name: str) -> TestSet:
        if name not in self._found:
            self._found[name] = self._read(self._entries[name])
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # of a mapping as it is, this would read the set

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(frozen=True, eq=False)
class Preset:
    """A named configuration over data.

    Parameters
    ----------
    name : str
        A file of ``configs/``, without its ending.
    workspace : Workspace
        Says where the data are.

    Attributes
    ----------
    config : dict
        The settings that the file gives, without ``data``.
    further : mapping of name to TestSet
        Test sets beside the benchmarks; each is read when it is asked for, and may be missing until then.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such preset, its file cannot be used, or it needs a data folder and none was given.
    """

    name: str
    workspace: Workspace = field(default_factory=Workspace)
    config: dict[str, Any] = field(init=False, repr=False)
    further: Mapping[str, TestSet] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        file = self.workspace.configs / f"{self.name}.yaml"
        if not file.is_file():
            names = ", ".join(sorted(path.stem for path in self.workspace.configs.glob("*.yaml")))
            raise ValueError(f"no preset {self.name!r}; there are: {names}")
        config = read_yaml(file)
        data = config.pop("data", None)
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "_entries", _check_data(data, str(file)))
        object.__setattr__(self, "further", _ReadLater(data.get("further", ()), self._test_set))
        if data.get("needs_folder") and not self.workspace.data:
            raise ValueError(f"preset {self.name!r} reads its data from a folder: give DATA=<folder> "
                             "(see docs/reproduce.md)")
        if not data.get("needs_folder") and self.workspace.data:
            raise ValueError(f"preset {self.name!r} reads its data from the repository, not from "
                             f"{self.workspace.data}: leave DATA out")
        # Whatever is wrong in the file is found now, not when a run needs it.
        self._settings(System("X-X"), 0, [], {})
        if self.config.get("alpha") is not None:
            self._settings(System("Hybrid"), 0, [], {})

    @property
    def entries(self) -> dict[str, Any]:
        """What the file says of the data."""
        return self._entries

    @property
    def languages(self) -> tuple[str, ...]:
        """The training languages."""
        return tuple(self.config["languages"])

    @property
    def unseen(self) -> tuple[str, ...]:
        """Languages of the main test set that are not trained on."""
        return tuple(x for x in self.test_set.languages if x not in self.languages)

    @cached_property
    def _resolved(self) -> dict[str, Any]:
        """The data of the file, with the sets that the user made named by file and checksum."""
        return training_sets.resolve(self._entries, self.workspace.data)

    def _checked(self, entry: dict[str, Any]):
        path = self.workspace.file(entry["file"])
        verify_checksum(path, entry["sha256"])
        return path

    def _groups(self, entry: dict[str, Any]) -> ParallelCorpus:
        if entry["format"] == "mmarco":
            kept = [x for x in self.languages if x in mmarco.LANGUAGES]
            return mmarco.MarcoCorpus(self.workspace.file(entry["file"]), kept, entry["name"])
        path = self._checked(entry)
        name = entry.get("name", path.name.split(".")[0])
        if entry["format"] == "articles":
            return articles.groups_of(articles.read_articles(path), name)
        return read_groups(path, name, ids=entry.get("ids", "given"))

    @cached_property
    def _split(self) -> tuple[list[ParallelCorpus], ParallelCorpus]:
        """``(training sets, selection set)``: selection has a file, or is held out of a set."""
        sets = [self._groups(entry) for entry in self._resolved["training"]]
        selection = self._resolved["selection"]
        if "held_out_of" not in selection:
            return sets, self._groups(selection)
        names = [c.name for c in sets]
        if selection["held_out_of"] not in names:
            raise SettingsError(f"configs/{self.name}.yaml: selection is held out of {selection['held_out_of']!r}, and "
                                f"the training sets are {', '.join(names)}")
        place = names.index(selection["held_out_of"])
        whole = sets[place]
        # Whole passages are held out, one question of each is read: no passage of selection is trained on,
        # and none is another's in-batch negative.
        keys = np.random.default_rng(selection["seed"]).permutation(whole.passage_key.max() + 1)
        out = np.isin(whole.passage_key, keys[:selection["passages"]])
        _, first = np.unique(whole.passage_key[out], return_index=True)
        sets[place] = whole.select(np.flatnonzero(~out))
        return sets, whole.select(np.flatnonzero(out)[np.sort(first)])

    @property
    def training_sets(self) -> list[ParallelCorpus]:
        """The training corpora."""
        return self._split[0]

    @property
    def selection(self) -> Dataset:
        """The selection set, in English: query and passage."""
        return selection_of(self._split[1])

    @property
    def articles(self) -> list[dict[str, Any]]:
        """All articles of the preset's files in the articles format; empty if it has none."""
        every = [*self._resolved["training"], self._resolved["selection"], *self._entries["benchmarks"]]
        return articles.read_articles(*(self._checked(e) for e in every if e.get("format") == "articles"))

    @cached_property
    def test_sets(self) -> dict[str, TestSet]:
        """The test sets by name, the main one first."""
        return {entry["name"]: self._test_set(entry) for entry in self._entries["benchmarks"]}

    def _test_set(self, entry: dict[str, Any]) -> TestSet:
        name = entry["name"]
        if entry["format"] == "articles":
            return articles.test_set(articles.read_articles(self._checked(entry)), name)
        place = self.workspace.file(entry["folder"])
        match entry["format"]:
            case "lareqa":
                return read_lareqa(place, name)
            case "lareqa-paragraphs":
                return read_lareqa_paragraphs(place, name, entry["languages"], entry.get("queries"))
        found = TestSet.from_beir(place, name)
        if {"languages", "clusters"} & entry.keys():
            found = found.only(entry.get("languages", found.languages), entry.get("clusters"))
        return found

    @property
    def test_set(self) -> TestSet:
        """The main test set."""
        return next(iter(self.test_sets.values()))

    def settings(self, system: System, seed: int) -> TrainingSettings:
        """Everything that is chosen for a run of a trained system.

        Beside the settings of the preset's file a system may change those of `reproduction.run.settings.OPTIONAL`: see
        `TrainingSettings`.

        Raises
        ------
        SettingsError
            If there is no such setting, or its value cannot be used.
        """
        data = [[entry["file"], entry["sha256"]] for entry in self._resolved["training"]]
        return self._settings(system, seed, data, self._resolved["selection"], _fingerprint(self.config["encoder"]))

    def _settings(self, system: System, seed: int, data: list, selection: dict,
                  fingerprint: str | None = None) -> TrainingSettings:
        changes = dict(system.changes)
        if unknown := changes.keys() - self.config.keys() - set(OPTIONAL):
            raise SettingsError(f"{str(system.base)!r:.200}: no setting {_listed(unknown)} in "
                                f"configs/{self.name}.yaml")
        where = f"configs/{self.name}.yaml" if not changes else f"{str(system.base)!r:.200} of configs/{self.name}.yaml"
        if reserved := self.config.keys() & {"sampling", "seed", "selection", *OPTIONAL}:
            raise SettingsError(f"{where}: {', '.join(sorted(reserved))} cannot be set for all runs: it belongs to a "
                                "system")
        alpha = self.config.get("alpha") if system.sampling == "Hybrid" else ALPHA.get(system.sampling)
        return TrainingSettings.of(self.config | {
            "sampling": system.sampling, "seed": seed, "alpha": alpha, "data": data, "selection": selection,
            "encoder_fingerprint": fingerprint} | changes, where)

    def choices(self, system: System, seed: int) -> dict[str, Any]:
        """What the folder of a system and a seed is made from: its key is a hash of this."""
        if system.is_trained:
            return self.settings(system, seed).as_dict()
        encoder = system.encoder or self.config["encoder"]
        fingerprint = _fingerprint(encoder)
        return {"encoder": encoder, "precision": self.config["precision"], "sampling": system.sampling} | (
            {"encoder_fingerprint": fingerprint} if fingerprint else {})

    def sampler(self, system: System, seed: int) -> LanguageBatchSampler:
        """The batch sampler of a run, to look at its batches."""
        settings = self.settings(system, seed)
        return sampler_of(settings, self.sets_of(settings))

    def sets_of(self, settings: TrainingSettings) -> list[ParallelCorpus]:
        """The training sets of a run: all of the preset, or what its settings leave of them."""
        names = [c.name for c in self.training_sets]
        if unknown := set(settings.sets or ()) - set(names):
            raise SettingsError(f"sets: no training set {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
        sets = [c for c in self.training_sets if settings.sets is None or c.name in settings.sets]
        if settings.groups is not None:
            # The first n of one order, so that a smaller set is part of a larger one.
            total, rng = sum(map(len, sets)), np.random.default_rng(0)
            if settings.groups > total:
                raise SettingsError(f"groups={settings.groups}, and the training sets have {total}")
            kept = np.sort(rng.permutation(total)[:settings.groups])
            ends = np.cumsum([0, *map(len, sets)])
            sets = [c.select(kept[(kept >= a) & (kept < b)] - a)
                    for c, (a, b) in zip(sets, pairwise(ends), strict=True)]
        return [c for c in sets if len(c)]


def _fingerprint(encoder: str) -> str | None:
    """What is in an encoder's folder; None of a name, whose revision says it."""
    return files.fingerprint(encoder) if Path(encoder).is_dir() else None


def _check_data(data: Any, file: str) -> dict[str, Any]:
    """The part ``data`` of a preset's file, if its entries say all that they must and nothing else."""
    if not isinstance(data, dict) or not _FORMATS.keys() - {"further"} <= data.keys():
        raise SettingsError(f"{file}: data must say training, selection and benchmarks")
    problems = []
    if unknown := data.keys() - {"needs_folder", "partial", *_FORMATS}:
        problems.append(f"data has no setting {_listed(unknown)}")
    problems += [f"{name} is {data[name]!r:.80}, expected true or false" for name in ("needs_folder", "partial")
                 if not isinstance(data.get(name, False), bool)]
    for place in (place for place in _FORMATS if place in data):
        entries = [data[place]] if place == "selection" else data[place]
        if not isinstance(entries, list) or not entries:
            problems.append(f"{place} must be a list of entries")
            continue
        for entry in entries:
            held_out = place == "selection" and isinstance(entry, dict) and "held_out_of" in entry
            problems += (_held_out_problems(entry) if held_out else
                         [f"{place}: {problem}" for problem in _entry_problems(entry, _FORMATS[place])])
    if not problems:
        names = [entry["name"] for entry in (*data["benchmarks"], *data.get("further", ()))]
        problems += [f"benchmarks and further: {name!r} stands there twice"
                     for name in sorted({x for x in names if names.count(x) > 1})]
    if problems:
        raise SettingsError(f"{file}: {'; '.join(problems)}")
    return data


def _listed(names: Iterable[Any]) -> str:
    """Names of settings as a message gives them, whatever YAML made of them."""
    return ", ".join(sorted(name if isinstance(name, str) and name.isprintable() else repr(name) for name in names))


def _held_out_problems(entry: dict[str, Any]) -> list[str]:
    if entry.keys() != _HELD_OUT:
        return ["selection is held_out_of a set with passages and seed"]
    checks = (("held_out_of", _is_text(entry["held_out_of"]), "the name of a training set"),
              ("passages", type(entry["passages"]) is int and entry["passages"] > 0, "a whole number of at least 1"),
              ("seed", type(entry["seed"]) is int and entry["seed"] >= 0, "a whole number of at least 0"))
    return [f"selection: {name} is {entry[name]!r:.80}, expected {expected}" for name, holds, expected in checks
            if not holds]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _entry_problems(entry: Any, formats: dict[str, tuple[set[str], set[str]]]) -> Iterator[str]:
    """What is wrong with an entry of data."""
    kind = entry.get("format") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in formats:
        yield f"format is {kind!r:.80}, expected one of {', '.join(formats)}"
        return
    needed, optional = formats[kind]
    if missing := needed - entry.keys():
        yield f"an entry of format {kind} lacks {', '.join(sorted(missing))}"
    if unknown := entry.keys() - needed - optional - {"format"}:
        yield f"an entry of format {kind} has no setting {_listed(unknown)}"
    known = {"set": [*SETS, "mmarco"], "lareqa": list(RELEASED)}.get(kind)
    for name, value in entry.items():
        if name == "ids":
            if value not in ("given", "lines"):
                yield f"ids is {value!r:.80}, expected one of given, lines"
        elif kind == "lareqa-paragraphs" and name in ("languages", "queries"):
            among = list(RELEASED["xquad-r"])
            if name == "queries" and isinstance(entry.get("languages"), list):
                among = entry["languages"]
            if not isinstance(value, list) or not value or any(x not in among or value.count(x) > 1 for x in value):
                yield f"{name} is {value!r:.80}, expected different ones of {', '.join(map(str, among)):.80}"
        elif name in ("languages", "clusters"):
            fits = is_language if name == "languages" else _is_text
            if not isinstance(value, list) or not value or any(not fits(x) or value.count(x) > 1 for x in value):
                yield f"{name} is {value!r:.80}, expected a list of different {name} of the test set"
        elif name == "sha256":
            if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
                yield f"sha256 is {value!r:.80}, expected 64 digits of 0-9a-f"
        elif name in needed | optional and (not _is_text(value) or (name == "name" and "/" in value)):
            yield f"{name} is {value!r:.80}, expected text" + (" without /" if name == "name" else "")
        elif name == "name" and known and value not in known:
            yield f"there is no {kind} {value!r:.80}, only {', '.join(known)}"
