"""Texts to embeddings: sorted by length, in the precision asked for, by several models that share layers at once."""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hybridlib.progress import progress_bar

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


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

    def __init__(self, models: Iterable["SentenceTransformer"], dtype: torch.dtype = torch.float32,
                 shared: int = 0) -> None:
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
        states = self.lower(**features).last_hidden_state
        outputs = []
        for model in self.uppers:
            output = {"token_embeddings": model[0].auto_model(inputs_embeds=states, attention_mask=mask)[0],
                      "attention_mask": mask}
            for module in list(model)[1:]:
                output = module(output)
            outputs.append(output["sentence_embedding"])
        return outputs


def encode(model: "SentenceTransformer", texts: Sequence[str], prompt: str, dtype: torch.dtype = torch.float32,
           tokens_per_batch: int = 2048, description: str = "encoding") -> tuple[np.ndarray, dict[str, int]]:
    """Embed texts with one model: `encode_all` of one.

    Returns
    -------
    (ndarray of float32, shape (n, width); dict)
    """
    (embeddings,), counts = encode_all(Siblings([model], dtype), texts, prompt, tokens_per_batch, description)
    return embeddings, counts


def encode_all(siblings: Siblings, texts: Sequence[str], prompt: str, tokens_per_batch: int = 2048,
               description: str = "encoding") -> tuple[list[np.ndarray], dict[str, int]]:
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
    embeddings: list[Any] = [None] * len(siblings.uppers)
    padded, at = 0, 0
    with torch.inference_mode(), progress_bar(total=len(order), desc=description, unit="text") as progress:
        while at < len(order):
            batch = order[at:at + max(1, tokens_per_batch // len(encodings[order[at]]))]
            features = siblings.tokenizer.pad({"input_ids": [encodings[i] for i in batch]}, return_tensors="pt")
            padded += features["input_ids"].numel()
            for number, output in enumerate(siblings(features.to(siblings.device))):
                output = torch.nn.functional.normalize(output.float(), dim=-1).cpu().numpy()
                if embeddings[number] is None:
                    embeddings[number] = np.empty((len(distinct), output.shape[1]), np.float32)
                embeddings[number][batch] = output
            at += len(batch)
            progress.update(len(batch))
    counts = {"texts": len(texts), "distinct": len(distinct), "tokens": sum(map(len, encodings)),
              "padded_tokens": padded}
    rows = [place[text] for text in texts]
    return [of_model[rows] for of_model in embeddings], counts
