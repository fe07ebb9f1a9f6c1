// SPDX-License-Identifier: Apache-2.0
/** An application of pipelines of `@huggingface/transformers`, with a model and a vocabulary that are written here. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { failing } from './case.ts';
import { classifier } from './tiny-onnx.ts';

const [, folder, name, format] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, 'load.mjs')).href);
const { AutoModelForSequenceClassification, AutoTokenizer, env, pipeline } = await load(
  name,
  format,
);

const models = mkdtempSync(join(tmpdir(), 'sealspan-'));
const write = (file, value) => writeFileSync(join(models, 'tiny', file), JSON.stringify(value));
mkdirSync(join(models, 'tiny/onnx'), { recursive: true });
writeFileSync(join(models, 'tiny/onnx/model.onnx'), classifier('logits'));
write('config.json', {
  model_type: 'bert',
  architectures: ['BertForSequenceClassification'],
  id2label: { 0: 'GOOD', 1: 'BAD' },
  label2id: { GOOD: 0, BAD: 1 },
});
const vocab = { '[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, guten: 4, tag: 5 };
write('tokenizer_config.json', {
  tokenizer_class: 'BertTokenizer',
  model_max_length: 16,
  pad_token: '[PAD]',
});
write('tokenizer.json', {
  version: '1.0',
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'Whitespace' },
  post_processor: null,
  decoder: null,
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab,
  },
});
env.allowRemoteModels = false;
env.localModelPath = models;
env.useFSCache = false;

const options = { dtype: 'fp32', device: 'cpu' };
const classify = () => pipeline('text-classification', 'tiny', options);

export const cases = {
  plain: async () => (await classify())('Guten Tag'),
  'with options': async () => (await classify())(['Guten Tag', 'Tag'], { top_k: 2 }),
  'with a version': async () =>
    (await pipeline('text-classification', 'tiny', { ...options, revision: 'v1' }))('Tag'),
  'answer that is a tensor': async () => {
    const extract = await pipeline('feature-extraction', 'tiny', options);
    return (await extract('Guten Tag')).tolist();
  },
  'no text': async () => {
    const classifier = await classify();
    return (await failing(() => classifier(undefined))).class;
  },
  'no model': async () =>
    (await failing(() => pipeline('text-classification', 'nothing', options))).class,
  'model without a pipeline': async () => {
    const model = await AutoModelForSequenceClassification.from_pretrained('tiny', options);
    const tokenizer = await AutoTokenizer.from_pretrained('tiny');
    const { logits } = await model(tokenizer('Guten Tag'));
    return logits.tolist();
  },
  'never awaited': async () => {
    const classifier = await classify();
    void classifier('Guten Tag');
  },
};
