"""Models by name, the packaged encoder among them, and texts to embeddings."""

from hybridlib.encoding.encoder import Siblings, encode, encode_all, has_fast_bfloat16, in_bfloat16, name_of
from hybridlib.encoding.models import HUB_NAME, HUB_REVISION, MAX_LENGTH, limit, load
from hybridlib.encoding.packaged import PACKAGED, PACKAGED_SHA256, packaged_weights, read_packaged
from hybridlib.encoding.prompts import E5_PROMPTS, Prompts

__all__ = ["E5_PROMPTS", "HUB_NAME", "HUB_REVISION", "MAX_LENGTH", "PACKAGED", "PACKAGED_SHA256", "Prompts",
           "Siblings", "encode", "encode_all", "has_fast_bfloat16", "in_bfloat16", "limit", "load",
           "name_of", "packaged_weights", "read_packaged"]
