// SPDX-License-Identifier: Apache-2.0
/**
 * One vocabulary for readers: what OpenInference, OpenLLMetry, the Vercel AI SDK, Langfuse and older GenAI conventions
 * wrote, under the GenAI and aigov names. Only for reading: it is never applied to what is sealed.
 */
import {
  ALIASES,
  type Alias,
  type AliasForm,
  type Convention,
  FORMER_ALIASES,
  LANGFUSE_USAGE_ALIASES,
  PARAMETER_ALIASES,
  PROVIDER_SPELLINGS,
} from './aliases.ts';
import { AIGOV_SOURCE_CONVENTION_VALUES, ATTR_AIGOV_SOURCE_CONVENTION } from './attributes.ts';
import * as names from './gen-ai.ts';
import {
  chatMessages,
  formerMessages,
  indexed,
  isRecord,
  type Message,
  type MessagePart,
  openInferenceMessages,
  parseJson,
  vercelToolCalls,
} from './messages.ts';

type Attributes = Readonly<Record<string, unknown>>;

/** Names only OpenInference gives a model call; `llm.request.type` and `llm.usage.*` are OpenLLMetry's. */
const OPENINFERENCE_MARKERS: readonly string[] = [
  'openinference.span.kind',
  'llm.model_name',
  'llm.provider',
  'llm.system',
  'llm.input_messages.',
  'llm.output_messages.',
  'llm.token_count.',
];
const OPENLLMETRY_MARKERS: readonly string[] = ['traceloop.', 'llm.request.type', 'llm.usage.'];

/**
 * The convention a span was written in, or undefined if its attributes name none. A span of the Vercel AI SDK or of
 * OpenLLMetry carries gen_ai names as well, so the more particular convention is looked for first.
 */
export function conventionOf(
  attributes: Readonly<Record<string, unknown>>,
): Convention | undefined {
  const keys = Object.keys(attributes);
  const has = (markers: readonly string[]) =>
    keys.some((key) =>
      markers.some((mark) => (mark.endsWith('.') ? key.startsWith(mark) : key === mark)),
    );
  if (has(OPENINFERENCE_MARKERS)) return 'openinference';
  if (has(['ai.operationId'])) return 'vercel_ai';
  if (has(['langfuse.observation.type'])) return 'langfuse';
  if (has(OPENLLMETRY_MARKERS)) return 'openllmetry';
  if (has(['gen_ai.', 'mcp.'])) return 'gen_ai';
  return has(['aigov.']) ? 'aigov' : undefined;
}

/**
 * A copy of a span's attributes in one vocabulary. A translated name is left out once its value stands under the GenAI
 * name; a GenAI value that was there is never replaced, and then a source that says otherwise stays beside it. All
 * other attributes stay as they are. Messages are JSON text, as on spans. Never throws.
 */
export function normalise(attributes: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const out: Record<string, unknown> = { ...attributes };
  const given = attributes[ATTR_AIGOV_SOURCE_CONVENTION];
  const convention =
    AIGOV_SOURCE_CONVENTION_VALUES.find((name) => name === given) ?? conventionOf(attributes);
  if (convention === undefined) return out;
  out[ATTR_AIGOV_SOURCE_CONVENTION] = convention;
  for (const alias of ALIASES[convention]) translate(out, alias);
  for (const alias of FORMER_ALIASES) translate(out, alias);
  if (convention === 'openinference') foldOpenInference(out);
  if (convention === 'vercel_ai') foldVercel(out);
  if (convention === 'langfuse') foldLangfuse(out);
  foldFormer(out);
  return out;
}

function translate(out: Record<string, unknown>, alias: Alias, from: Attributes = out): void {
  if (alias.when !== undefined && out[names.ATTR_GEN_AI_OPERATION_NAME] !== alias.when) return;
  for (const source of alias.from) {
    if (!Object.hasOwn(from, source)) continue;
    const value = convert(from[source], alias);
    if (value !== undefined) put(out, alias.to, value, from === out ? [source] : []);
  }
}

/** Sets a value unless one is there, and drops the sources whose value then stands under `to`. */
function put(
  out: Record<string, unknown>,
  to: string,
  value: unknown,
  sources: readonly string[],
): void {
  if (value === undefined) return;
  if (out[to] === undefined) out[to] = value;
  if (!isSame(out[to], value)) return;
  for (const source of sources) delete out[source];
}

function isSame(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return Object.is(a, b);
  return a.length === b.length && a.every((item, index) => Object.is(item, b[index]));
}

/** JSON text, or undefined for what has none: text of a stranger can nest deeper than the stack. */
function jsonText(value: unknown): string | undefined {
  try {
    return JSON.stringify(value, (_key, item: unknown) =>
      typeof item === 'bigint' ? String(item) : item,
    );
  } catch {
    return undefined;
  }
}

function convert(value: unknown, { form, values }: Alias): unknown {
  if (value === undefined || value === null) return undefined;
  if (values !== undefined) {
    return typeof value === 'string' && Object.hasOwn(values, value) ? values[value] : undefined;
  }
  return form === undefined ? value : FORMS[form](value);
}

const FORMS: Readonly<Record<AliasForm, (value: unknown) => unknown>> = {
  number: toNumber,
  milliseconds: (value) => {
    const number = toNumber(value);
    return number === undefined ? undefined : number / 1000;
  },
  list: (value) => {
    if (Array.isArray(value)) return value;
    return typeof value === 'string' ? [value] : undefined;
  },
  provider: (value) => {
    if (typeof value !== 'string') return undefined;
    const text = value.toLowerCase();
    const isSpelled = (spelling: string) =>
      text === spelling || text.startsWith(`${spelling}.`) || text.startsWith(`${spelling}-`);
    return PROVIDER_SPELLINGS.find(([spelling]) => isSpelled(spelling))?.[1] ?? value;
  },
};

function toNumber(value: unknown): number | undefined {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function putMessages(
  out: Record<string, unknown>,
  to: string,
  messages: readonly (Message | MessagePart)[] | undefined,
  isSource: (key: string) => boolean,
): void {
  if (messages === undefined || messages.length === 0) return;
  put(out, to, jsonText(messages), Object.keys(out).filter(isSource));
}

const startsWith =
  (prefix: string) =>
  (key: string): boolean =>
    key.startsWith(prefix);

function foldOpenInference(out: Record<string, unknown>): void {
  for (const [to, family] of [
    [names.ATTR_GEN_AI_INPUT_MESSAGES, 'llm.input_messages'],
    [names.ATTR_GEN_AI_OUTPUT_MESSAGES, 'llm.output_messages'],
  ] as const) {
    putMessages(out, to, openInferenceMessages(out, family), startsWith(`${family}.`));
  }
  const tools = indexed(out, 'llm.tools')
    .map((tool) => tool['tool.json_schema'])
    .map((schema) => (typeof schema === 'string' ? parseJson(schema) : schema))
    .filter((schema) => schema !== undefined);
  if (tools.length > 0) {
    const sources = Object.keys(out).filter(startsWith('llm.tools.'));
    put(out, names.ATTR_GEN_AI_TOOL_DEFINITIONS, jsonText(tools), sources);
  }
  const documents = indexed(out, 'retrieval.documents').map((document) => ({
    id: document['document.id'],
    score: document['document.score'],
    content: document['document.content'],
  }));
  if (documents.length > 0) {
    // The sources stay: documents may carry metadata this shape has no place for.
    put(out, names.ATTR_GEN_AI_RETRIEVAL_DOCUMENTS, jsonText(documents), []);
  }
  unpack(out, 'llm.invocation_parameters', PARAMETER_ALIASES);
}

function foldVercel(out: Record<string, unknown>): void {
  const prompt = parsed(out['ai.prompt']);
  putMessages(
    out,
    names.ATTR_GEN_AI_INPUT_MESSAGES,
    chatMessages(out['ai.prompt.messages']),
    (key) => key === 'ai.prompt.messages',
  );
  if (isRecord(prompt)) {
    const asked = prompt.prompt;
    const text: Message = { role: 'user', parts: [{ type: 'text', content: asked }] };
    // The SDK defines a text prompt as one message of the user.
    const messages = chatMessages(prompt.messages) ?? chatMessages(asked);
    const isText = messages === undefined && typeof asked === 'string';
    putMessages(
      out,
      names.ATTR_GEN_AI_INPUT_MESSAGES,
      isText ? [text] : messages,
      (key) => key === 'ai.prompt' && prompt.system === undefined,
    );
    if (typeof prompt.system === 'string') {
      const system: MessagePart = { type: 'text', content: prompt.system };
      putMessages(
        out,
        names.ATTR_GEN_AI_SYSTEM_INSTRUCTIONS,
        [system],
        (key) => key === 'ai.prompt',
      );
    }
  }
  const parts: MessagePart[] = [];
  const sources = ['ai.response.reasoning', 'ai.response.text', 'ai.response.object'];
  for (const source of sources) {
    const content = out[source];
    const type = source === 'ai.response.reasoning' ? 'reasoning' : 'text';
    if (typeof content === 'string' && content !== '') parts.push({ type, content });
  }
  parts.push(...vercelToolCalls(out['ai.response.toolCalls']));
  if (parts.length > 0) {
    putMessages(
      out,
      names.ATTR_GEN_AI_OUTPUT_MESSAGES,
      [{ role: 'assistant', parts }],
      (key) => sources.includes(key) || key === 'ai.response.toolCalls',
    );
  }
  const tools = out['ai.prompt.tools'];
  if (Array.isArray(tools)) {
    const definitions = (tools as readonly unknown[]).map((tool) => parsed(tool) ?? tool);
    const text = jsonText(definitions);
    put(out, names.ATTR_GEN_AI_TOOL_DEFINITIONS, text, ['ai.prompt.tools']);
  }
}

function foldLangfuse(out: Record<string, unknown>): void {
  unpack(out, 'langfuse.observation.model.parameters', PARAMETER_ALIASES);
  unpack(out, 'langfuse.observation.usage_details', LANGFUSE_USAGE_ALIASES);
  if (out[names.ATTR_GEN_AI_OPERATION_NAME] !== names.GEN_AI_OPERATION_NAME_VALUE_CHAT) return;
  for (const [to, source] of [
    [names.ATTR_GEN_AI_INPUT_MESSAGES, 'langfuse.observation.input'],
    [names.ATTR_GEN_AI_OUTPUT_MESSAGES, 'langfuse.observation.output'],
  ] as const) {
    const value = parsed(out[source]);
    const list = isRecord(value) ? (value.messages ?? [value]) : value;
    putMessages(out, to, chatMessages(list), (key) => key === source);
  }
}

/** The former indexed messages, which several conventions still write. */
function foldFormer(out: Record<string, unknown>): void {
  const reasons = indexed(out, 'gen_ai.completion')
    .map((choice) => choice.finish_reason)
    .filter((reason) => typeof reason === 'string');
  if (reasons.length > 0) put(out, names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS, reasons, []);
  for (const [to, family] of [
    [names.ATTR_GEN_AI_INPUT_MESSAGES, 'gen_ai.prompt'],
    [names.ATTR_GEN_AI_OUTPUT_MESSAGES, 'gen_ai.completion'],
  ] as const) {
    const isSource = (key: string) =>
      /^\.[0-9]/.test(key.slice(family.length)) && key.startsWith(family);
    putMessages(out, to, formerMessages(out, family), isSource);
  }
}

/** Translates the members of a JSON object held by one attribute, which stays: it may say more. */
function unpack(out: Record<string, unknown>, key: string, aliases: readonly Alias[]): void {
  const members = parsed(out[key]);
  if (!isRecord(members)) return;
  for (const alias of aliases) translate(out, alias, members);
}

function parsed(value: unknown): unknown {
  return typeof value === 'string' ? parseJson(value) : value;
}
