"""The pass over training images: batches side by side on a processor's cores.

A layer of a small network is too little work to share among threads: with two cores, two batches at a time take about
three quarters of the time of one batch on both. All threads share one projector, and results come in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from orfila_engine.gradients import GradientProjector

BATCH_SIZE = 32
"""Images in one pass of the model on a processor, whose cache then holds a layer's activations (the fastest of 16 to
128 measured)."""
BATCH_SIZE_CUDA = 256
_SMALL_PICTURE = 64 * 64
"""Pixels. Models of larger pictures give one layer work for several threads, and their activations fill the memory, so
that few passes run side by side and take BATCH_SIZE at a time together."""
_LEAST_BATCH = 8
_MOST_WORKERS, _MOST_WORKERS_LARGE = 8, 2

Fill = Callable[[int, int], Tensor]
"""(low, high) -> the projected gradients of images low .. high - 1, [high - low, D]."""


class ProjectorPool:
    """A projector, and the threads that use it. Close it, or use it as a context."""

    def __init__(self, projector: GradientProjector, area: int, batch_size: int | None = None) -> None:
        """area: pixels of a picture, from which the batch of each thread follows unless batch_size is given."""
        self._projector = projector
        self._threads_before = torch.get_num_threads()
        n_workers = 1 if self._projector.device.type == "cuda" else _n_workers(self._threads_before, area)
        within = self._threads_before // n_workers
        self.batch_size = batch_size or default_batch_size(self._projector.device, area, n_workers)
        self._executor = ThreadPoolExecutor(n_workers, "projector", torch.set_num_threads, (within,))
        # The caller works beside the pool: more threads would only wait for each other.
        torch.set_num_threads(within)

    def __enter__(self) -> ProjectorPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads_before)

    def blocks(self, fill: Fill, start: int, stop: int, size: int, done: Callable[[int], None]) -> Iterator[Tensor]:
        """Projected gradients of images start .. stop - 1 in order, in blocks [size, D], the last one shorter.

        While the caller uses a block, the next one is computed. A block is not used again here. done: told how many
        images are finished, after each batch.
        """
        under_way = self._submit(fill, start, min(start + size, stop))
        for low in range(start, stop, size):
            block, parts = under_way
            after = low + size
            if after < stop:
                under_way = self._submit(fill, after, min(after + size, stop))
            for number, made in enumerate(parts):
                made.result()
                done(low - start + min((number + 1) * self.batch_size, len(block)))
            yield block

    def _submit(self, fill: Fill, first: int, last: int) -> tuple[Tensor, list[Future[None]]]:
        block = torch.empty(last - first, self._projector.dimension, device=self._projector.device)

        def part(low: int) -> None:
            high = min(low + self.batch_size, last)
            block[low - first : high - first] = fill(low, high)

        return block, [self._executor.submit(part, low) for low in range(first, last, self.batch_size)]


def default_batch_size(device: torch.device, area: int, n_workers: int = 1) -> int:
    """Images in one pass, by the device, the pixels of a picture, and how many passes run side by side."""
    if device.type == "cuda":
        return BATCH_SIZE_CUDA
    return BATCH_SIZE if area <= _SMALL_PICTURE else BATCH_SIZE // n_workers


def query_batches(device: torch.device, area: int, n: int) -> tuple[int, bool]:
    """How many of n images a pass of a few questions takes, and whether passes run side by side."""
    most = default_batch_size(device, area)
    if device.type == "cuda" or area > _SMALL_PICTURE:
        return most, False
    return max(_LEAST_BATCH, min(most, -(-n // torch.get_num_threads()))), True


def _n_workers(threads: int, area: int) -> int:
    """The most passes side by side that use all threads evenly."""
    most = _MOST_WORKERS if area <= _SMALL_PICTURE else _MOST_WORKERS_LARGE
    return max(n for n in range(1, most + 1) if threads % n == 0)
