// SPDX-License-Identifier: Apache-2.0
/** The parts of `@apm-js-collab/tracing-hooks` in use; the package brings no types. Says nothing of its other parts. */
declare module '@apm-js-collab/tracing-hooks/hook.mjs?sealspan' {
  import type { LoadHookSync, ResolveHookSync } from 'node:module';

  export function initializeSync(data: {
    readonly instrumentations: readonly unknown[];
    readonly diagnosticsPort?: { postMessage(message: unknown): void };
  }): void;
  export const resolveSync: ResolveHookSync;
  export const loadSync: LoadHookSync;
  export function setDiagnosticsHook(hook: (diagnostics: unknown) => void): void;
}

declare module '@apm-js-collab/tracing-hooks' {
  class ModulePatch {
    constructor(options: { readonly instrumentations: readonly unknown[] });
    readonly instrumentator: {
      getTransformer(
        name: string,
        version: string,
        file: string,
      ): { transform(code: string, type: 'esm' | 'cjs'): { readonly code: string } } | undefined;
    };
    patch(): void;
    unpatch(): void;
  }
  export = ModulePatch;
}
