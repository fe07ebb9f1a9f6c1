// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: pipelines of `@huggingface/transformers` behave with our hooks as without, and each call of one leaves one span, whatever
 * sessions it runs. Method: the matrix, with a model and a vocabulary that the application writes; nothing is fetched.
 */
import { createHash } from 'node:crypto';
import { noHelpers } from './support/case.ts';
import { describeMatrix, digest, type Ends, inputs } from './support/matrix.ts';
import { classifier } from './support/tiny-onnx.ts';

const none = (absent: string): Ends => ({ absent });
const noStream = none('a pipeline gives one answer');
const noNetwork = none('a pipeline is in the process');
const noStop = none('a pipeline can not be stopped from outside');
const ANSWER = '[{"label":"GOOD","score":0.9046505093574524}]';
const TENSOR = `{"data":"${Buffer.from(Float32Array.from([1.125, -1.125]).buffer).toString('base64')}","dims":[1,2],"type":"float32"}`;
const MODEL = {
  'gen_ai.request.model': 'tiny',
  'aigov.model.digest': `sha256:${createHash('sha256').update(classifier('logits')).digest('hex')}`,
  'aigov.invocation.completion': 'complete',
};
const asked = (task: string) =>
  inputs('"Guten Tag"', `{"model":"tiny","options":[],"task":"${task}"}`);
const gave = (text: string) => ({
  'aigov.output.digest': digest(text),
  'aigov.output.length': text.length,
});

describeMatrix({
  target: '@huggingface/transformers',
  versions: [{ version: '4.3.1', folder: '.', formats: ['esm', 'cjs'] }],
  app: 'transformers-app.mjs',
  ends: {
    plain: 'complete',
    'with options': 'complete',
    'with a version': 'complete',
    'answer that is a tensor': 'complete',
    'no text': 'error Error',
    // The run of its session, which has a target of its own.
    'model without a pipeline': 'complete',
    'tool call': none('a pipeline has no tools'),
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
  whole: {
    plain: {
      'gen_ai.operation.name': 'predict',
      ...MODEL,
      ...asked('text-classification'),
      ...gave(ANSWER),
    },
    'answer that is a tensor': {
      'gen_ai.operation.name': 'embeddings',
      ...MODEL,
      ...asked('feature-extraction'),
      ...gave(TENSOR),
    },
  },
});
