from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

from peft.config import PeftConfig
from peft.utils import PeftType


@dataclass
class MosConfig(PeftConfig):
    """
    Configuration of Mixture of Shards (https://arxiv.org/abs/2410.00938).

    Args:
        r (`int`):
            Rank of the assembled factors of each layer.
        equivalent_rank (`int`):
            The budget: as many trainable parameters as LoRA of this rank has. At most `r`.
        shards_per_vector (`int`):
            Equal shards of each vector; divides the input and output width of every target.
        private_rank (`int`):
            Ranks that each layer keeps to itself, 0 to `equivalent_rank`.
        pair_dissociation (`bool`):
            Whether B is routed independently of A.
        mos_alpha (`float`):
            The update is scaled by `mos_alpha / r`.
        mos_dropout (`float`):
            Dropout probability of the adapter's inputs in training.
        proj_seed (`int`):
            Seed of the routing, which is drawn once and never trained.
        save_indices (`bool`):
            Whether the routing is saved, so that a checkpoint does not depend on torch's random numbers.
        target_modules (`Union[list[str], str]`, *optional*):
            Modules to adapt. Those whose names end alike share a pool, and must have the same widths.
        exclude_modules (`Union[list[str], str]`, *optional*):
            Modules not to adapt.
        layers_to_transform (`Union[list[int], int]`, *optional*):
            Indices of the layers to adapt.
        layers_pattern (`Union[list[str], str]`, *optional*):
            Pattern of the layers' names, with `layers_to_transform`.
        bias (`str`):
            Only "none" is supported.
        modules_to_save (`list[str]`, *optional*):
            Further modules that are trained and saved.
    """

    r: int = field(default=8, metadata={"help": "Rank of the assembled factors of each layer."})
    equivalent_rank: int = field(default=2, metadata={"help": "LoRA of this rank has as many parameters."})
    shards_per_vector: int = field(default=4, metadata={"help": "Equal shards of each vector."})
    private_rank: int = field(default=1, metadata={"help": "Ranks that each layer keeps to itself."})
    pair_dissociation: bool = field(default=True, metadata={"help": "Route B independently of A."})
    mos_alpha: float = field(default=16.0, metadata={"help": "The update is scaled by mos_alpha / r."})
    mos_dropout: float = field(default=0.0, metadata={"help": "Dropout of the adapter's inputs."})
    proj_seed: int = field(default=0, metadata={"help": "Seed of the routing."})
    save_indices: bool = field(default=True, metadata={"help": "Whether the routing is saved."})
    target_modules: Optional[Union[list[str], str]] = field(default=None, metadata={"help": "Modules to adapt."})
    exclude_modules: Optional[Union[list[str], str]] = field(default=None, metadata={"help": "Modules not to adapt."})
    layers_to_transform: Optional[Union[list[int], int]] = field(default=None, metadata={"help": "Layers to adapt."})
    layers_pattern: Optional[Union[list[str], str]] = field(default=None, metadata={"help": "Layers' names."})
    bias: str = field(default="none", metadata={"help": "Only 'none' is supported."})
    modules_to_save: Optional[list[str]] = field(default=None, metadata={"help": "Modules trained as a whole."})

    def __post_init__(self):
        super().__post_init__()
        self.peft_type = PeftType.MOS
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)
        if self.bias != "none":
            raise ValueError("MoS trains no biases; use bias='none'")
        e, p, r = self.equivalent_rank, self.private_rank, self.r
        if not 0 <= p <= e <= r:
            raise ValueError(f"0 <= private_rank <= equivalent_rank <= r must hold, got {p}, {e} and {r}")
        if p == e and r != e:
            raise ValueError(f"private_rank {p} leaves nothing to share, so r has to be {e}")
