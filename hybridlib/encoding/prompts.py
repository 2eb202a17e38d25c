"""What is put before a text, by its role."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Prompts:
    """What is put before a query and before a passage, the space included (the E5 convention)."""

    query: str = "query: "
    passage: str = "passage: "

    @classmethod
    def of(cls, model: "SentenceTransformer") -> "Prompts":
        """The prompts that a model names for itself, as ``encode_query`` and ``encode_document`` would use them."""
        own = model.prompts or {}
        return cls(own.get("query", ""), next((own[x] for x in ("document", "passage", "corpus") if own.get(x)), ""))


E5_PROMPTS = Prompts()
