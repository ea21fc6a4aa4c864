"""The catalogue of accelerators: one row for each model, and the row for a name. Pure.

A model without a row can be named as text. A row adds the family, the partitions, other spellings of the name, and the
memory size that distinguishes two cards of one name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Family = Literal["nvidia", "amd", "tpu", "neuron", "gaudi", "apple"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model of card. No machine has more than `most` of them.

    driver   the name in the driver, where it differs from `name`
    gib      bounds of the memory size, where two cards have one name in the driver
    spelled  other spellings that users write
    """

    name: str
    family: Family
    most: int = 16
    partitions: tuple[str, ...] = ()
    driver: str | None = None
    gib: tuple[int, int] | None = None
    spelled: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name in messages, with the maker's name.

        >>> MODELS["RTX_PRO_6000"].title, MODELS["MI300X"].title, MODELS["A100_80G"].title
        ('NVIDIA RTX PRO 6000', 'AMD MI300X', 'NVIDIA A100 80G')
        """
        maker = {
            "nvidia": "NVIDIA",
            "amd": "AMD",
            "tpu": "Google TPU",
            "neuron": "AWS",
            "gaudi": "Intel",
            "apple": "Apple",
        }
        return f"{maker[self.family]} {self.name.replace('_', ' ')}"


def normal(name: str) -> str:
    """Return the form of `name` that is compared: small letters, one space for each `-` and `_`.

    >>> normal("NVIDIA A100-SXM4-80GB")
    'nvidia a100 sxm4 80gb'
    """
    return " ".join(re.split(r"[\s_-]+", name.strip().lower()))


def find_model(name: str) -> Model | None:
    """Return the catalogue's row for a user's spelling, with or without the maker's name.

    >>> find_model("A100 80G") is find_model("a100_80g") is find_model("nvidia-a100-80gb") is MODELS["A100_80G"]
    True
    >>> find_model("nvidia-tesla-t4").name, find_model("RTX 4090")
    ('T4', None)
    """
    spelling = normal(name)
    for maker in ("nvidia ", "amd ", "tesla ", "instinct "):
        spelling = spelling.removeprefix(maker)
    return _SPELLED.get(spelling)


# Partitions: NVIDIA's table of MIG profiles. The number: how many cards the largest machine on sale has.
_ROWS = (
    Model("K80", "nvidia"),
    Model("M60", "nvidia"),
    Model("P4", "nvidia"),
    Model("P100", "nvidia"),
    Model("V100", "nvidia"),
    Model("T4", "nvidia", 8),
    Model("A2", "nvidia", 8),
    Model("A10", "nvidia", 8),
    Model("A10G", "nvidia", 8),
    Model("A30", "nvidia", 8, ("1g.6gb", "2g.12gb", "4g.24gb")),
    Model("A40", "nvidia", 10),
    Model("A100", "nvidia", 16, ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")),
    Model(
        "A100_80G",
        "nvidia",
        16,
        ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
        driver="A100",
        gib=(70, 90),
        spelled=("A100 80GB",),
    ),
    Model("L4", "nvidia", 8, spelled=("L4 vws",)),
    Model("L40", "nvidia", 10),
    Model("L40S", "nvidia", 10),
    Model(
        "H100", "nvidia", 8, ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"), spelled=("H100 80GB",)
    ),
    Model(
        "H200",
        "nvidia",
        8,
        ("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
        spelled=("H200 141GB",),
    ),
    Model("GH200", "nvidia", 8, ("1g.12gb", "1g.24gb", "2g.24gb", "3g.48gb", "4g.48gb", "7g.96gb")),
    Model("B200", "nvidia", 8, ("1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb")),
    Model("GB200", "nvidia", 8),
    Model("B300", "nvidia", 8),
    Model("RTX_PRO_4500", "nvidia", 8),
    Model("RTX_PRO_6000", "nvidia", 8, ("1g.24gb", "2g.48gb", "4g.96gb")),
    Model("GB10", "nvidia", 1),
    *(Model(f"MI{name}", "amd") for name in ("100", "210", "250", "250X", "300A", "300X", "325X", "350X", "355X")),
    *(Model(name, "tpu", 1, spelled=(f"TPU {name}",)) for name in ("V5E", "V5P", "V6E")),
    Model("Inf1", "neuron", 16),
    Model("Inf2", "neuron", 12),
    *(Model(name, "neuron", 16) for name in ("Trn1", "Trn1n", "Trn2", "Trn2u")),
    Model("Gaudi1", "gaudi", 8, spelled=("Gaudi",)),
    Model("AppleSilicon", "apple", 1, spelled=("Apple Silicon",)),
)

MODELS: dict[str, Model] = {row.name: row for row in _ROWS}
_SPELLED = {normal(spelling): row for row in _ROWS for spelling in (row.name, *row.spelled)}
