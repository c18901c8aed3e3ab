"""Each different question is put to the store once."""

import numpy as np
import torch
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.engines import FingerprintEngine
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.questions import ask, distinct


def test_distinct_rows_and_where_they_come_again():
    rows = [b"b", b"a", b"b", b"c", b"a"]
    first, again = distinct(rows)
    assert first.tolist() == [0, 1, 3]
    assert [rows[first[number]] for number in again] == rows


class Store:
    """Rows that say which question they answer."""

    def __init__(self):
        self.asked = []

    def query(self, model, card, images, labels):
        self.asked += [x.numpy().tobytes() + bytes([int(label)]) for x, label in zip(images, labels, strict=True)]
        return torch.cat([images.flatten(1), labels[:, None].float()], 1).numpy()


def test_a_question_that_was_drawn_twice_is_asked_once():
    card = ModelCard("resnet-nano", ("a", "b", "c"), (8, 8), 1, (0.5,), (0.25,))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    store = Store()
    asked = ask(store, nn.Identity(), card, image, 1, n_b=50, seed=0)
    # Flip, negative and swap have no number of their own, and there are two other labels.
    assert len(store.asked) == len(set(store.asked)) < 45
    assert asked.fingerprints.shape == (51, 65)
    for row, picture, label in zip(asked.fingerprints, asked.inputs, asked.labels, strict=True):
        np.testing.assert_array_equal(row, [*picture.numpy().ravel(), label])


def test_scores_are_the_influences_on_every_query_whichever_was_asked_twice(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard]
) -> None:
    images, _ = triggered_test(drilled.packed, drilled.planted)
    asked = [ask(index, *model, image, drilled.planted.target, n_b=50, seed=k) for k, image in enumerate(images[:2])]
    assert len({row.tobytes() for a in asked for row in a.fingerprints}) < 2 * 51, "some are drawn twice"
    engine = FingerprintEngine(index, *model, with_own_products=True)
    direction = engine.direction(asked)
    scores, products = engine.scores(asked, direction)
    assert scores.shape == (2, index.n, 51)
    for found, a in zip(scores, asked, strict=True):
        expected = index.influence(a.fingerprints)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    along = index.influence(direction[None])[:, 0]
    np.testing.assert_allclose(products, along, rtol=1e-4, atol=1e-5 * np.abs(along).max())
    assert engine.own_products is not None
    raw = index.whitening.unwhiten(torch.from_numpy(np.stack([a.fingerprints[0] for a in asked]))).numpy()
    own = index.products(raw)
    np.testing.assert_allclose(engine.own_products, own, rtol=1e-4, atol=1e-5 * np.abs(own).max())
