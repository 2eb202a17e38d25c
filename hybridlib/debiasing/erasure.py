"""Language taken out by one affine map that needs no language at search time, for a model and an index that exist."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hybridlib import encoding, files
from hybridlib.debiasing.remedies import LanguageSubspace, language_means, unit
from hybridlib.languages import is_language

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LEAST = 10  # documents a language: with fewer, the mean of a language is that of its topics
_KIND = "hybridlib.LanguageErasure"


def check_counts(counts: Mapping[str, int]) -> None:
    """Raise ValueError unless an erasure can be fitted on so many documents of each language."""
    if unknown := [label for label in counts if not is_language(label)]:
        raise ValueError(f"{', '.join(map(repr, unknown[:5]))}: no language code such as de, pt-BR or eng_Latn")
    if len(counts) < 2:
        raise ValueError(f"documents in {', '.join(counts) or 'no language'}: two languages or more are needed, one "
                         "has nothing to be told apart from")
    if few := [f"{language} has {count}" for language, count in counts.items() if count < LEAST]:
        raise ValueError(f"{', '.join(few)}: at least {LEAST} documents of each language are needed; leave out the "
                         "languages that have fewer")


def _checked(vectors: np.ndarray, width: int | None = None) -> np.ndarray:
    """Vectors of unit length, if there are some, all of them have a direction, and the width is right."""
    vectors = np.asarray(vectors)
    if vectors.dtype == np.float16:
        vectors = vectors.astype(np.float32)  # squares of its numbers do not fit it
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors have the shape {vectors.shape}; (texts, width) with one text or more is needed")
    if width is not None and vectors.shape[1] != width:
        raise ValueError(f"vectors are {vectors.shape[1]} wide, and this map was fitted on vectors {width} wide")
    if len(wrong := np.flatnonzero(~(np.isfinite(vectors).all(1) & vectors.any(1)))):
        raise ValueError(f"{len(wrong)} of {len(vectors)} vectors are not finite or all zero, the first in row "
                         f"{wrong[0]}")
    return unit(vectors)


@dataclass(frozen=True, eq=False)
class LanguageErasure:
    """Project out the directions in which the languages' means differ, subtract a share of what these have in common.

    One affine map of vectors of unit length, and unit length again: queries and documents take the same, whatever
    their languages. With all differences out, the means of all languages are one and the same vector. That is the
    mean of which a share is subtracted: whether documents or languages are averaged over makes no difference to it, so
    that a language with most of the documents weighs no more than another.

    Attributes
    ----------
    directions : ndarray, shape (count, width), orthonormal
    mean : ndarray, shape (width,), orthogonal to these
        What the languages' means have in common.
    languages : tuple of str
        Of the documents that it was fitted on.
    strength : float in [0, 1]
        A dial, for those who want the query's own language first: this part of the projection and of the subtraction.
        0 leaves vectors as they are. ``dataclasses.replace(erasure, strength=0.5)`` turns it without a new fit.
    mean_share : float in [0, 1]
    """

    directions: np.ndarray
    mean: np.ndarray
    languages: tuple[str, ...]
    strength: float = 1.0
    mean_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("strength", "mean_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and has to be from 0 to 1")

    @classmethod
    def fit(cls, vectors: np.ndarray, languages: Sequence[str], strength: float = 1.0,
            mean_share: float = 0.5) -> "LanguageErasure":
        """From vectors of documents, shape (n, width), and their languages.

        The documents should be those that are searched, or like them; at least `LEAST` of each language.

        Raises
        ------
        ValueError
            If there is one language only, or a label that is no language's code; if a language has too few documents,
            or all languages have the same mean; if a vector is not finite or all zero.
        """
        vectors = _checked(vectors)
        if len(vectors) != len(languages):
            raise ValueError(f"{len(vectors)} vectors and {len(languages)} languages; each vector needs one")
        # Not by str alone: a missing label of pandas would become "nan", the code of a language.
        labels = [str(label) if isinstance(label, str) else None for label in languages]
        check_counts(Counter(labels))
        # In double precision: a mean over a million rows would lose digits.
        means = language_means(vectors.astype(np.float64), labels)
        stacked = np.stack(list(means.values()))
        rank = np.linalg.matrix_rank(stacked - stacked.mean(0), tol=1e-6)
        if not 0 < rank < vectors.shape[1]:
            raise ValueError(f"the means of {len(means)} languages differ in {rank} directions of {vectors.shape[1]}: "
                             f"{'nothing tells them apart' if not rank else 'nothing would be left'}")
        directions = LanguageSubspace.from_means(means, count=int(rank)).directions
        mean = stacked.mean(0) - stacked.mean(0) @ directions.T @ directions
        return cls(directions.astype(np.float32), mean.astype(np.float32), tuple(means), strength, mean_share)

    @classmethod
    def fit_model(cls, model: "SentenceTransformer", texts_by_language: Mapping[str, Iterable[str]],
                  prompt: str | None = None, precision: str = "auto", strength: float = 1.0,
                  mean_share: float = 0.5) -> "LanguageErasure":
        """As `fit`, on documents that a model encodes, each once.

        Parameters
        ----------
        model : SentenceTransformer
        texts_by_language : dict of language to texts
        prompt : str, optional
            What is put before a document; by default the model's own.
        precision : {"auto", "bf16", "fp32"}
            "auto" is bf16 where the model's device is fast at it.
        strength, mean_share : float
        """
        import torch

        texts = {language: list(dict.fromkeys(own)) for language, own in texts_by_language.items()}
        check_counts({language: len(own) for language, own in texts.items()})
        check_model(model)
        dtype = torch.bfloat16 if encoding.in_bfloat16(precision, model.device) else torch.float32
        vectors, _ = encoding.encode(
            model, [text for own in texts.values() for text in own],
            encoding.Prompts.of(model).passage if prompt is None else prompt, dtype, description="documents",
            role="document")
        return cls.fit(vectors, [language for language, own in texts.items() for _ in own], strength, mean_share)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """The map between the two unit lengths: a matrix (width, width) and what is added (width,)."""
        weight = np.eye(len(self.mean)) - self.strength * np.float64(self.directions).T @ self.directions
        return weight.astype(np.float32), np.float32(-self.strength * self.mean_share) * self.mean

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, width) of queries or documents, those of an index that exists too, mapped, of unit length.

        Raises
        ------
        ValueError
            If they have another width, or one is not finite or all zero.
        """
        weight, bias = self.affine()
        return unit(_checked(vectors, len(self.mean)) @ weight.T + bias)

    def add_to(self, model: "SentenceTransformer") -> "SentenceTransformer":
        """A new model with the map behind the given one's modules, which it shares; the given one stays as it is.

        The map is sentence-transformers' own `Dense` between two `Normalize`, so that what ``save_pretrained`` writes
        loads where this package is not installed. A model that cuts its vectors (``truncate_dim``) gets a `Dense` that
        cuts them before the map.

        Raises
        ------
        TypeError
            If it is no SentenceTransformer.
        ValueError
            If it gives vectors of another width, or ranks by the lengths of its vectors, which the map takes away.
        """
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize

        check_model(model)
        width = model.get_embedding_dimension()
        if width != len(self.mean):
            raise ValueError(f"the model's vectors are {width} wide, and this map was fitted on vectors "
                             f"{len(self.mean)} wide")
        with model.truncate_embeddings(None):
            full = model.get_embedding_dimension()
        behind = [] if full == width else [_dense(np.eye(width, full, dtype=np.float32), np.zeros(width, np.float32))]
        if behind or not isinstance(model[-1], Normalize):
            behind.append(Normalize())
        behind += [_dense(*self.affine()), Normalize()]
        # Under the names that they have: by these a model may hand on arguments to its modules. The new ones are
        # numbered by place, so that a model that has a map already keeps it.
        modules = OrderedDict(model.named_children()) | {
            f"erasure{n}": module for n, module in enumerate(behind, len(model))}
        made = SentenceTransformer(
            modules=modules, device=str(model.device), prompts=model.prompts,
            default_prompt_name=model.default_prompt_name, similarity_fn_name=model.similarity_fn_name)
        made.module_kwargs, made.backend = model.module_kwargs, model.backend
        made.model_card_data.base_model = model.model_card_data.base_model
        made.training = model.training  # of itself only: the modules that they share keep theirs
        return made

    def save(self, path: str | Path) -> None:
        """Write it as a safetensors file."""
        from safetensors.numpy import save_file

        with files.atomic(path) as temporary:
            save_file({"directions": self.directions, "mean": self.mean}, temporary, {
                "kind": _KIND, "languages": " ".join(self.languages), "strength": repr(float(self.strength)),
                "mean_share": repr(float(self.mean_share))})

    @classmethod
    def load(cls, path: str | Path) -> "LanguageErasure":
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is something else.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file; LanguageErasure.save writes one")
        try:
            with safe_open(path, "np") as file:
                facts, found = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
        except SafetensorError as error:
            raise ValueError(f"{path}: not a safetensors file ({error})") from error
        if facts.get("kind") != _KIND:
            raise ValueError(f"{path}: holds {', '.join(sorted(found))[:80] or 'nothing'}, no language erasure; "
                             "LanguageErasure.save writes one")
        return cls(found["directions"], found["mean"], tuple(facts["languages"].split()), float(facts["strength"]),
                   float(facts["mean_share"]))


def check_model(model: object) -> None:
    """Raise TypeError or ValueError unless a model can have an erasure behind it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    if not isinstance(model, SentenceTransformer):
        raise TypeError(f"a {type(model).__name__} gives no dense vectors; a SentenceTransformer does")
    if model.similarity_fn_name != "cosine" and not isinstance(model[-1], Normalize):
        raise ValueError(f"the model ranks by {model.similarity_fn_name!r}, lengths included, which the map takes "
                         "away; set similarity_fn_name to 'cosine' if it can be ranked so")


def _dense(weight: np.ndarray, bias: np.ndarray) -> "SentenceTransformer":
    """sentence-transformers' `Dense` that computes just this."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    return Dense(weight.shape[1], weight.shape[0], activation_function=torch.nn.Identity(),
                 init_weight=torch.from_numpy(weight), init_bias=torch.from_numpy(bias))
