"""Texts to embeddings: sorted by length, in the precision asked for, by several models that share layers at once.

That is fast because it goes around ``encode_query`` and ``encode_document``; each time it is held against them on a
sample of the texts, and where it differs they are used themselves.
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from hybridlib.progress import progress_bar

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Role = Literal["query", "document"]
SAMPLE = 8  # texts that the fast encoder is held against the model's own methods on
TOKENS, GPU_TOKENS = 2048, 32_768  # padded, in a batch
TOLERANCE = 1e-4  # largest difference of a number in two vectors of unit length, in float32


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: any CUDA card since Ampere, x86 with AMX or AVX-512 BF16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Before release 2.6 torch does not tell, and float32 is the safe choice.
    tells = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and tells()


def in_bfloat16(precision: str, device: str | torch.device) -> bool:
    """Whether to compute in bfloat16: ``precision`` is "bf16", "fp32", or "auto", which asks the device."""
    return precision == "bf16" or (precision == "auto" and has_fast_bfloat16(device))


class _Given(torch.nn.Module):
    """Stands where a transformer's embeddings were: its input is embedded already."""

    def forward(self, *args: Any, inputs_embeds: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return inputs_embeds


class Siblings(torch.nn.Module):
    """Models to encode with together; those that were fine-tuned in their upper layers only share the lower ones.

    What is shared is computed once for all of them: checkpoints of one encoder are evaluated together for
    little more than the price of their own layers. Where their own methods are needed, each is made whole again, and
    computes all of its layers itself.

    Parameters
    ----------
    models : iterable of SentenceTransformer
        Taken one at a time. Copies are cast; the models themselves are left as they are.
    dtype : torch.dtype
        Precision of the forward pass.
    shared : int
        How many of the transformer's first layers, and its token embeddings, are the same in all models.
    names : sequence of str, optional
        What messages call the models; by default the name of the encoder that each is based on.

    Raises
    ------
    ValueError
        If they are not the same, or their settings differ.
    """

    def __init__(self, models: Iterable["SentenceTransformer"], dtype: torch.dtype = torch.float32,
                 shared: int = 0, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.dtype, self.shared, self.lower, self.uppers = dtype, shared, None, torch.nn.ModuleList()
        self.names: list[str] = []
        for number, model in enumerate(map(_bare, models)):
            self.names.append(names[number] if names else name_of(model))
            if not self.uppers:
                original = model
                self._take_settings(model)
                if not self.is_transformer:
                    self.shared = shared = 0  # it has no first layers to speak of
            if self._settings(model) != self._settings(original):
                raise ValueError(f"{self.names[-1]} and {self.names[0]} cannot be encoded together: their maximum of "
                                 f"tokens, truncate_dim and similarity are {self._settings(model)} and "
                                 f"{self._settings(original)}")
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

    def make_whole(self) -> None:
        """Give each model back the layers that are shared, so that it can do without the others."""
        for upper in self.uppers if self.shared else ():
            transformer = upper[0].auto_model
            transformer.embeddings = self.lower.embeddings
            transformer.encoder.layer = torch.nn.ModuleList([*self.lower.encoder.layer, *transformer.encoder.layer])
        self.shared, self.lower = 0, None

    @staticmethod
    def _settings(model: "SentenceTransformer") -> tuple[int | None, int | None, str]:
        return model.max_seq_length, model.truncate_dim, model.similarity_fn_name

    def _take_settings(self, model: "SentenceTransformer") -> None:
        """Read off the first model what holds for all."""
        from sentence_transformers.sentence_transformer.modules import Transformer

        self.tokenizer, self.device = model.tokenizer, model.device
        self.max_seq_length, self.truncate_dim, self.similarity = self._settings(model)
        self.is_transformer = isinstance(model[0], Transformer) and hasattr(self.tokenizer, "pad")
        self.pools_prompt = all(getattr(module, "include_prompt", True) for module in model)
        if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
            model = copy.deepcopy(model).float()
        # In a list: it is no part of this module, and is neither cast nor moved with it.
        self._reference = [model]

    @staticmethod
    def _check(first: "SentenceTransformer", other: "SentenceTransformer", shared: int) -> None:
        first, other = first[0].auto_model, other[0].auto_model
        for a, b in zip([first.embeddings, *first.encoder.layer[:shared]],
                        [other.embeddings, *other.encoder.layer[:shared]], strict=True):
            if not all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)):
                raise ValueError(f"the models do not share their token embeddings and first {shared} layers")

    def forward(self, features: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Tokenised texts to a list of embeddings, one (texts, width) per model."""
        if not self.shared:
            return [model(dict(features))["sentence_embedding"] for model in self.uppers]
        mask = features["attention_mask"]
        states = self.lower(input_ids=features["input_ids"], attention_mask=mask).last_hidden_state
        outputs = []
        for model in self.uppers:
            output = dict(features) | {
                "token_embeddings": model[0].auto_model(inputs_embeds=states, attention_mask=mask)[0]}
            for module in list(model)[1:]:
                output = module(output)
            outputs.append(output["sentence_embedding"])
        return outputs

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the tokens of each text, as many as the models take."""
        # A tokenizer without a maximum says so by a number that its own library cannot hold.
        longest = self.max_seq_length if self.max_seq_length and self.max_seq_length < 2**31 else None
        return self.tokenizer(list(texts), truncation=longest is not None, max_length=longest)["input_ids"]

    def features(self, tokens: Sequence[list[int]], prompt: str) -> dict[str, torch.Tensor]:
        """What `forward` takes: texts of similar length, padded."""
        features = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt").to(self.device)
        if prompt and not self.pools_prompt:
            alone = self.tokenizer(prompt)["input_ids"]
            features["prompt_length"] = len(alone) - (alone[-1] in self.tokenizer.all_special_ids)
        return features

    def unit(self, output: torch.Tensor) -> np.ndarray:
        """Embeddings as they are ranked: in float32, cut to the models' ``truncate_dim``, of unit length.

        Raises
        ------
        ValueError
            If the models are made for another similarity than the cosine, and it makes a difference.
        """
        output = output.float()[:, :self.truncate_dim]
        if self.similarity != "cosine":
            lengths = output.norm(dim=-1)
            # For vectors of unit length the dot product is the cosine, and the Euclidean distance falls with it.
            if self.similarity == "manhattan" or ((lengths - 1).abs() > 0.01).any():
                raise ValueError(
                    f"{self.names[0]}: its similarity_fn_name is {self.similarity!r} and its embeddings have lengths "
                    f"from {lengths.min():.3g} to {lengths.max():.3g}; ranking here is by the cosine, which is another "
                    "order. Set similarity_fn_name to 'cosine' to have it ranked so all the same")
        return torch.nn.functional.normalize(output, dim=-1).cpu().numpy()

    def why_slow(self, texts: Sequence[str], prompt: str, role: Role | None) -> str | None:
        """Why the models' own methods are needed for these texts; None if the fast encoder gives what they give.

        Asked of the first model, in float32, on the shortest text, the longest and some others.
        """
        (model,) = self._reference
        if not self.is_transformer:
            return f"it begins with {type(model[0]).__name__}"
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        others = np.random.default_rng(0).choice(len(texts), min(len(texts), SAMPLE - 2), replace=False).tolist()
        sample = [texts[i] for i in sorted({by_length[0], by_length[-1], *others})]
        in_training = [module for module in model.modules() if module.training]
        model.eval()
        with torch.inference_mode():
            features = self.features(self.tokens([prompt + text for text in sample]), prompt)
            output = (self(features)[0] if self.dtype == torch.float32
                      else model(dict(features))["sentence_embedding"])
            mine = self.unit(output)
        theirs = _own_method(model, role)(sample, prompt=prompt, normalize_embeddings=True, show_progress_bar=False)
        for module in in_training:  # not all of a model need be
            module.training = True
        if mine.shape != theirs.shape:
            return f"the fast encoder's vectors have width {mine.shape[1]}, and its own {theirs.shape[1]}"
        wrong = ~np.isclose(mine, theirs, rtol=0, atol=TOLERANCE, equal_nan=True).all(1)
        return f"the fast encoder differs on {wrong.sum()} of {len(sample)} texts" if wrong.any() else None


def _bare(model: "SentenceTransformer") -> "SentenceTransformer":
    """A model without what a trainer puts around its forward for mixed precision: here `dtype` decides."""
    if "forward" in vars(model):
        model = copy.deepcopy(model)
        del model.forward
    return model


def name_of(model: "SentenceTransformer") -> str:
    """What to call a model in memory: the encoder that it is based on, where it knows that."""
    return getattr(getattr(model, "model_card_data", None), "base_model", None) or type(model).__name__


def _own_method(model: "SentenceTransformer", role: Role | None) -> Callable[..., Any]:
    return {None: model.encode, "query": model.encode_query, "document": model.encode_document}[role]


def encode(model: "SentenceTransformer", texts: Sequence[str], prompt: str, dtype: torch.dtype = torch.float32,
           tokens_per_batch: int | None = None, description: str = "encoding", role: Role | None = None,
           ) -> tuple[np.ndarray, dict[str, int]]:
    """Embed texts with one model: `encode_all` of one.

    Returns
    -------
    (ndarray of float32, shape (n, width); dict)
    """
    (embeddings,), counts = encode_all(Siblings([model], dtype), texts, prompt, tokens_per_batch, description, role)
    return embeddings, counts


def encode_all(siblings: Siblings, texts: Sequence[str], prompt: str, tokens_per_batch: int | None = None,
               description: str = "encoding", role: Role | None = None) -> tuple[list[np.ndarray], dict[str, int]]:
    """Embed each distinct text once, in batches of similar length.

    Texts are sorted by their number of tokens and cut into batches of at most ``tokens_per_batch`` padded
    tokens, so that little of the work is padding; equal texts get exactly equal embeddings. Models whose
    ``encode_query`` or ``encode_document`` give something else are encoded by these, with a warning that says so.

    Parameters
    ----------
    siblings : Siblings
    texts : sequence of str, length n
    prompt : str
        Put before each text.
    tokens_per_batch : int, optional
        By default 2,048 on a processor, whose caches they fit, and 32,768 elsewhere.
    description : str
        Label of the progress bar.
    role : {"query", "document"}, optional
        What the texts are; for models that have a way of their own for each.

    Returns
    -------
    (list of ndarray of float32, shape (n, width); dict)
        Per model the embeddings, of unit length; and counts: ``texts``, ``distinct``, ``tokens``,
        ``padded_tokens``.

    Raises
    ------
    ValueError
        If there is no text, or one with a lone surrogate; if an embedding is not a number, infinite or all zero; if a
        model is made for another similarity than the cosine, and it makes a difference.
    """
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        raise ValueError(f"{siblings.names[0]}: no texts to encode")
    for text in distinct:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{text[:60]!a} cannot be encoded: it has a lone surrogate, "
                             f"U+{ord(text[error.start]):04X}") from error
    reason = siblings.why_slow(distinct, prompt, role)
    if reason is None:
        if tokens_per_batch is None:
            tokens_per_batch = TOKENS if siblings.device.type == "cpu" else GPU_TOKENS
        embeddings, counts = _fast(siblings, distinct, prompt, tokens_per_batch, description)
    else:
        siblings.make_whole()
        warnings.warn(f"{siblings.names[0]} is encoded by its own methods, which is slower: {reason}", stacklevel=2)
        embeddings, counts = _slow(siblings, distinct, prompt, role, description)
    for name, of_model in zip(siblings.names, embeddings, strict=True):
        lengths = np.sqrt(np.einsum("ij,ij->i", of_model, of_model))
        # Written so that not-a-number is among them.
        if len(wrong := np.flatnonzero(~(np.abs(lengths - 1) < 0.01))):
            raise ValueError(f"{name}: {len(wrong)} of {len(distinct)} embeddings are not a number, infinite or all "
                             f"zero, the first that of {_short(distinct[wrong[0]])}")
    place = {text: i for i, text in enumerate(distinct)}
    rows = [place[text] for text in texts]
    return [of_model[rows] for of_model in embeddings], {"texts": len(texts), "distinct": len(distinct)} | counts


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _fast(siblings: Siblings, texts: list[str], prompt: str, tokens_per_batch: int, description: str,
          ) -> tuple[list[np.ndarray], dict[str, int]]:
    """Embeddings of each text per model, and counts of tokens."""
    encodings = siblings.tokens([prompt + text for text in texts])
    order = sorted(range(len(texts)), key=lambda i: -len(encodings[i]))
    embeddings: list[Any] = [None] * len(siblings.uppers)
    padded, at = 0, 0
    with torch.inference_mode(), progress_bar(total=len(order), desc=description, unit="text") as progress:
        while at < len(order):
            batch = order[at:at + max(1, tokens_per_batch // max(1, len(encodings[order[at]])))]
            features = siblings.features([encodings[i] for i in batch], prompt)
            padded += features["input_ids"].numel()
            for number, output in enumerate(siblings(features)):
                output = siblings.unit(output)
                if embeddings[number] is None:
                    embeddings[number] = np.empty((len(texts), output.shape[1]), np.float32)
                embeddings[number][batch] = output
            at += len(batch)
            progress.update(len(batch))
    return embeddings, {"tokens": sum(map(len, encodings)), "padded_tokens": padded}


def _slow(siblings: Siblings, texts: list[str], prompt: str, role: Role | None, description: str, size: int = 32,
          ) -> tuple[list[np.ndarray], dict[str, int]]:
    """What `_fast` gives, by the models' own methods."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    embeddings: list[Any] = [None] * len(siblings.uppers)
    tokens = padded = 0
    for start in progress_bar(range(0, len(order), size), desc=description, unit="batch"):
        batch = order[start:start + size]
        chosen = [texts[i] for i in batch]
        features = siblings.uppers[0].preprocess(chosen, prompt=prompt, task=role)
        count = features["input_ids"].numel() if "input_ids" in features else 0
        padded += count
        tokens += int(features["attention_mask"].sum()) if "attention_mask" in features else count
        for number, model in enumerate(siblings.uppers):
            output = siblings.unit(_own_method(model, role)(chosen, prompt=prompt, convert_to_tensor=True,
                                                            show_progress_bar=False))
            if embeddings[number] is None:
                embeddings[number] = np.empty((len(texts), output.shape[1]), np.float32)
            embeddings[number][batch] = output
    return embeddings, {"tokens": tokens, "padded_tokens": padded}
