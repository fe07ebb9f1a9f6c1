// SPDX-License-Identifier: Apache-2.0
/**
 * How much goes into one record: large enough to compress well, small enough to verify and to prove from. Cuts what one
 * request holds accordingly; what of several requests goes together, the sealer knows.
 */
const RECORD_ENTRY_COUNT = 4096;
const RECORD_BYTE_LENGTH = 4 * 1024 * 1024;

/** Entries that go into one record together. */
export interface Group {
  readonly entries: readonly Uint8Array[];
  readonly byteLength: number;
}

/** Whether one record can hold so much. */
export function fitsRecord(entryCount: number, byteLength: number): boolean {
  return entryCount <= RECORD_ENTRY_COUNT && byteLength <= RECORD_BYTE_LENGTH;
}

/** Entries in groups that one record each can hold; an entry larger than that is a group of its own. */
export function groupsOf(entries: readonly Uint8Array[]): Group[] {
  const groups: Group[] = [];
  let group = { entries: [] as Uint8Array[], byteLength: 0 };
  for (const entry of entries) {
    const fits = fitsRecord(group.entries.length + 1, group.byteLength + entry.length);
    if (!fits && group.entries.length > 0) {
      groups.push(group);
      group = { entries: [], byteLength: 0 };
    }
    group.entries.push(entry);
    group.byteLength += entry.length;
  }
  groups.push(group);
  return groups;
}
