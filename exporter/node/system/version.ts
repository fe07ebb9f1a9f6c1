// SPDX-License-Identifier: Apache-2.0
/** Version of this package, as records name their writer by; held against package.json by a test. */
export const VERSION: string = '0.1.0';
export const WRITER: string = `sealspan/${VERSION}`;
