from __future__ import annotations

import pytest
import torch

from suite.encoder.training.body import Dropout


@pytest.mark.parametrize(("share", "shape"), [(0.1, (30, 40, 384)), (0.5, (1001, 301))])
def test_dropout_drops_its_share_at_random_and_keeps_the_mean(share, shape):
    torch.manual_seed(0)
    dropout = Dropout(share)
    given = torch.ones(shape, requires_grad=True)
    found = dropout(given)
    assert float((found == 0).float().mean().detach()) == pytest.approx(share, abs=0.005)
    assert float(found.mean().detach()) == pytest.approx(1, abs=0.01)
    for axis in range(len(shape)):  # no place is spared, and none always dropped
        others = [one for one in range(len(shape)) if one != axis]
        rates = (found == 0).float().mean(dim=others)
        assert rates.min() > share / 3 and rates.max() < 1.5 * share + 0.1
    found.sum().backward()
    torch.testing.assert_close(given.grad, found.detach())
    torch.manual_seed(0)
    torch.testing.assert_close(dropout(given), found)


def test_dropout_leaves_all_where_nothing_is_trained_or_dropped():
    given = torch.randn(5, 7)
    assert Dropout(0.0)(given) is given
    torch.testing.assert_close(Dropout(0.3).eval()(given), given)
