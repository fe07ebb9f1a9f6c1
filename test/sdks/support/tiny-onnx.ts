// SPDX-License-Identifier: Apache-2.0
/**
 * Models small enough to be written byte by byte, in the protobuf of ONNX. Field numbers are those of `onnx.proto3`; knows only
 * what these models need.
 */

type Bytes = Uint8Array;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

const number = (field: number, value: number): Bytes =>
  Uint8Array.from([...varint(field * 8), ...varint(value)]);
const bytes = (field: number, value: Bytes): Bytes =>
  Uint8Array.from([...varint(field * 8 + 2), ...varint(value.length), ...value]);
const text = (field: number, value: string): Bytes => bytes(field, new TextEncoder().encode(value));
const message = (field: number, ...parts: readonly Bytes[]): Bytes =>
  bytes(field, Uint8Array.from(parts.flatMap((part) => [...part])));

const FLOAT = 1;
const INT64 = 7;

/** A dimension is a number, or the name of one that is not fixed. */
type Dimension = number | string;

const value = (field: number, name: string, type: number, dims: readonly Dimension[]): Bytes =>
  message(
    field,
    text(1, name),
    message(
      2,
      message(
        1,
        number(1, type),
        message(
          2,
          ...dims.map((dim) => message(1, typeof dim === 'number' ? number(1, dim) : text(2, dim))),
        ),
      ),
    ),
  );
const floats = (name: string, dims: readonly number[], values: readonly number[]): Bytes =>
  message(
    5,
    ...dims.map((dim) => number(1, dim)),
    number(2, FLOAT),
    text(8, name),
    bytes(9, new Uint8Array(Float32Array.from(values).buffer)),
  );
const node = (
  operator: string,
  inputs: readonly string[],
  output: string,
  ...attributes: readonly Bytes[]
): Bytes =>
  message(
    1,
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, operator),
    ...attributes,
  );
const integer = (name: string, given: number): Bytes =>
  message(5, text(1, name), number(3, given), number(20, 2));
const integers = (name: string, given: readonly number[]): Bytes =>
  message(5, text(1, name), ...given.map((item) => number(8, item)), number(20, 7));

function model(...graph: readonly Bytes[]): Bytes {
  const parts = [
    number(1, 8),
    message(7, text(2, 'tiny'), ...graph),
    message(8, text(1, ''), number(2, 13)),
  ];
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A scorer: the logistic function of a weighted sum of three features. */
export function scorer(): Uint8Array {
  return model(
    node('MatMul', ['features', 'weights'], 'sum'),
    node('Sigmoid', ['sum'], 'score'),
    floats('weights', [3, 1], [1, -0.5, 0.25]),
    value(11, 'features', FLOAT, ['rows', 3]),
    value(12, 'score', FLOAT, ['rows', 1]),
  );
}

/** A classifier of texts into two classes, by the mean of the numbers of their tokens; `output` is what its output is called. */
export function classifier(output: string): Uint8Array {
  return model(
    node('Cast', ['input_ids'], 'numbers', integer('to', FLOAT)),
    node('ReduceMean', ['numbers'], 'mean', integers('axes', [1]), integer('keepdims', 1)),
    node('MatMul', ['mean', 'weights'], output),
    floats('weights', [1, 2], [0.25, -0.25]),
    value(11, 'input_ids', INT64, ['rows', 'tokens']),
    value(12, output, FLOAT, ['rows', 2]),
  );
}
