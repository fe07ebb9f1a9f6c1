// SPDX-License-Identifier: Apache-2.0
/**
 * Control events: what the writer says of the log itself. One event is one entry of a `control` payload: OTLP with
 * one log record, in one spelling. Nothing in any other payload has control meaning. FORMAT.md, "Control events".
 */
import { concat, decodeBase64, encodeBase64, equalBytes, fromLatin1, latin1 } from './bytes.ts';
import { itemOf } from './entries.ts';
import { LogError } from './errors.ts';
import { CONTROL_TEXT_LENGTH_MAX, RECOVERED_BYTE_LENGTH_MAX } from './limits.ts';
import { HASH_BYTE_LENGTH, type Hash } from './merkle.ts';
import { FIXED64, FieldCursor, LEN, VARINT, varintByteLength, writeVarint } from './wire.ts';

/** How a value is spelled: printable ASCII, an integer of 0..2^53-1, the base64 of a hash, or raw bytes. */
type Spelling = 'text' | 'count' | 'hash' | 'bytes';

/** Cumulative numbers of the process that writes, since it began (invariant 8). */
export interface WriterCounters {
  /** Governed spans started, ended, sealed, and lost with a sealed gap. */
  readonly started: number;
  readonly ended: number;
  readonly sealed: number;
  readonly lost: number;
  /** Highest `aigov.sequence` given out by the process that writes now; 0 before the first. */
  readonly highest: number;
  /** Ranges of numbers started and not yet ended: `4,7-9`, or empty. */
  readonly open: string;
}

/** Record 0, and the first record at every start of a writer. */
export interface OpenedEvent {
  readonly name: 'opened';
  /** Head of the log before this record. */
  readonly size: number;
  readonly root: Hash;
  readonly writer: string;
  readonly instance: string;
  /** Digest of the configuration in force. */
  readonly configuration: Hash;
  /** Longest silence that the writer promises, milliseconds. */
  readonly heartbeatMs: number;
  /** The log that this one continues, and the final head it had. */
  readonly successorOf?: string;
  readonly successorSize?: number;
  readonly successorRoot?: Hash;
  /** The same process opened its log anew, and its numbers go on behind this one; absent where they begin at 1. */
  readonly continues?: number;
}

/** Bytes that recovery cut from the end of the last segment. */
export interface RecoveredEvent {
  readonly name: 'recovered';
  /** First record index of the segment, and where in it the cut was made. */
  readonly segment: number;
  readonly offset: number;
  readonly byteLength: number;
  readonly sha256: Hash;
  /** What was cut, at most RECOVERED_BYTE_LENGTH_MAX bytes of it. */
  readonly cut: Uint8Array;
}

/** Records `from` to `size` - 1 that were behind the last signature, and that nothing vouched for after a crash. */
export interface AdoptedEvent {
  readonly name: 'adopted';
  readonly from: number;
  readonly size: number;
}

/** Spans that could not be kept. `first` and `last` are sequence numbers, 0 where unknown. */
export interface GapEvent {
  readonly name: 'gap';
  readonly count: number;
  readonly first: number;
  readonly last: number;
  /** Interval of the loss, RFC 3339. */
  readonly from: string;
  readonly to: string;
  readonly cause: string;
}

/** A segment that an archive took. */
export interface ReceiptEvent {
  readonly name: 'receipt';
  readonly archive: string;
  readonly segment: number;
  /** Records of the log up to the end of the segment. */
  readonly size: number;
  readonly byteLength: number;
  readonly sha256: Hash;
  readonly key: string;
  /** What the store says of the lock, read back; absent where the store has none. */
  readonly lock?: string;
}

/** A call that started. */
interface StartedCall<Name> {
  readonly name: Name;
  readonly sequence: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Milliseconds since 1970, as the process claimed. */
  readonly startedMs: number;
  readonly model?: string;
}

/** A call about to start, where that must be durable before it does: in mode `sync`. */
export type IntentEvent = StartedCall<'intent'>;

/** A call that started and of which no end is sealed, nor will be: its process was killed (invariant 8). */
export type InterruptedEvent = StartedCall<'interrupted'>;

/** The end of a process's numbers. */
export interface ClosedEvent extends WriterCounters {
  readonly name: 'closed';
  /** How many calls were interrupted, where the next start seals this for a process that was killed. */
  readonly interrupted?: number;
}

/** Requests that a receiver answered with a code that makes their sender give up (invariant 11). */
export interface RefusedEvent {
  readonly name: 'refused';
  readonly count: number;
  /** A code of the receiver's own; never text of a client. */
  readonly cause: string;
  /** Kind of the source that sent them, and its authenticated principal; absent where nobody was authenticated. */
  readonly source: string;
  readonly principal?: Hash;
  /** Of the first such body, as it arrived; absent where none was read. */
  readonly sha256?: Hash;
}

/** Whether calls through one package are seen. The events of one record are the whole answer, and replace the one before. */
export interface CoverageEvent {
  readonly name: 'coverage';
  /** Name of the package. */
  readonly target: string;
  readonly version?: string;
  /** A word of the instrumentation's, such as `active` or `out_of_range`. */
  readonly state: string;
  readonly detail?: string;
}

export type ControlEvent =
  | OpenedEvent
  | RecoveredEvent
  | AdoptedEvent
  | GapEvent
  | ReceiptEvent
  | RefusedEvent
  | IntentEvent
  | InterruptedEvent
  | ClosedEvent
  | { readonly name: 'hold'; readonly action: string; readonly id: string; readonly by?: string }
  | CoverageEvent
  | ({ readonly name: 'heartbeat' } & WriterCounters);

export type ControlName = ControlEvent['name'];

/** `name:spelling` of each field in the order of the wire; those that may be absent end in `?`. */
function fields(text: string): Readonly<Record<string, Spelling>> {
  return Object.fromEntries(text.split(' ').map((field) => field.split(':') as [string, Spelling]));
}

const COUNTERS = 'started:count ended:count sealed:count lost:count highest:count open:text';

const CALL = 'sequence:count traceId:text spanId:text startedMs:count model?:text';

const CONTROL_FIELDS: Readonly<Record<ControlName, Readonly<Record<string, Spelling>>>> = {
  opened: fields(
    'size:count root:hash writer:text instance:text configuration:hash heartbeatMs:count ' +
      'successorOf?:text successorSize?:count successorRoot?:hash continues?:count',
  ),
  closed: fields(`${COUNTERS} interrupted?:count`),
  heartbeat: fields(COUNTERS),
  intent: fields(CALL),
  interrupted: fields(CALL),
  recovered: fields('segment:count offset:count byteLength:count sha256:hash cut:bytes'),
  adopted: fields('from:count size:count'),
  gap: fields('count:count first:count last:count from:text to:text cause:text'),
  receipt: fields(
    'archive:text segment:count size:count byteLength:count sha256:hash key:text lock?:text',
  ),
  hold: fields('action:text id:text by?:text'),
  refused: fields('count:count cause:text source:text principal?:hash sha256?:hash'),
  coverage: fields('target:text version?:text state:text detail?:text'),
};

/** The last whole millisecond that OTLP's 64 bits of nanoseconds hold, in the year 2554. */
const TIME_MS_MAX = 18_446_744_073_709;

const TEXT = new RegExp(`^[\\x20-\\x7e]{0,${CONTROL_TEXT_LENGTH_MAX}}$`);

/** Cuts any text down to what a control event may hold: printable ASCII, bounded. */
export function controlText(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, CONTROL_TEXT_LENGTH_MAX);
}

function message(field: number, value: Uint8Array): Uint8Array {
  const head = new Uint8Array(1 + varintByteLength(value.length));
  head[0] = field * 8 + LEN;
  writeVarint(head, 1, value.length);
  return concat(head, value);
}

/** OTLP AnyValue: string_value 1, int_value 3, bytes_value 7. */
function encodeValue(type: Spelling, value: unknown, key: string): Uint8Array {
  switch (type) {
    case 'count': {
      if (!Number.isSafeInteger(value) || (value as number) < 0)
        throw new RangeError(`${key}: no integer of 0..2^53-1`);
      const bytes = new Uint8Array(1 + varintByteLength(value as number));
      bytes[0] = 3 * 8 + VARINT;
      writeVarint(bytes, 1, value as number);
      return bytes;
    }
    case 'text': {
      if (typeof value !== 'string' || !TEXT.test(value))
        throw new RangeError(`${key}: no text of 0..${CONTROL_TEXT_LENGTH_MAX} printable ASCII`);
      return message(1, fromLatin1(value));
    }
    case 'hash': {
      if (!(value instanceof Uint8Array) || value.length !== HASH_BYTE_LENGTH)
        throw new RangeError(`${key}: not 32 bytes`);
      return message(1, fromLatin1(encodeBase64(value)));
    }
    case 'bytes': {
      if (!(value instanceof Uint8Array) || value.length > RECOVERED_BYTE_LENGTH_MAX) {
        throw new RangeError(`${key}: not at most ${RECOVERED_BYTE_LENGTH_MAX} bytes`);
      }
      return message(7, value);
    }
  }
}

/**
 * One event as an entry: `LogsData` with one record: time, attributes in the order of CONTROL_FIELDS, event name.
 * @param timeMs milliseconds since 1970, as the header's `sealed` says
 * @throws RangeError for a value that has no spelling
 */
export function encodeControl(event: ControlEvent, timeMs: number): Uint8Array {
  if (!Number.isInteger(timeMs) || timeMs < 0 || timeMs > TIME_MS_MAX)
    throw new RangeError(`timeMs: no integer of 0..${TIME_MS_MAX}`);
  const time = new Uint8Array(9);
  time[0] = 1 * 8 + FIXED64;
  new DataView(time.buffer).setBigUint64(1, BigInt(timeMs) * 1_000_000n, true);
  const parts: Uint8Array[] = [time];
  const values = event as unknown as Readonly<Record<string, unknown>>;
  for (const [field, type] of Object.entries(CONTROL_FIELDS[event.name])) {
    const key = field.replace('?', '');
    const value = values[key];
    if (value === undefined && field !== key) continue;
    const encoded = encodeValue(type, value, `${event.name}.${key}`);
    parts.push(message(6, concat(message(1, fromLatin1(key)), message(2, encoded))));
  }
  parts.push(message(12, fromLatin1(event.name)));
  return message(1, message(2, message(2, concat(...parts))));
}

/**
 * The inverse of {@link encodeControl}: what does not encode back to the same bytes is refused.
 * @throws LogError `control.syntax`, `bytes.base64`, `otlp.*`
 */
export function parseControl(entry: Uint8Array): {
  readonly event: ControlEvent;
  readonly timeMs: number;
} {
  const refuse = (why: string): never => {
    throw new LogError('control.syntax', `control: ${why}`);
  };
  const item = itemOf(entry, 'control');
  const values: Record<string, unknown> = Object.create(null);
  let name: string | undefined;
  let timeMs = -1;
  const cursor = new FieldCursor(entry, item.start, item.end);
  while (cursor.next()) {
    if (cursor.number === 1) {
      const view = new DataView(entry.buffer, entry.byteOffset + cursor.valueStart);
      const nanoseconds = view.getBigUint64(0, true);
      if (nanoseconds % 1_000_000n !== 0n) refuse('a time finer than milliseconds');
      timeMs = Number(nanoseconds / 1_000_000n);
    } else if (cursor.number === 6) {
      const [key, value] = parseAttribute(entry, cursor.valueStart, cursor.valueEnd);
      values[key] = value;
    } else if (cursor.number === 12) {
      name = latin1(entry, cursor.valueStart, cursor.valueEnd);
    } else {
      refuse(`a foreign field ${cursor.number}`);
    }
  }
  if (name === undefined || !Object.hasOwn(CONTROL_FIELDS, name) || timeMs < 0) {
    refuse('no known event name, or no time');
  }
  const event: Record<string, unknown> = { name };
  for (const [field, type] of Object.entries(CONTROL_FIELDS[name as ControlName])) {
    const key = field.replace('?', '');
    const value = values[key];
    if (value === undefined) continue;
    event[key] = type === 'hash' && typeof value === 'string' ? decodeBase64(value) : value;
  }
  let again: Uint8Array;
  try {
    again = encodeControl(event as unknown as ControlEvent, timeMs);
  } catch (cause) {
    return refuse(cause instanceof Error ? cause.message : String(cause));
  }
  if (!equalBytes(again, entry)) refuse('another spelling, or unknown values');
  return { event: event as unknown as ControlEvent, timeMs };
}

function parseAttribute(entry: Uint8Array, start: number, end: number): [string, unknown] {
  const pair = new FieldCursor(entry, start, end);
  let key = '';
  let value: unknown;
  while (pair.next()) {
    if (pair.number === 1) key = latin1(entry, pair.valueStart, pair.valueEnd);
    if (pair.number !== 2) continue;
    const any = new FieldCursor(entry, pair.valueStart, pair.valueEnd);
    while (any.next()) {
      if (any.number === 1) value = latin1(entry, any.valueStart, any.valueEnd);
      if (any.number === 7) value = entry.slice(any.valueStart, any.valueEnd);
      if (any.number === 3) {
        let count = 0;
        for (let at = any.valueEnd - 1; at >= any.valueStart; at--)
          count = count * 128 + (entry[at]! & 0x7f);
        value = count;
      }
    }
  }
  return [key, value];
}
