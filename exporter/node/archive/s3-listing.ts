// SPDX-License-Identifier: Apache-2.0
/**
 * What a listing of versions says: pages of versions and of delete markers, joined into keys, the oldest version first.
 * Bounded: of a key that somebody gave a million versions, the oldest are kept and the rest counted.
 */
import type {
  DeleteMarkerEntry,
  ListObjectVersionsCommandOutput,
  ObjectVersion,
} from '@aws-sdk/client-s3';

/** One version of an object. */
export interface StoredVersion {
  /** Empty for what is visible, where versions can not be seen. */
  readonly id: string;
  /** When the store took it, by the store's clock. */
  readonly storedMs: number;
  readonly byteLength: number;
}

/** All that was ever stored under one key, or, in a shallow listing, a folder of keys: its key ends in `/`. */
export interface StoredKey {
  readonly key: string;
  /** Oldest first, at most {@link VERSION_COUNT_MAX} of them. */
  readonly versions: readonly StoredVersion[];
  readonly versionCount: number;
  readonly markerCount: number;
  /** True where a delete marker stands in front, so that a plain read finds nothing. */
  readonly isHidden: boolean;
}

/** Versions of one key that are looked at: somebody may have added any number. */
export const VERSION_COUNT_MAX: number = 100;

/** A version, or a delete marker, as a listing tells it. */
export interface Listed {
  readonly key: string;
  readonly isLatest: boolean;
  readonly version: StoredVersion | undefined;
}

/** Gathers what a listing tells of one key. */
export class KeyBuilder {
  readonly key: string;
  /** Newest first, as listings come. */
  readonly #versions: StoredVersion[] = [];
  #versionCount = 0;
  #markerCount = 0;
  #isHidden = false;

  constructor(key: string) {
    this.key = key;
  }

  add({ version, isLatest }: Listed): void {
    if (version === undefined) {
      this.#markerCount++;
      if (isLatest) this.#isHidden = true;
      return;
    }
    this.#versionCount++;
    this.#versions.push(version);
    // The oldest are those that count.
    if (this.#versions.length > VERSION_COUNT_MAX) this.#versions.shift();
  }

  finish(): StoredKey {
    return {
      key: this.key,
      versions: this.#versions.reverse(),
      versionCount: this.#versionCount,
      markerCount: this.#markerCount,
      isHidden: this.#isHidden,
    };
  }
}

/** Versions and markers of one page, each in order of their keys, as one. `skip` characters of each key are the store's. */
export function* listedOf(
  page: ListObjectVersionsCommandOutput,
  skip: number,
): Generator<Listed, void, undefined> {
  const { Versions: versions = [], DeleteMarkers: markers = [] } = page;
  const keyOf = (item: ObjectVersion | DeleteMarkerEntry | undefined) => item?.Key ?? '';
  for (let v = 0, m = 0; v < versions.length || m < markers.length; ) {
    const version = versions[v];
    const marker = markers[m];
    const isVersion =
      marker === undefined || (version !== undefined && keyOf(version) <= keyOf(marker));
    if (isVersion) v++;
    else m++;
    yield {
      key: keyOf(isVersion ? version : marker).slice(skip),
      isLatest: (isVersion ? version : marker)?.IsLatest === true,
      version: isVersion
        ? {
            id: version?.VersionId ?? 'null',
            storedMs: version?.LastModified?.getTime() ?? 0,
            byteLength: version?.Size ?? 0,
          }
        : undefined,
    };
  }
}
