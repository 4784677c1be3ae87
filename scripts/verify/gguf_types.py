"""A model of a GGUF file in other types, for scripts/verify/gguf-types.ts.
usage: python scripts/verify/gguf_types.py IN.gguf FOLDER [TYPE...] [--layers N]    (needs: pip install gguf)

Writes FOLDER/<TYPE>.gguf for each type, all by default. Matrices are rounded to the type from the numbers of IN; where a
row is no whole number of K blocks, as in llama.cpp, to Q5_0, Q5_1 or Q8_0. Vectors stay float32. --layers keeps the
first N layers alone, for a quick look.
"""

import sys
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, quants

# written by the writer itself, or no longer true
LEFT_OUT = ("general.architecture", "general.file_type", "general.quantization_version")
BLOCK = 256
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", *FALLBACK]


def half_bytes(numbers):
    return numbers.astype(numpy.float16).view(numpy.uint8).reshape(len(numbers), -1)


def scales_and_minima(sub, levels):
    """Sub-blocks [n, 8, 32] -> d, dmin [n, 1], six-bit scales and minima [n, 8], and the codes of the numbers."""
    low = numpy.minimum(sub.min(axis=2), 0)
    scale = (sub.max(axis=2) - low) / levels
    d = (scale.max(axis=1, keepdims=True) / 63).astype(numpy.float16).astype(numpy.float32)
    dmin = (-low.min(axis=1, keepdims=True) / 63).astype(numpy.float16).astype(numpy.float32)
    divide = lambda a, b: numpy.divide(a, b, out=numpy.zeros_like(a), where=b != 0)
    scales = numpy.clip(numpy.rint(divide(scale, numpy.broadcast_to(d, scale.shape))), 0, 63)
    minima = numpy.clip(numpy.rint(divide(-low, numpy.broadcast_to(dmin, low.shape))), 0, 63)
    step = numpy.broadcast_to((d * scales)[:, :, None], sub.shape)
    codes = numpy.clip(numpy.rint(divide(sub + (dmin * minima)[:, :, None], step)), 0, levels)
    return d, dmin, scales.astype(numpy.uint8), minima.astype(numpy.uint8), codes.astype(numpy.uint8)


def packed_scales(scales, minima):
    """Eight six-bit scales and eight minima in twelve bytes."""
    out = numpy.empty((len(scales), 12), numpy.uint8)
    out[:, 0:4] = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
    out[:, 4:8] = minima[:, :4] | (minima[:, 4:] >> 4 << 6)
    out[:, 8:12] = (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    return out


def nibbles(codes):
    """Codes [n, 8, 32] -> [n, 128]: sub-blocks 2j and 2j + 1 share bytes, the first in the low halves."""
    return (codes[:, 0::2] | (codes[:, 1::2] << 4)).reshape(len(codes), -1)


def q4_k(blocks):
    d, dmin, scales, minima, codes = scales_and_minima(blocks.reshape(-1, 8, 32), 15)
    return [half_bytes(d), half_bytes(dmin), packed_scales(scales, minima), nibbles(codes)]


def q5_k(blocks):
    d, dmin, scales, minima, codes = scales_and_minima(blocks.reshape(-1, 8, 32), 31)
    shifts = numpy.arange(8, dtype=numpy.uint8)[None, :, None]
    high = numpy.bitwise_or.reduce((codes >> 4) << shifts, axis=1)
    return [half_bytes(d), half_bytes(dmin), packed_scales(scales, minima), high, nibbles(codes & 15)]


def q6_k(blocks):
    sub = blocks.reshape(-1, 16, 16)
    scale = numpy.abs(sub).max(axis=2) / 31
    d = (scale.max(axis=1, keepdims=True) / 127).astype(numpy.float16).astype(numpy.float32)
    divide = lambda a, b: numpy.divide(a, b, out=numpy.zeros_like(a), where=b != 0)
    scales = numpy.clip(numpy.rint(divide(scale, numpy.broadcast_to(d, scale.shape))), -128, 127)
    step = numpy.broadcast_to((d * scales)[:, :, None], sub.shape)
    codes = (numpy.clip(numpy.rint(divide(sub, step)), -32, 31) + 32).astype(numpy.uint8)
    halves = codes.reshape(-1, 2, 4, 32)  # of 128 numbers: four groups of 32
    low = (halves[:, :, :2] & 15) | ((halves[:, :, 2:] & 15) << 4)
    shifts = (2 * numpy.arange(4, dtype=numpy.uint8))[None, None, :, None]
    high = numpy.bitwise_or.reduce((halves >> 4) << shifts, axis=2)
    flat = lambda a: a.reshape(len(sub), -1)
    return [flat(low), flat(high), scales.astype(numpy.int8).view(numpy.uint8), half_bytes(d)]


K_TYPES = {"Q4_K": q4_k, "Q5_K": q5_k, "Q6_K": q6_k}


def quantize(numbers, kind):
    """A matrix [out, in] -> its rows as bytes, and its type."""
    if kind in K_TYPES and numbers.shape[1] % BLOCK != 0:
        kind = FALLBACK[kind]
    type = GGMLQuantizationType[kind]
    if kind not in K_TYPES:
        return quants.quantize(numbers, type), type
    rows = numpy.concatenate(K_TYPES[kind](numbers.reshape(-1, BLOCK)), axis=1).reshape(len(numbers), -1)
    error = numpy.abs(quants.dequantize(rows, type) - numbers).mean() / numpy.abs(numbers).mean()
    assert error < 0.1, f"{kind}: the numbers differ by {error} of their size"
    return rows, type


def write(reader, target, kind, layers):
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in LEFT_OUT:
            continue
        value = layers if key == "llama.block_count" and layers else field.contents()
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(key, value)
        else:
            writer.add_key_value(key, value, field.types[0])
    for tensor in reader.tensors:
        if layers and tensor.name.startswith("blk.") and int(tensor.name.split(".")[1]) >= layers:
            continue
        shape = tuple(reversed(tensor.shape.tolist()))
        numbers = quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape(shape)
        if len(shape) == 1:
            writer.add_tensor(tensor.name, numbers)
        else:
            rows, type = quantize(numbers, kind)
            writer.add_tensor(tensor.name, rows, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(arguments):
    layers = 0
    if "--layers" in arguments:
        at = arguments.index("--layers")
        layers = int(arguments[at + 1])
        del arguments[at : at + 2]
    source, folder, *types = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    for kind in types or TYPES:
        write(GGUFReader(source), f"{folder}/{kind}.gguf", kind, layers)
        print(f"{folder}/{kind}.gguf")


if __name__ == "__main__":
    main(sys.argv[1:])
