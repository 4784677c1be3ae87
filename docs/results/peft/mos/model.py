from __future__ import annotations

import math

import torch
from torch import nn

from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

from .config import MosConfig
from .layer import Linear, MosLayer


class MosModel(BaseTuner):
    """Mixture of Shards: the factors of all layers of a type are assembled from the shards of two pools."""

    uses_shared_state: bool = True
    prefix: str = "mos_"
    tuner_layer_cls = MosLayer
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args, **kwargs) -> None:
        self._make_pools(model, self.peft_config[adapter_name], adapter_name)
        super().inject_adapter(model, adapter_name, *args, **kwargs)

    def _make_pools(self, model: nn.Module, config: MosConfig, adapter_name: str) -> None:
        """Makes the pools and the routing, for which all layers of a type have to be known."""
        if not hasattr(self, "_routing"):
            self._routing = {}
        kinds: dict[str, list[tuple[int, int]]] = {}
        for key, module in model.named_modules():
            base = module.get_base_layer() if isinstance(module, MosLayer) else module
            if isinstance(base, nn.Linear) and ".base_layer" not in key and self._check_target_module_exists(config, key):
                kinds.setdefault(key.split(".")[-1], []).append((base.in_features, base.out_features))
        e, p, l, r = config.equivalent_rank, config.private_rank, config.shards_per_vector, config.r
        for kind, widths in kinds.items():
            layers, (width, out) = len(widths), widths[0]
            if any(other != widths[0] for other in widths) or width % l or out % l:
                raise ValueError(f"{kind}: all layers need the same widths, which {l} shards per vector divide")
            public = layers * (e - p) * l
            if (r - p) * l > public:
                raise ValueError(f"{kind}: r is {r}, but {layers} layers share only {layers * (e - p)} ranks")
            generator = torch.Generator().manual_seed(config.proj_seed)
            tables = []
            for _ in "AB":
                rows = []
                for k in range(layers):
                    own = public + torch.arange(k * p * l, (k + 1) * p * l)
                    rows.append(torch.cat([torch.randperm(public, generator=generator)[: (r - p) * l], own]))
                tables.append(rows)
            self._routing[adapter_name, kind] = zip(tables[0], tables[1 if config.pair_dissociation else 0])
            # the fan-in is that of the whole vector, not of a shard
            pool_A = torch.empty(layers * e * l, width // l).uniform_(-1, 1) / math.sqrt(width)
            pool_B = torch.zeros(layers * e * l, out // l)
            for name, pool in ((f"mos_pool_A_{kind}", pool_A), (f"mos_pool_B_{kind}", pool_B)):
                if not hasattr(self, name):
                    setattr(self, name, nn.ParameterDict({}))
                getattr(self, name)[adapter_name] = nn.Parameter(pool)

    def _create_and_replace(self, config, adapter_name, target, target_name, parent, current_key, **kwargs):
        kind = current_key.split(".")[-1]
        routing = next(self._routing[adapter_name, kind])
        if isinstance(target, MosLayer):
            target.update_layer(adapter_name, config, *routing)
            return
        if not isinstance(target, nn.Linear):
            raise TypeError(f"Target module {target} is not supported; only torch.nn.Linear is.")
        pools = getattr(self, f"mos_pool_A_{kind}"), getattr(self, f"mos_pool_B_{kind}")
        module = Linear(target, adapter_name, *pools)
        module.update_layer(adapter_name, config, *routing)
        if adapter_name not in self.active_adapter:
            module.requires_grad_(False)
        self._replace_module(parent, target_name, module, target)

    @classmethod
    def _get_adapter_state_dict(cls, model, config, adapter_name, state_dict, unwanted_adapter_names):
        pools = ("base_model.mos_pool_A_", "base_model.mos_pool_B_")
        saved = {k: v for k, v in state_dict.items() if k.startswith(pools) and k.endswith(f".{adapter_name}")}
        if config.save_indices:
            saved |= {k: v for k, v in state_dict.items() if "mos_indices" in k and k.endswith(f".{adapter_name}")}
        return saved
