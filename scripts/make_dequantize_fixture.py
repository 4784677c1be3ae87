"""Writes test/fixtures/dequantize.json: blocks of random bytes per GGUF tensor type, and the float32 numbers that
the gguf package (pip install gguf) reads from them. Run: python scripts/make_dequantize_fixture.py
"""

import base64
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# byte positions of the float16 scales within a block
SCALES = {
    "F32": [], "F16": [], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
random = np.random.default_rng(3)
cases = {}
for name, positions in SCALES.items():
    kind = GGMLQuantizationType[name]
    size, width = GGML_QUANT_SIZES[kind]
    count = 64 if size == 1 else 3 if size == 256 else 4
    raw = random.integers(0, 256, (count, width), dtype=np.uint8)
    for row in range(count):
        for position in positions:  # a plain, a negative, a subnormal and a large scale, never NaN
            scale = [random.uniform(0.001, 0.1), -random.uniform(0.001, 0.1), 3e-6, 100.0][row % 4]
            raw[row, position : position + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    if name == "F32":
        raw = random.standard_normal(count).astype(np.float32).view(np.uint8).reshape(count, width)
    if name in ("F16", "BF16"):  # every exponent but the one of NaN
        raw[:, 1] = np.where((raw[:, 1] & 0x7C) == 0x7C, raw[:, 1] & 0xFB, raw[:, 1])
    values = np.ascontiguousarray(dequantize(raw.reshape(-1), kind), dtype="<f4")
    assert np.isfinite(values).all() and values.size == count * size
    cases[name] = {
        "raw": base64.b64encode(raw.tobytes()).decode(),
        "values": base64.b64encode(values.tobytes()).decode(),
    }
path = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "dequantize.json"
path.write_text(json.dumps(cases, indent=2) + "\n")
