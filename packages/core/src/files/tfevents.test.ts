import { BinaryReader } from "@bufbuild/protobuf/wire";
import { expect, test } from "vitest";
import { crc32c, restartRecord, scalarsRecord, versionRecord } from "./tfevents.ts";

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

test("CRC-32C has the values of RFC 3720", () => {
  expect(crc32c(ascii("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(new Uint8Array())).toBe(0);
});

/** Undoes the mask of a checksum. */
function unmasked(value: number): number {
  const rotated = (value - 0xa282ead8) >>> 0;
  return ((rotated << 15) | (rotated >>> 17)) >>> 0;
}

/** The message in a record whose length and checksums are right. */
function messageIn(record: Uint8Array): Uint8Array {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const length = Number(view.getBigUint64(0, true));
  expect(record).toHaveLength(length + 16);
  const data = record.subarray(12, 12 + length);
  expect(unmasked(view.getUint32(8, true))).toBe(crc32c(record.subarray(0, 8)));
  expect(unmasked(view.getUint32(12 + length, true))).toBe(crc32c(data));
  return data;
}

/** Fields of a message by their numbers. */
function readFields(message: Uint8Array): readonly (readonly [number, unknown])[] {
  const reader = new BinaryReader(message);
  const fields: (readonly [number, unknown])[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const value =
      type === 0
        ? Number(reader.int64())
        : type === 1
          ? reader.double()
          : type === 5
            ? reader.float()
            : reader.bytes();
    fields.push([field, value]);
  }
  return fields;
}

test("the records of a file", () => {
  expect(readFields(messageIn(versionRecord(1.5)))).toEqual([
    [1, 1.5],
    [3, ascii("brain.Event:2")],
  ]);
  const [time, step, session] = readFields(messageIn(restartRecord(2, 7)));
  expect([time, step]).toEqual([
    [1, 2],
    [2, 7],
  ]);
  expect(session?.[0]).toBe(7);
  expect(readFields(session?.[1] as Uint8Array)).toEqual([[1, 1]]);
});

test("scalars of a step", () => {
  const record = scalarsRecord({ seconds: 3, step: 200 }, { "train/loss": 0.5, "eval/loss": 2 });
  const [time, step, summary] = readFields(messageIn(record));
  expect([time, step]).toEqual([
    [1, 3],
    [2, 200],
  ]);
  expect(summary?.[0]).toBe(5);
  const values = readFields(summary?.[1] as Uint8Array).map(([field, value]) => {
    expect(field).toBe(1);
    return readFields(value as Uint8Array);
  });
  expect(values).toEqual([
    [
      [1, ascii("train/loss")],
      [2, 0.5],
    ],
    [
      [1, ascii("eval/loss")],
      [2, 2],
    ],
  ]);
});
