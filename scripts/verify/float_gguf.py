"""The model of a GGUF file with all weights as float32 or float16, for scripts/verify/llama_cpp.mjs.
usage: python scripts/verify/float_gguf.py IN.gguf OUT.gguf [f32|f16]    (needs: pip install gguf)
"""

import sys

import numpy
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

# written by the writer itself, or no longer true
LEFT_OUT = ("general.architecture", "general.file_type", "general.quantization_version")


def main(source, target, kind="f32"):
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in LEFT_OUT:
            continue
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
    writer.add_file_type(0 if kind == "f32" else 1)
    for tensor in reader.tensors:
        shape = tuple(reversed(tensor.shape.tolist()))
        numbers = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32).reshape(shape)
        halves = kind == "f16" and len(shape) > 1
        writer.add_tensor(tensor.name, numbers.astype(numpy.float16) if halves else numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
