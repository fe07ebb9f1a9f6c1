// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: `onnxruntime-node` behaves with our hooks as without, and each run of a session leaves one span that says how it ended and
 * which model it was. Method: the matrix, with a model of a few bytes.
 */
import { createHash } from 'node:crypto';
import { noHelpers } from './support/case.ts';
import { describeMatrix, digest, type Ends, inputs } from './support/matrix.ts';
import { scorer } from './support/tiny-onnx.ts';

const none = (absent: string): Ends => ({ absent });
const noStream = none('a session gives one answer');
const noNetwork = none('a session is in the process');
const noStop = none('the runtime has no way to stop a run from outside');
const base64 = (...values: readonly number[]) =>
  Buffer.from(Float32Array.from(values).buffer).toString('base64');
const FEATURES = `{"features":{"data":"${base64(1, 2, 3)}","dims":[1,3],"type":"float32"}}`;
const SCORE = `{"score":{"data":"${base64(0.6791787147521973)}","dims":[1,1],"type":"float32"}}`;
const SCORED = {
  'gen_ai.operation.name': 'predict',
  'aigov.model.digest': `sha256:${createHash('sha256').update(scorer()).digest('hex')}`,
  ...inputs(FEATURES),
  'aigov.output.digest': digest(SCORE),
  'aigov.output.length': SCORE.length,
  'aigov.invocation.completion': 'complete',
};

describeMatrix({
  target: 'onnxruntime-node',
  versions: [{ version: '1.30.0', folder: '.', formats: ['esm', 'cjs'] }],
  app: 'onnxruntime-app.mjs',
  ends: {
    plain: 'complete',
    'model out of a file': 'complete',
    'several at once': ['complete', 'complete'],
    'wrong shape': 'error Error',
    'tool call': none('a session has no tools'),
    stream: noStream,
    'stream of a tool call': noStream,
    'stream broken off': noStream,
    'stream with a throwing reader': noStream,
    'stream ends early': noStream,
    'stream whose connection dies': noStream,
    'stream that reports an error': noStream,
    'stream never read': noStream,
    'stream half read': noStream,
    'stream aborted': noStream,
    aborted: noStop,
    timeout: noStop,
    'no connection': noNetwork,
    '400': noNetwork,
    '500 after retries': noNetwork,
    'good after retries': noNetwork,
    'never awaited': 'complete',
    ...noHelpers(),
  },
  whole: { plain: SCORED, 'model out of a file': { ...SCORED, 'gen_ai.request.model': 'scorer' } },
});
