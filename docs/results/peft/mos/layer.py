from __future__ import annotations

from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn

from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge


class MosLayer(BaseTunerLayer):
    adapter_layer_names = ("mos_pool_A", "mos_pool_B")
    other_param_names = ("mos_indices_A", "mos_indices_B", "mos_scaling", "mos_dropout", "r")

    def __init__(self, base_layer: nn.Module, pool_A: nn.ParameterDict, pool_B: nn.ParameterDict):
        self.base_layer = base_layer
        # the same objects in all layers of a type
        self.mos_pool_A = pool_A
        self.mos_pool_B = pool_B
        self.mos_indices_A = BufferDict({}, persistent=True)
        self.mos_indices_B = BufferDict({}, persistent=True)
        self.mos_scaling = {}
        self.mos_dropout = nn.ModuleDict({})
        self.r = {}
        self._disable_adapters = False
        self.merged_adapters = []

    def update_layer(self, adapter_name: str, config, indices_A: torch.Tensor, indices_B: torch.Tensor) -> None:
        self.r[adapter_name] = config.r
        self.mos_scaling[adapter_name] = config.mos_alpha / config.r
        dropout = nn.Dropout(config.mos_dropout) if config.mos_dropout > 0 else nn.Identity()
        self.mos_dropout.update(nn.ModuleDict({adapter_name: dropout}))
        self.mos_indices_A.persistent = config.save_indices
        self.mos_indices_B.persistent = config.save_indices
        self.mos_indices_A[adapter_name] = indices_A
        self.mos_indices_B[adapter_name] = indices_B
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters)

    def factors(self, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A [r, in] and B transposed [r, out]: every vector is the concatenation of its shards."""
        r = self.r[adapter]
        A = self.mos_pool_A[adapter][self.mos_indices_A[adapter]].reshape(r, -1)
        B = self.mos_pool_B[adapter][self.mos_indices_B[adapter]].reshape(r, -1)
        return A, B

    def get_delta_weight(self, adapter: str) -> torch.Tensor:
        A, B = self.factors(adapter)
        return self.mos_scaling[adapter] * (B.T @ A)


class Linear(nn.Module, MosLayer):
    def __init__(self, base_layer, adapter_name: str, pool_A: nn.ParameterDict, pool_B: nn.ParameterDict):
        super().__init__()
        MosLayer.__init__(self, base_layer, pool_A, pool_B)
        self._active_adapter = adapter_name

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        return True

    def merge(self, safe_merge: bool = False, adapter_names: Optional[list[str]] = None) -> None:
        for adapter in check_adapters_to_merge(self, adapter_names):
            if adapter not in self.mos_indices_A:
                continue
            weight = self.get_base_layer().weight
            merged = weight.data + self.get_delta_weight(adapter).to(weight.dtype)
            if safe_merge and not torch.isfinite(merged).all():
                raise ValueError(f"NaNs detected in the merged weights. The adapter {adapter} seems to be broken")
            weight.data = merged
            self.merged_adapters.append(adapter)

    def unmerge(self) -> None:
        while self.merged_adapters:
            adapter = self.merged_adapters.pop()
            weight = self.get_base_layer().weight
            weight.data = weight.data - self.get_delta_weight(adapter).to(weight.dtype)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        dtype = result.dtype
        for adapter in self.active_adapters:
            if adapter not in self.mos_indices_A:
                continue
            A, B = self.factors(adapter)
            given = self.mos_dropout[adapter](x.to(A.dtype))
            result = result + self.mos_scaling[adapter] * F.linear(F.linear(given, A), B.T)
        return result.to(dtype)

    def __repr__(self) -> str:
        return "mos." + super().__repr__()
