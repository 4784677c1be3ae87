"""Makes test/fixtures/parquet: small tables of all encodings, page versions and packings that pyarrow writes.

    pip install pyarrow==26.0.1 && python scripts/make_parquet_fixture.py
"""

import datetime
import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent.parent / "test/fixtures/parquet"
ROWS = range(60)

texts = [None if i % 7 == 0 else f"text {i // 3}" for i in ROWS]
numbers = [i * 37 % 101 - 50 for i in ROWS]
table = pa.table(
    {
        "text": texts,
        "int32": pa.array(numbers, pa.int32()),
        "int64": pa.array([None if i % 5 == 0 else i**6 for i in ROWS], pa.int64()),
        "double": [i / 7 for i in ROWS],
        "float": pa.array([i / 3 for i in ROWS], pa.float32()),
        "flag": [i % 3 == 0 for i in ROWS],
        "bytes": pa.array([bytes([i, 255 - i, 7, 1]) for i in ROWS], pa.binary(4)),
        "time": [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in ROWS],
        "price": pa.array([decimal.Decimal(i) / 4 for i in ROWS], pa.decimal128(9, 2)),
        "list": [[] if i % 4 == 0 else [f"a{i}", None] for i in ROWS],
        "messages": [[{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": "answer"}] for i in ROWS],
        "map": pa.array([[("key", i)] for i in ROWS], pa.map_(pa.string(), pa.int32())),
    }
)
DELTA = {
    "text": "DELTA_BYTE_ARRAY",
    "int32": "DELTA_BINARY_PACKED",
    "int64": "DELTA_BINARY_PACKED",
    "double": "BYTE_STREAM_SPLIT",
    "float": "BYTE_STREAM_SPLIT",
    "flag": "RLE",
    "bytes": "BYTE_STREAM_SPLIT",
    "list.list.element": "DELTA_LENGTH_BYTE_ARRAY",
    "messages.list.element.content": "DELTA_BYTE_ARRAY",
}


def write(name, **options):
    pq.write_table(table, FOLDER / f"{name}.parquet", row_group_size=40, store_schema=False, **{"compression": "none", **options})


FOLDER.mkdir(parents=True, exist_ok=True)
for version in ("1.0", "2.0"):
    write(f"plain-{version}", use_dictionary=False, data_page_version=version)
    write(f"dictionary-{version}", data_page_version=version)
    write(f"delta-{version}", use_dictionary=False, column_encoding=DELTA, data_page_version=version)
    for packing in ("snappy", "gzip", "brotli"):
        write(f"{packing}-{version}", compression=packing, data_page_version=version)
write("int96", use_deprecated_int96_timestamps=True, write_statistics=False)
