"""Weights between two models."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from hybridlib.training import average_weights


def model(value, out=2):
    dense = Dense(3, out, bias=True, activation_function=torch.nn.Identity())
    with torch.no_grad():
        dense.linear.weight.fill_(value)
        dense.linear.bias.copy_(torch.arange(float(out)) * value)
    return SentenceTransformer(modules=[dense], device="cpu")


def test_a_share_of_the_way_from_the_start():
    start, trained = model(1.0), model(5.0)
    found = average_weights(trained, start, 0.25)
    assert found is trained
    assert found[0].linear.weight.tolist() == [[2.0] * 3] * 2 and found[0].linear.bias.tolist() == [0.0, 2.0]
    assert start[0].linear.weight.unique().tolist() == [1.0]


@pytest.mark.parametrize(("share", "expected"), [(0, 1.0), (1, 5.0)])
def test_the_ends_are_the_two_models(share, expected):
    assert average_weights(model(5.0), model(1.0), share)[0].linear.weight.unique().tolist() == [expected]


def test_several_are_averaged_first():
    models = [model(5.0), model(9.0), model(1.0)]
    found = average_weights(models[0], model(3.0), 0.5, models[1:])
    assert found[0].linear.weight.unique().tolist() == [4.0]  # half-way from 3 to (5 + 9 + 1) / 3
    assert [one[0].linear.weight.unique().tolist() for one in models[1:]] == [[9.0], [1.0]], "the others stay"


def test_no_share_and_another_shape_are_refused():
    with pytest.raises(ValueError, match="share is 1.5"):
        average_weights(model(1.0), model(1.0), 1.5)
    with pytest.raises(ValueError, match="0.linear.bias and 1 more differ"):
        average_weights(model(1.0), model(1.0, out=4), 0.5)


def test_tied_weights_move_once():
    tied = [SentenceTransformer(modules=[one[0], Dense(3, 3, bias=False)], device="cpu")
            for one in (model(1.0, out=3), model(5.0, out=3))]
    for one in tied:
        one[1].linear.weight = one[0].linear.weight
    found = average_weights(tied[1], tied[0], 0.25)
    assert found[0].linear.weight.unique().tolist() == [2.0]
