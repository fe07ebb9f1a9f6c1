// SPDX-License-Identifier: Apache-2.0
/** An application that scores with `onnxruntime-node` and a model of its own, out of bytes and out of a file. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { failing } from './case.ts';
import { scorer } from './tiny-onnx.ts';

const [, folder, name, format] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const { InferenceSession, Tensor } = await load(name, format);
const file = join(mkdtempSync(join(tmpdir(), 'sealspan-')), 'scorer.onnx');
writeFileSync(file, scorer());

const features = (...values) =>
  new Tensor('float32', Float32Array.from(values), [1, values.length]);
const seen = ({ score }) => [score.type, score.dims, [...score.data], score.constructor.name];

export const cases = {
  plain: async () => {
    const session = await InferenceSession.create(scorer());
    return seen(await session.run({ features: features(1, 2, 3) }));
  },
  'model out of a file': async () => {
    const session = await InferenceSession.create(file);
    return seen(await session.run({ features: features(1, 2, 3) }));
  },
  'several at once': async () => {
    const session = await InferenceSession.create(file);
    const runs = [
      session.run({ features: features(1, 2, 3) }),
      session.run({ features: features(0, 0, 0) }),
    ];
    return (await Promise.all(runs)).map(seen);
  },
  'wrong shape': async () => {
    const session = await InferenceSession.create(file);
    return failing(() => session.run({ features: features(1, 2) }));
  },
  'no input': async () => {
    const session = await InferenceSession.create(file);
    return failing(() => session.run({}));
  },
  'no model': () => failing(() => InferenceSession.create(new Uint8Array([1, 2, 3]))),
  'no file': () => failing(() => InferenceSession.create('/nowhere.onnx')),
  'never awaited': async () => {
    const session = await InferenceSession.create(file);
    void session.run({ features: features(1, 2, 3) });
  },
};
