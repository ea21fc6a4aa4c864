"""Which cards fit a request: by the driver's name, the memory and the partition. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..resources.accelerators import GPURequest
from ..resources.gpu_models import MODELS, normal
from .device import Card

_GIB = 1 << 30


def matching(request: GPURequest, cards: Sequence[Card]) -> list[Card]:
    """Return the cards that fit, those with the least memory first, to keep large cards free for larger requests."""
    fitting = [card for card in cards if fits(request, card)]
    return sorted(fitting, key=lambda card: card.memory)  # stable: equal cards keep the driver's order


def visible(cards: Sequence[Card], environ: Mapping[str, str]) -> list[Card]:
    """Return the cards that CUDA_VISIBLE_DEVICES leaves: by index or UUID, up to the first name without a card.

    >>> both = [Card(family="nvidia", index=i, name="Tesla T4", uuid=f"GPU-{i}7") for i in "01"]
    >>> [card.index for card in visible(both, {"CUDA_VISIBLE_DEVICES": "GPU-1"})], len(visible(both, {}))
    (['1'], 2)
    """
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(cards)
    left = [card for card in cards if card.family != "nvidia"]
    for name in setting.replace(" ", "").split(","):
        named = [
            card
            for card in cards
            if card.family == "nvidia" and name and (card.index == name or card.uuid.startswith(name))
        ]
        if len(named) != 1:  # CUDA stops reading here too
            break
        left += named
    return [card for card in cards if card in left]


def fits(request: GPURequest, card: Card) -> bool:
    """Return whether `card` is one that `request` asks for.

    >>> a100 = Card(family="nvidia", index="0", name="NVIDIA A100-SXM4-40GB", uuid="GPU-1", memory=40 << 30)
    >>> [fits(GPURequest(count=1, model=model), a100) for model in ("A100", "A10", "A100_80G", "a100 sxm4")]
    [True, False, False, True]
    """
    if request.family is not None and request.family != card.family:
        return False
    if request.partition != card.partition:  # a part of a card does not fit a request for a card, and the reverse
        return False
    if request.model is None:
        return True
    model = MODELS.get(request.model)
    if model is None:
        return _says(card.name, request.model)
    if model.gib is not None and not model.gib[0] <= card.memory / _GIB <= model.gib[1] and card.partition is None:
        return False
    return _says(card.name, model.driver or model.name)


def _says(driver: str, model: str) -> bool:
    """Return whether the driver's name has the words of `model`; `RTX4090` and `RTX 4090` are the same words."""
    words = re.sub(r"(?<=[a-z])(?=[0-9]{3})", " ", normal(model)).split(" ")
    expression = r" ?".join(map(re.escape, words))
    return re.search(rf"(?<![a-z0-9]){expression}(?![a-z0-9])", normal(driver)) is not None
