// SPDX-License-Identifier: Apache-2.0
/**
 * Decides which spans belong into the log: those around AI model invocations, decisions and oversight, whatever
 * convention wrote them. Does not see what a span will get later, so it is asked at start and again at the end.
 */

/** What is known of a span when the question is asked. */
export interface SpanFacts {
  /** Name of the instrumentation scope (the tracer). */
  readonly scopeName?: string | undefined;
  /** Not used by any rule today: names are free text in every convention. */
  readonly spanName?: string | undefined;
  readonly attributes?: Readonly<Record<string, unknown>> | undefined;
}

/** One rule of {@link isGoverned}, for documentation and for `doctor`. */
export interface GovernedMarker {
  readonly convention: string;
  /** Exact scope name, or a prefix if it ends in `*`. */
  readonly scope?: string;
  /** Exact attribute key, or a prefix if it ends in `*`. With `scope`, both must hold. */
  readonly attribute?: string;
  readonly why: string;
}

/**
 * The rules, in words. A marker is something a convention sets on its own spans only: names that a convention's span
 * processor spreads over every span of a request (HTTP and database calls included) are left out on purpose.
 */
export const GOVERNED_MARKERS: readonly GovernedMarker[] = [
  {
    convention: 'aigov',
    scope: 'sealspan*',
    why: 'Spans of ours: decisions, oversight, models without an SDK.',
  },
  {
    convention: 'aigov',
    attribute: 'aigov.*',
    why: 'Whoever sets a governance attribute asks for the span to be kept.',
  },
  {
    convention: 'gen_ai',
    attribute: 'gen_ai.*',
    why: 'Except gen_ai.conversation.id and gen_ai.agent.name alone, which applications and processors also put on unrelated spans within a conversation.',
  },
  {
    convention: 'mcp',
    attribute: 'mcp.*',
    why: 'Calls over the Model Context Protocol: tools, prompts, resources.',
  },
  {
    convention: 'openinference',
    attribute: 'openinference.span.kind',
    why: 'Set on every OpenInference span when it starts.',
  },
  {
    convention: 'openinference',
    attribute: 'llm.*',
    why: 'OpenInference model attributes; llm.request.type of OpenLLMetry too.',
  },
  {
    convention: 'openllmetry',
    scope: '@traceloop/*',
    why: 'Its decorators start spans without attributes, so the scope has to decide.',
  },
  {
    convention: 'openllmetry',
    attribute: 'traceloop.span.kind',
    why: 'Not traceloop.workflow.name, entity.path or association.properties: its processor spreads those.',
  },
  {
    convention: 'openllmetry',
    attribute: 'traceloop.entity.input',
    why: 'Input of a workflow, task, agent or tool.',
  },
  {
    convention: 'openllmetry',
    attribute: 'traceloop.entity.output',
    why: 'Output of a workflow, task, agent or tool.',
  },
  {
    convention: 'vercel_ai',
    attribute: 'ai.operationId',
    why: 'On every span of the Vercel AI SDK, when it starts.',
  },
  {
    convention: 'vercel_ai',
    scope: 'ai',
    attribute: 'ai.*',
    why: 'Both together, since other applications use either for things of their own.',
  },
  {
    convention: 'langfuse',
    scope: 'langfuse-sdk',
    why: 'Langfuse starts spans without attributes, so the scope has to decide.',
  },
  {
    convention: 'langfuse',
    attribute: 'langfuse.observation.type',
    why: 'Not other langfuse names: its processor puts environment, trace name and prompt name on every span.',
  },
];

/**
 * Whether a span belongs into the log, by the rules of {@link GOVERNED_MARKERS}.
 * Pure, and without allocation: it runs for every span of the service.
 */
export function isGoverned(span: SpanFacts): boolean {
  const scope = span.scopeName;
  let vercelScope = false;
  if (scope !== undefined) {
    if (scope === 'ai') vercelScope = true;
    else if (
      scope.startsWith('sealspan') ||
      scope === 'langfuse-sdk' ||
      scope.startsWith('@traceloop/')
    ) {
      return true;
    }
  }
  // for…in and not Object.keys, which would allocate an array per span.
  for (const key in span.attributes) {
    if (marks(key, vercelScope)) return true;
  }
  return false;
}

/** Switches on the first letter, since nearly every key of an ungoverned span fails there. */
function marks(key: string, vercelScope: boolean): boolean {
  switch (key.charCodeAt(0)) {
    case 0x61: // a
      return (
        key.startsWith('aigov.') ||
        key === 'ai.operationId' ||
        (vercelScope && key.startsWith('ai.'))
      );
    case 0x67: // g
      return (
        key.startsWith('gen_ai.') && key !== 'gen_ai.conversation.id' && key !== 'gen_ai.agent.name'
      );
    case 0x6c: // l
      return key.startsWith('llm.') || key === 'langfuse.observation.type';
    case 0x6d: // m
      return key.startsWith('mcp.');
    case 0x6f: // o
      return key === 'openinference.span.kind';
    case 0x74: // t
      return (
        key === 'traceloop.span.kind' ||
        key === 'traceloop.entity.input' ||
        key === 'traceloop.entity.output'
      );
    default:
      return false;
  }
}
