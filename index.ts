// SPDX-License-Identifier: Apache-2.0
/** The root import is no entry point: it says which ones there are, so that it can not become a dumping ground. */
throw new Error(
  "sealspan: import one of 'sealspan/register', 'sealspan/instrumentation', 'sealspan/exporter', 'sealspan/semconv', 'sealspan/verify'",
);
