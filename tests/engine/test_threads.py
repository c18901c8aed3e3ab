"""Work shared out whole: results in order, errors where they are asked for, torch's threads as they were."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from orfila_engine.architectures import ModelCard, build
from orfila_engine.blockwise import blocks_of, multiply, weighted_sum
from orfila_engine.fingerprint.index import make_projector
from orfila_engine.fingerprint.spec import IndexSpec
from orfila_engine.gradients import measurement
from orfila_engine.threads import in_order


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_work_is_taken_only_a_little_ahead(threads: int) -> None:
    taken: list[int] = []
    first_done = threading.Event()

    def items() -> Iterator[int]:
        for k in range(50):
            taken.append(k)
            yield k

    def work(k: int) -> int:
        if k == 0 and threads > 1:
            assert first_done.wait(10)  # the later ones are done before it
        if k == 1:
            first_done.set()
        return k * k

    found = in_order(work, items())
    assert next(found) == 0
    assert len(taken) <= threads + 1
    assert list(found) == [k * k for k in range(1, 50)]
    assert torch.get_num_threads() == threads


def test_an_error_comes_where_the_result_would(threads: int) -> None:
    def work(k: int) -> int:
        if k == 3:
            raise ValueError("three")
        return k

    found = in_order(work, range(10))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(found)
    assert torch.get_num_threads() == threads


def test_products_and_sums_are_the_same_on_any_number_of_threads(threads: int) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1_000, 70)).astype(np.float16)
    vectors, weights = rng.standard_normal((5, 70)).astype(np.float32), rng.random((2, 1_000)).astype(np.float32)
    exact = rows.astype(np.float64)
    assert multiply(blocks_of(rows, 64), 1_000, vectors) == pytest.approx(exact @ vectors.T, abs=1e-4)
    assert weighted_sum(blocks_of(rows, 64), weights, 70) == pytest.approx(weights @ exact, abs=1e-2)


def test_a_projector_serves_several_threads_at_once() -> None:
    card = ModelCard("resnet-nano", ("a", "b", "c"), (32, 32), 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    torch.manual_seed(0)
    projector = make_projector(build(card).eval(), card, IndexSpec(), "cpu")
    x, labels = torch.randn(24, 3, 32, 32), torch.arange(24) % 3
    alone = [projector(x[k : k + 3], labels[k : k + 3], measurement) for k in range(0, 24, 3)]
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = list(in_order(lambda k: projector(x[k : k + 3], labels[k : k + 3], measurement), range(0, 24, 3)))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))
