// SPDX-License-Identifier: Apache-2.0
/**
 * Brings the ways in which conventions spell a chat into the one message shape of the GenAI conventions:
 * `{ role, parts: [{ type: 'text', content } | { type: 'tool_call', … } | …] }`.
 * Knows the common parts; a part it does not know keeps its type and loses its detail. Never throws.
 */

/** A part of a message; which further fields it has follows from its type. */
export type MessagePart = Readonly<Record<string, unknown>> & { readonly type: string };

/** One message of a chat. */
export interface Message {
  /** As given; absent if the source names none. */
  readonly role?: string;
  readonly parts: readonly MessagePart[];
}

type Flat = Readonly<Record<string, unknown>>;

/**
 * The members of an indexed family such as `llm.input_messages.0.message.role`, in the order of their index, each as a
 * flat record of what follows the index. One pass over the keys, whatever the number of members.
 */
export function indexed(attributes: Flat, prefix: string): readonly Flat[] {
  const members = new Map<number, Record<string, unknown>>();
  const start = `${prefix}.`;
  for (const [key, value] of Object.entries(attributes)) {
    if (!key.startsWith(start)) continue;
    const dot = key.indexOf('.', start.length);
    const index = dot < 0 ? '' : key.slice(start.length, dot);
    if (!/^(?:0|[1-9][0-9]{0,8})$/.test(index)) continue;
    let member = members.get(Number(index));
    if (member === undefined) {
      member = Object.create(null) as Record<string, unknown>;
      members.set(Number(index), member);
    }
    member[key.slice(dot + 1)] = value;
  }
  return [...members].sort(([a], [b]) => a - b).map(([, member]) => member);
}

/** The messages of `llm.input_messages.*` or `llm.output_messages.*`. */
export function openInferenceMessages(attributes: Flat, prefix: string): readonly Message[] {
  return indexed(attributes, prefix).map((message) => {
    const parts: MessagePart[] = [
      ...textOrResponse(message, 'message.content', 'message.tool_call_id'),
    ];
    for (const content of indexed(message, 'message.contents')) {
      const type = textOf(content['message_content.type']) ?? 'text';
      const text = content['message_content.text'];
      const uri = content['message_content.image.image.url'];
      if (text !== undefined) parts.push({ type, content: text });
      else if (uri !== undefined) parts.push({ type: 'uri', modality: 'image', uri });
      else parts.push({ type });
    }
    for (const call of indexed(message, 'message.tool_calls')) {
      parts.push(
        toolCall(
          call['tool_call.id'],
          call['tool_call.function.name'],
          call['tool_call.function.arguments'],
        ),
      );
    }
    return withRole(message['message.role'], parts);
  });
}

/** The messages of the former `gen_ai.prompt.*` or `gen_ai.completion.*`. */
export function formerMessages(attributes: Flat, prefix: string): readonly Message[] {
  return indexed(attributes, prefix).map((message) => {
    const parts: MessagePart[] = [...textOrResponse(message, 'content', 'tool_call_id')];
    for (const call of indexed(message, 'tool_calls')) {
      parts.push(toolCall(call.id, call.name, call.arguments));
    }
    return withRole(message.role, parts);
  });
}

/**
 * The messages of a list as chat interfaces take it (`[{ role, content: text | parts }]`), given as value or as JSON.
 * Undefined if it is no such list.
 */
export function chatMessages(value: unknown): readonly Message[] | undefined {
  const list = typeof value === 'string' ? parseJson(value) : value;
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const messages: Message[] = [];
  for (const item of list as readonly unknown[]) {
    if (!isRecord(item) || typeof item.role !== 'string') return undefined;
    const content = item.content;
    const parts: MessagePart[] = [];
    if (typeof content === 'string') {
      const id = item.tool_call_id;
      parts.push(
        id === undefined
          ? { type: 'text', content }
          : { type: 'tool_call_response', id, response: content },
      );
    } else if (Array.isArray(content)) {
      for (const part of content as readonly unknown[])
        if (isRecord(part)) parts.push(chatPart(part));
    }
    const calls = item.tool_calls;
    for (const call of Array.isArray(calls) ? (calls as readonly unknown[]) : []) {
      const called = isRecord(call) && isRecord(call.function) ? call.function : {};
      parts.push(toolCall(isRecord(call) ? call.id : undefined, called.name, called.arguments));
    }
    messages.push(withRole(item.role, parts));
  }
  return messages;
}

/** The `tool_call` parts of a list of calls in the Vercel shape, given as value or as JSON. */
export function vercelToolCalls(value: unknown): readonly MessagePart[] {
  const list = typeof value === 'string' ? parseJson(value) : value;
  if (!Array.isArray(list)) return [];
  return (list as readonly unknown[])
    .filter(isRecord)
    .map((call) => toolCall(call.toolCallId, call.toolName, call.input ?? call.args));
}

/** The value of a JSON text, or undefined if it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A part as the OpenAI interfaces or the Vercel AI SDK write it. */
function chatPart(part: Flat): MessagePart {
  const type = textOf(part.type) ?? 'text';
  if (type === 'text' || type === 'input_text' || type === 'output_text') {
    return { type: 'text', content: part.text };
  }
  if (type === 'reasoning') return { type, content: part.text };
  if (type === 'tool-call') {
    return toolCall(part.toolCallId, part.toolName, part.input ?? part.args);
  }
  if (type === 'tool-result') {
    const output = part.output ?? part.result;
    const response = isRecord(output) && 'value' in output ? output.value : output;
    return { type: 'tool_call_response', id: part.toolCallId, response };
  }
  return { type };
}

function* textOrResponse(message: Flat, contentKey: string, idKey: string): Iterable<MessagePart> {
  const content = message[contentKey];
  if (content === undefined) return;
  const id = message[idKey];
  if (id === undefined) yield { type: 'text', content };
  else yield { type: 'tool_call_response', id, response: content };
}

function toolCall(id: unknown, name: unknown, args: unknown): MessagePart {
  const parsed = typeof args === 'string' ? (parseJson(args) ?? args) : args;
  return { type: 'tool_call', id, name, arguments: parsed };
}

function withRole(role: unknown, parts: readonly MessagePart[]): Message {
  return typeof role === 'string' ? { role, parts } : { parts };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
