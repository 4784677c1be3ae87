// Event files of TensorBoard: records framed with their lengths and checksums, each a protobuf message of event.proto.
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** CRC-32C (Castagnoli), reflected, one byte at a time. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** The checksum of RFC 3720. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

/** As TFRecord stores it, so that a checksum of bytes that hold checksums is not weak. */
function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** A TFRecord: length, its checksum, the data, their checksum. */
function framed(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(data.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return record;
}

interface EventTime {
  /** Seconds since 1970. */
  readonly seconds: number;
  readonly step?: number;
}

/** A record that is an Event: `wall_time` 1, `step` 2, and one field more. */
function eventRecord({ seconds, step }: EventTime, write: (event: BinaryWriter) => void): Uint8Array {
  const event = new BinaryWriter();
  event.tag(1, WireType.Bit64).double(seconds);
  if (step !== undefined) event.tag(2, WireType.Varint).int64(step);
  write(event);
  return framed(event.finish());
}

/** The first record of every file: `file_version` 3. */
export const versionRecord = (seconds: number): Uint8Array =>
  eventRecord({ seconds }, (event) => event.tag(3, WireType.LengthDelimited).string("brain.Event:2"));

/** Says that a run begins again: what other files have of this step and later ones does not count. `session_log` 7. */
export const restartRecord = (seconds: number, step: number): Uint8Array =>
  eventRecord({ seconds, step }, (event) => {
    event.tag(7, WireType.LengthDelimited).fork();
    event.tag(1, WireType.Varint).int32(1); // status START
    event.join();
  });

/** Numbers of one step by their tags: `summary` 5, of values with `tag` 1 and `simple_value` 2. */
export const scalarsRecord = (
  time: Required<EventTime>,
  scalars: Readonly<Record<string, number>>,
): Uint8Array =>
  eventRecord(time, (event) => {
    event.tag(5, WireType.LengthDelimited).fork();
    for (const [tag, value] of Object.entries(scalars)) {
      event.tag(1, WireType.LengthDelimited).fork();
      event.tag(1, WireType.LengthDelimited).string(tag);
      event.tag(2, WireType.Bit32).float(value);
      event.join();
    }
    event.join();
  });
