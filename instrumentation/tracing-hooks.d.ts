// SPDX-License-Identifier: Apache-2.0
/** The parts of `@apm-js-collab/tracing-hooks` in use; the package brings no types. Says nothing of its other parts. */
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
  }
  export = ModulePatch;
}
