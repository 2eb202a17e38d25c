"""Files that cannot be used are refused with file, line and reason; what can be used reads as written."""

import gzip
import json

import numpy as np
import pytest
from conftest import group

from hybridlib.data import CorpusError, read_groups, verify_checksum

TWO = ("de", "en")


@pytest.mark.parametrize(("line", "reason"), [
    ({"id": "", "query": {"en": "q"}, "passage": {"en": "p"}}, "field 'id' is missing or not text"),
    ({"id": "g0", "query": {"en": "q"}, "passage": {"en": "p"}}, "duplicate id 'g0', also at line 1"),
    ({"id": "g1", "query": {}, "passage": {"en": "p"}}, "field 'query' must be an object"),
    ({"id": "g1", "query": {"en": "q"}}, "field 'passage' must be an object"),
    ({"id": "g1", "query": {"english": "q"}, "passage": {"en": "p"}}, "'english' is not a language code"),
    ({"id": "g1", "query": {"en": 7}, "passage": {"en": "p"}}, "field 'query', en: a int, expected text"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": ""}}, "field 'passage', en: the text is empty"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": {"en": []}}, "field 'negatives', en"),
])
def test_broken_group_is_refused_by_file_line_and_reason(write_lines, line, reason):
    path = write_lines("groups.jsonl", [group(0, TWO), line])
    with pytest.raises(CorpusError) as error:
        read_groups(path)
    assert any(problem.startswith(f"{path}:2: ") and reason in problem for problem in error.value.problems)


def test_required_languages(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(1, ("en",))])
    assert len(read_groups(path)) == 2
    with pytest.raises(CorpusError, match=r"groups.jsonl:2: field 'query' lacks language 'de'"):
        read_groups(path, languages=TWO)


def test_ids_can_be_taken_from_lines(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(0, TWO)])
    with pytest.raises(CorpusError, match="duplicate id"):
        read_groups(path)
    assert read_groups(path, ids="lines").ids == ["groups:1", "groups:2"]


def test_empty_truncated_and_wrongly_encoded_files(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no groups"):
        read_groups(tmp_path / "empty.jsonl")
    whole = gzip.compress(json.dumps(group(0, TWO)).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(CorpusError, match=r"cut.jsonl.gz:\d+: the compressed file is broken"):
        read_groups(tmp_path / "cut.jsonl.gz")
    (tmp_path / "latin.jsonl").write_bytes('{"id": "ä"}'.encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin.jsonl:1: not UTF-8"):
        read_groups(tmp_path / "latin.jsonl")


def test_wrong_checksum_names_file_and_both_digests(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"hello\n")
    right = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    verify_checksum(path, right)
    with pytest.raises(CorpusError, match=f"data.jsonl: sha256 is {right}, expected {'0' * 64}"):
        verify_checksum(path, "0" * 64)
    with pytest.raises(FileNotFoundError, match="DATA="):
        verify_checksum(tmp_path / "none.jsonl", right)


def test_partial_languages(make_corpus):
    toy = make_corpus([group(0, TWO), group(1, ("en",), ("en", "fr")), group(2, ("de",), ("en",))])
    assert toy.languages == TWO
    assert toy.has(toy.query, "de").tolist() == [True, False, True]
    assert toy.has(toy.passage, "fr").tolist() == [False, True, False]


def test_passage_key_joins_groups_that_share_a_passage_in_any_language(make_corpus):
    records = [group(i, TWO) for i in range(6)]
    records[3]["passage"]["de"] = records[0]["passage"]["de"]
    records[5]["passage"]["en"] = records[3]["passage"]["en"]
    del records[5]["passage"]["de"]
    # The same string in two languages is not the same passage.
    records[4]["passage"]["en"] = records[1]["passage"]["de"]
    key = make_corpus(records).passage_key
    assert key[0] == key[3] == key[5]
    assert len(set(key[[0, 1, 2, 4]])) == 4


def test_select_keeps_ids_texts_and_keys(complete_corpus):
    part = complete_corpus.select([5, 0, 1])
    assert part.ids == ["g5", "g0", "g1"]
    assert part.pair(0, "ar", "zh") == complete_corpus.pair(5, "ar", "zh")
    assert part.passage_key[1] == part.passage_key[2] != part.passage_key[0]
    assert np.array_equal(part.has(part.query, "ar"), [True] * 3)
