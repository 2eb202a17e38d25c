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
    def of(cls, model: "SentenceTransformer", otherwise: "Prompts | None" = None) -> "Prompts":
        """The prompts that a model names for itself, as ``encode_query`` and ``encode_document`` use them.

        Parameters
        ----------
        model : SentenceTransformer
        otherwise : Prompts, optional
            For a model that names none; by default nothing is put before its texts.
        """
        own = model.prompts or {}
        if otherwise is not None and not any(own.values()):
            return otherwise
        # The first that is there counts, also if it is empty.
        query, passage = (next((own[name] for name in (*names, model.default_prompt_name) if name in own), None)
                          for names in (("query",), ("document", "passage", "corpus")))
        return cls(query or "", passage or "")


E5_PROMPTS = Prompts()
