"""Writes test/fixtures/nf4.json: float32 numbers, and what bitsandbytes (pip install bitsandbytes) makes of them as NF4
in blocks of 64. Run: python scripts/make_nf4_fixture.py
"""

import base64
import json
import pathlib

import bitsandbytes.functional as functional
import torch

BLOCK = 64
torch.manual_seed(5)
levels = functional.get_4bit_type("nf4", device="cpu")
borders = (levels[1:] + levels[:-1]) / 2
near = torch.cat([borders, torch.nextafter(borders, torch.tensor(2.0)), torch.nextafter(borders, torch.tensor(-2.0))])
edges = torch.cat([torch.ones(1), near, levels, torch.zeros(BLOCK)])[:BLOCK]
blocks = [0.02 * torch.randn(40, BLOCK), edges[None], -3 * edges[None], torch.zeros(1, BLOCK), 1e-30 * torch.randn(1, BLOCK)]
numbers = torch.cat(blocks).float().contiguous()
packed, state = functional.quantize_4bit(numbers, blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
values = functional.dequantize_4bit(packed, state)


def base64_of(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()


path = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "nf4.json"
fields = {
    "numbers": numbers,
    "codes": packed.reshape(-1),
    "absmax": state.absmax,
    "values": values.reshape(-1),
}
path.write_text(json.dumps({name: base64_of(tensor) for name, tensor in fields.items()}, indent=2) + "\n")
