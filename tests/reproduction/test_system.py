"""Systems: read once, printed as they were read, misspelt ones refused by name."""

import pytest
import yaml
from conftest import ROOT

from reproduction.run import HYBRID, UNTRAINED, XX, System

SWEEPS = yaml.safe_load((ROOT / "configs" / "evidence" / "sweeps.yaml").read_text("utf-8"))


@pytest.mark.parametrize("text", sorted({text for preset in SWEEPS.values() for sweep in preset.values()
                                         for text in sweep} | {
    "X-X sets=[a,b] groups=7 + subspace", "./a/folder", "untrained + shift-training:0.6", "X-Y + shift-training",
    "Hybrid alpha=0.4 + leace-corpus", "X-X + quota", "org/model + lir-corpus", "untrained + erasure-corpus"}))
def test_a_system_is_printed_as_it_was_read(text):
    system = System.parse(text)
    assert str(system) == text and System.parse(str(system)) == system
    assert system.is_trained == (system.sampling != "untrained") and not system.base.remedy


def test_what_a_name_says():
    system = System.parse("X-Y pair_per_batch=true languages=[de,en] + subspace:4")
    assert (system.sampling, system.remedy, system.encoder) == ("X-Y", "subspace:4", "")
    assert system.changes == (("pair_per_batch", True), ("languages", ("de", "en")))
    assert system.setting("languages") == ("de", "en") and system.setting("alpha", 0.5) == 0.5
    assert System.parse("X-X then X-Y").sampling == "X-X then X-Y"
    other = System.parse("intfloat/multilingual-e5-base + centring-corpus")
    assert other.encoder == "intfloat/multilingual-e5-base" and not other.is_trained
    assert other.base == System.parse("intfloat/multilingual-e5-base")
    assert {XX, XX, HYBRID, UNTRAINED} == {System.parse(s) for s in ("X-X", "Hybrid", "untrained")}


@pytest.mark.parametrize(("text", "reason"), [
    ("hybrid", "no sampling 'hybrid' in 'hybrid'; is 'Hybrid' meant?"),
    ("X-X ", "no sampling 'X-X ' in 'X-X '; is 'X-X' meant?"), ("x-y", "is 'X-Y' meant?"),
    ("Hybird alpha=0.4", "is 'Hybrid' meant?"), ("alternaton", "is 'alternation' meant?"),
    ("X-X languages=[de, en]", "written name=value without spaces|cannot be read"),
    ("org/model temperature=0.05", "no sampling 'org/model' in"), ("", "no sampling ''"),
    ("X-X + magic", "no remedy 'magic'; there are: centring-training"), ("X-X + subspace:0", "no remedy 'subspace:0'"),
    ("X-X + centring-corpus:2", "no remedy"), ("X-X + shift-training:1", "no remedy 'shift-training:1'"),
    ("X-X + ", "no remedy behind the"),
    ("X-X steps=3 steps=4", "steps is given twice"), ("untrained steps=3", "nothing is trained here")])
def test_what_is_misspelt_is_refused_by_name(text, reason):
    with pytest.raises(ValueError, match=reason):
        System.parse(text)
