"""What is needed to rebuild a model beside its weights, and the normalisation that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

FORMAT = "orfila-model/1"


@dataclass(frozen=True)
class ModelCard:
    """Architecture, classes and input of a classifier.

    `mean` and `std` have one number for each channel and apply to pixels in [0, 1].
    """

    architecture: str
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError("a classifier needs at least two classes")
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}; images have 1 or 3")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std need {self.channels} numbers each, one for each channel")
        if min(self.std) <= 0:
            raise ValueError("every std must be positive")

    def to_metadata(self) -> dict[str, str]:
        """The card as safetensors metadata: strings only, lists as JSON."""
        fields = asdict(self)
        return {"format": FORMAT} | {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}

    @classmethod
    def from_mapping(cls, fields: Mapping[str, object]) -> ModelCard:
        """Read a card from safetensors metadata (JSON in strings) or from a JSON object.

        Raises ValueError that names the missing or unreadable field.
        """

        def get(name: str) -> object:
            if name not in fields:
                raise ValueError(
                    f"the model card lacks '{name}'; it needs architecture, classes, input_size, channels, mean and std"
                )
            value = fields[name]
            if isinstance(value, str) and name != "architecture":
                try:
                    return json.loads(value)
                except json.JSONDecodeError as error:
                    raise ValueError(f"the model card's '{name}' is not JSON: {value[:80]!r}") from error
            return value

        def numbers(name: str) -> list[float]:
            value = get(name)
            if not isinstance(value, list | tuple) or not all(isinstance(v, int | float) for v in value):
                raise ValueError(f"the model card's '{name}' must be a list of numbers")
            return [float(v) for v in value]

        classes, channels, size = get("classes"), get("channels"), numbers("input_size")
        if not isinstance(classes, list | tuple) or not all(isinstance(c, str) for c in classes):
            raise ValueError("the model card's 'classes' must be a list of names")
        if not isinstance(channels, int) or len(size) != 2:
            raise ValueError("the model card needs 'channels' as a whole number and 'input_size' as [height, width]")
        return cls(
            architecture=str(get("architecture")),
            classes=tuple(classes),
            input_size=(int(size[0]), int(size[1])),
            channels=channels,
            mean=tuple(numbers("mean")),
            std=tuple(numbers("std")),
        )


def normalise(pixels: torch.Tensor, card: ModelCard) -> torch.Tensor:
    """Model input from pictures.

    pixels: [N, C, H, W], uint8 in 0..255 or float in [0, 1]. Returns float32 [N, C, H, W] on the same device.
    """
    x = pixels.to(torch.float32).div(255) if pixels.dtype == torch.uint8 else pixels.to(torch.float32)
    mean = torch.tensor(card.mean, device=x.device).view(1, -1, 1, 1)
    std = torch.tensor(card.std, device=x.device).view(1, -1, 1, 1)
    return (x - mean) / std
