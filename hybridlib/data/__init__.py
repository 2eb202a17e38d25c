"""Parallel groups to train on, and test sets to evaluate on: read them, check them, hold them."""

from hybridlib.data.groups import ParallelCorpus, corpus_of, read_groups
from hybridlib.data.lareqa import LAREQA, RELEASED, fetch_lareqa, load_test_set, read_lareqa, read_lareqa_paragraphs
from hybridlib.data.reading import CorpusError, verify_checksum
from hybridlib.data.tables import corpus_of_table
from hybridlib.data.test_set import TestSet, read_corpus

__all__ = ["LAREQA", "RELEASED", "CorpusError", "ParallelCorpus", "TestSet", "corpus_of", "corpus_of_table",
           "fetch_lareqa", "load_test_set", "read_corpus", "read_groups", "read_lareqa", "read_lareqa_paragraphs",
           "verify_checksum"]
