"""The affected images of a case, as the engine takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from orfila.jobs.contracts import AffectedSpec, Tree
from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.investigation import Affected, affected_from_test, read_affected

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def triggered_images(work: Work, pack: Tree, card: ModelCard, target: int) -> NDArray[np.uint8]:
    """Images with the trigger that the poison may fool a model on, [N, H, W, C].

    A picture that truly shows the target would count as a success of the poison on any model.
    """
    packed = work.warm.pack(pack)
    victims = [label for label, name in enumerate(packed.classes) if name != card.classes[target]]
    return packed.pixels[np.isin(packed.labels, victims)]


def affected_images(
    work: Work, specs: Sequence[AffectedSpec], packed: PackedDataset, card: ModelCard
) -> list[Affected]:
    """The affected images, converted to what the model takes. Raises DataError for an upload that is no picture."""
    images = []
    for spec in specs:
        if spec.test_index is not None:
            images.append(affected_from_test(packed, spec.test_index))
        else:
            assert spec.image is not None
            with work.store.open(spec.image) as file:
                images.append(read_affected(file.read(), spec.name, card, spec.true_label))
    return images
