// SPDX-License-Identifier: Apache-2.0
/** Loads a package from this folder, as an application that lives here would. */
import { createRequire } from 'node:module';

/** @param {string} name @param {string} format */
export async function load(name, format) {
  return format === 'cjs' ? createRequire(import.meta.url)(name) : import(name);
}
