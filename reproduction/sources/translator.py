"""Open translation models: NLLB-200 and M2M-100, from safetensors only.

Two families are known, both loaded by transformers:

* NLLB-200 (Costa-jussà et al. 2022, arXiv 2207.04672), CC BY-NC 4.0: **not for commercial use**;
* M2M-100 (Fan et al. 2020, arXiv 2010.11125), MIT; its tokenizer needs `pip install hybridlib[translation]`.

Both are made to translate sentences. A passage is given to the model as one text: of a long one, sentences may get
lost, which the length filter finds where it is much. Decoding is greedy.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase

from hybridlib import files
from hybridlib.languages import FLORES

MODEL = "facebook/nllb-200-distilled-600M"
# The main revisions of these repositories hold pickles only; the hub's conversion bot left safetensors in pull
# requests. Per model the revision and the weights' sha256 where it is known (a full commit hash pins them as well).
# From stored copies of the hub's pages; not compared with the hub itself.
PINNED = {
    MODEL: ("refs/pr/29", "ca41e084084466b348cdc519f9762bcfc6c352f35c2fbee5588194de8da63da8"),
    "facebook/nllb-200-1.3B": ("05f78f6164fc0a21a225794b50a6413ea51718db", None),
    "facebook/nllb-200-3.3B": ("f046cc4ebd1ea4aa8015c3d48282a6299d9f3915", None),
    "facebook/m2m100_418M": ("17ef199e3a3479ca5d572350066761c5e926ac03", None)}


@dataclass(frozen=True)
class Translator:
    """A translation model with its tokenizer; `load_translator` makes one.

    Attributes
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    source : str
        Name and revision, for the manifest.
    files : dict of str to str
        The sha256 of each file that it was loaded from.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    source: str
    files: dict[str, str]

    def _name(self, language: str) -> tuple[str, int] | None:
        """What the model calls a language: (for the tokenizer, the token's id); None if it does not know it."""
        for name, token in ((FLORES[language], FLORES[language]), (language, f"__{language}__")):
            number = self.tokenizer.convert_tokens_to_ids(token)
            if number not in (None, self.tokenizer.unk_token_id):
                return name, number
        return None

    def knows(self, language: str) -> bool:
        """Whether the model translates into (and from) a language of `hybridlib.languages.FLORES`."""
        return self._name(language) is not None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each English text, the language's and the end's included: a list of int."""
        self.tokenizer.src_lang = self._name("en")[0]
        return [len(ids) for ids in self.tokenizer(texts)["input_ids"]] if texts else []

    def translate(self, texts: Sequence[str], language: str) -> list[str | None]:
        """One batch of English texts into a language, greedily.

        Parameters
        ----------
        texts : list of str
        language : str

        Returns
        -------
        list of (str or None)
            None for a translation that had not ended at twice the tokens of the batch's longest text, and 20: models
            that lose their way repeat themselves without an end.
        """
        self.tokenizer.src_lang = self._name("en")[0]
        features = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.model.device)
        with torch.inference_mode():
            found = self.model.generate(
                **features, forced_bos_token_id=self._name(language)[1], num_beams=1, do_sample=False,
                max_new_tokens=2 * features["input_ids"].shape[1] + 20)[:, 1:]  # the first is the start, not an end
        ended = (found == self.tokenizer.eos_token_id).any(1).tolist()
        texts = self.tokenizer.batch_decode(found, skip_special_tokens=True)
        return [unicodedata.normalize("NFC", text).strip() if end else None
                for text, end in zip(texts, ended, strict=True)]


def _fetch_model(name: str, revision: str | None) -> tuple[Path, str | None, str]:
    """The folder of a model from the hub, its weights' expected sha256 (or None), and its revision."""
    from huggingface_hub import snapshot_download

    expected = None
    if revision is None:
        if name not in PINNED:
            raise ValueError(f"{name}: no revision is pinned for it; give one that holds *.safetensors with --revision "
                             f"(a full commit hash). Pinned are {', '.join(PINNED)}")
        revision, expected = PINNED[name]
    try:
        # What is not asked for cannot be loaded by mistake: no pickle, no code.
        folder = snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors", "*.model"])
    except OSError as error:
        raise ConnectionError(f"{name} at {revision} could not be had: {error}\nGet the files by other means and give "
                              "their folder with --model") from error
    return Path(folder), expected, revision


def load_translator(name: str = MODEL, revision: str | None = None, device: str | torch.device = "cpu",
                    dtype: torch.dtype = torch.float32) -> Translator:
    """Load a translation model.

    Parameters
    ----------
    name : str
        A folder, or a name at the hub.
    revision : str, optional
        Of a hub name; by default that of `PINNED`.
    device : str or torch.device
    dtype : torch.dtype

    Returns
    -------
    Translator

    Raises
    ------
    FileNotFoundError, ConnectionError
        If there is no such folder, or the hub cannot be reached.
    ValueError
        If there are no safetensors, they are not the pinned ones, or the model is of neither family.
    ImportError
        If the tokenizer needs a package that is not installed.
    """
    folder, expected, source = Path(name), None, str(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith("."):
            raise FileNotFoundError(f"{name}: no such folder")
        folder, expected, revision = _fetch_model(name, revision)
        source = f"{name} at {revision}"
    if not list(folder.glob("*.safetensors")):
        raise ValueError(
            f"{source}: no *.safetensors, and pickles are not loaded. Give a revision that has them with --revision "
            "(the hub's conversion bot leaves them in pull requests, refs/pr/<number>), or convert the model once "
            "yourself, where you trust it: AutoModelForSeq2SeqLM.from_pretrained(…).save_pretrained(folder), likewise "
            "its AutoTokenizer; then give the folder with --model")
    digests = {file.name: files.sha256(file) for file in sorted(folder.iterdir())
               if file.suffix in (".json", ".safetensors", ".model")}
    if expected not in (None, digests.get("model.safetensors")):
        raise ValueError(f"{source}: sha256 of model.safetensors is {digests.get('model.safetensors')}, expected "
                         f"{expected}; the revision has changed. Give the one that you trust with --revision")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, dtype=dtype).to(device).eval()
    # Checkpoints of both families cut at 200 tokens; `Translator.translate` has its own end.
    model.generation_config.max_length = None
    translator = Translator(model, tokenizer, source, digests)
    if not translator.knows("en"):
        raise ValueError(f"{source}: not of the NLLB-200 or M2M-100 family, its tokenizer has neither a token "
                         f"{FLORES['en']} nor __en__")
    return translator
