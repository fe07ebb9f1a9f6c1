// SPDX-License-Identifier: Apache-2.0
/**
 * The run of a tool that a model asked for, whatever SDK runs it: what is known before, and what came of it.
 * Whether the model asked for it is told by the id of the call alone.
 */
import { type Attributes, SpanKind } from '@opentelemetry/api';
import * as names from '../semconv/index.ts';
import { canonicalJson, valueOutput } from './content.ts';
import type { Answer, InvocationStart } from './invocation.ts';
import { currentSettings, guard } from './settings.ts';

/** What is known of a tool before it runs; values of another type than expected are left out. */
export interface ToolCall {
  readonly name: unknown;
  readonly id?: unknown;
  readonly description?: unknown;
  /** `function`, `extension` or `datastore`; `function` unless given. */
  readonly type?: string;
  readonly arguments: unknown;
  /** INTERNAL unless given; CLIENT for a tool of another process. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
}

/** The start of a tool's run. */
export function toolStart(call: ToolCall): InvocationStart {
  const operation = names.GEN_AI_OPERATION_NAME_VALUE_EXECUTE_TOOL;
  const text = (value: unknown): value is string => typeof value === 'string' && value !== '';
  const { name, id, description, type = 'function', kind = SpanKind.INTERNAL } = call;
  return {
    name: text(name) ? `${operation} ${name}` : operation,
    kind,
    attributes: {
      [names.ATTR_GEN_AI_OPERATION_NAME]: operation,
      [names.ATTR_GEN_AI_TOOL_TYPE]: type,
      ...(text(name) && { [names.ATTR_GEN_AI_TOOL_NAME]: name }),
      ...(text(id) && { [names.ATTR_GEN_AI_TOOL_CALL_ID]: id }),
      ...(text(description) && { [names.ATTR_GEN_AI_TOOL_DESCRIPTION]: description }),
      ...fullText(names.ATTR_GEN_AI_TOOL_CALL_ARGUMENTS, call.arguments),
      ...call.attributes,
    },
    input: () => ({ content: call.arguments }),
  };
}

/** What came of a tool. */
export class ToolAnswer implements Answer {
  readonly isFinished = false;
  /** What the answer itself says of a failure. */
  failure: string | undefined;
  private told: Attributes | undefined;

  /** A tool's answer comes in one piece; what it reports on the way is not its answer. */
  chunk(): void {}

  whole(value: unknown): void {
    // The message form is that of a model's answer, which this is not.
    const { [names.ATTR_GEN_AI_OUTPUT_MESSAGES]: _, ...told } = valueOutput(value);
    this.told = { ...told, ...fullText(names.ATTR_GEN_AI_TOOL_CALL_RESULT, value) };
  }

  attributes(): Attributes | undefined {
    return this.told;
  }
}

function fullText(attribute: string, value: unknown): Attributes {
  if (currentSettings().policy !== names.AIGOV_CONTENT_POLICY_VALUE_FULL) return {};
  const text = guard('tool.full', () => canonicalJson(value ?? null));
  return text === undefined ? {} : { [attribute]: text };
}
