// SPDX-License-Identifier: Apache-2.0
/**
 * The alias tables: which names of other conventions, and of older GenAI conventions, mean what the GenAI names mean.
 * Data only; a name whose meaning is not certain is not in them. conventions.ts applies them.
 */
import * as aigov from './attributes.ts';
import * as names from './gen-ai.ts';

/** A convention spans are written in, a value of `aigov.source.convention`. */
export type Convention = (typeof aigov.AIGOV_SOURCE_CONVENTION_VALUES)[number];

/** How a value changes on its way to the target name. */
export type AliasForm = 'number' | 'list' | 'provider' | 'milliseconds';

/** One line of an alias table. */
export interface Alias {
  readonly to: string;
  /** Source names, the preferred one first. */
  readonly from: readonly string[];
  readonly form?: AliasForm;
  /** Values by their source spelling; a value that is not listed is not translated. */
  readonly values?: Readonly<Record<string, string>>;
  /** Only on spans of this operation. */
  readonly when?: string;
}

// Operations in use that upstream has no name for yet.
const RUN_GUARDRAIL = 'run_guardrail';
const RERANK = 'rerank';

const CHAT = names.GEN_AI_OPERATION_NAME_VALUE_CHAT;
const TOOL = names.GEN_AI_OPERATION_NAME_VALUE_EXECUTE_TOOL;
const AGENT = names.GEN_AI_OPERATION_NAME_VALUE_INVOKE_AGENT;
const WORKFLOW = names.GEN_AI_OPERATION_NAME_VALUE_INVOKE_WORKFLOW;
const RETRIEVAL = names.GEN_AI_OPERATION_NAME_VALUE_RETRIEVAL;
const EMBEDDINGS = names.GEN_AI_OPERATION_NAME_VALUE_EMBEDDINGS;
const INPUT_TOKENS = names.ATTR_GEN_AI_USAGE_INPUT_TOKENS;
const OUTPUT_TOKENS = names.ATTR_GEN_AI_USAGE_OUTPUT_TOKENS;
const CACHE_READ = names.ATTR_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS;
const CACHE_WRITE = names.ATTR_GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS;
const REASONING = names.ATTR_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS;

/** Names the GenAI conventions had before the pinned commit; they apply whatever the convention of the span. */
export const FORMER_ALIASES: readonly Alias[] = [
  { to: names.ATTR_GEN_AI_PROVIDER_NAME, from: ['gen_ai.system'], form: 'provider' },
  { to: INPUT_TOKENS, from: ['gen_ai.usage.prompt_tokens'], form: 'number' },
  { to: OUTPUT_TOKENS, from: ['gen_ai.usage.completion_tokens'], form: 'number' },
  { to: CACHE_READ, from: ['gen_ai.usage.cache_read_input_tokens'], form: 'number' },
  {
    to: CACHE_WRITE,
    from: ['gen_ai.usage.cache_creation.input_tokens', 'gen_ai.usage.cache_creation_input_tokens'],
    form: 'number',
  },
  { to: REASONING, from: ['gen_ai.usage.reasoning_tokens'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_SEED, from: ['gen_ai.openai.request.seed'], form: 'number' },
  {
    to: names.ATTR_OPENAI_REQUEST_SERVICE_TIER,
    from: ['gen_ai.openai.request.service_tier'],
  },
  {
    to: names.ATTR_OPENAI_RESPONSE_SERVICE_TIER,
    from: ['gen_ai.openai.response.service_tier'],
  },
  {
    to: names.ATTR_OPENAI_RESPONSE_SYSTEM_FINGERPRINT,
    from: ['gen_ai.openai.response.system_fingerprint'],
  },
  {
    to: names.ATTR_GEN_AI_RETRIEVAL_TOP_K,
    from: ['gen_ai.request.top_k'],
    form: 'number',
    when: RETRIEVAL,
  },
];

/** The alias tables, by convention; FORMER_ALIASES come after each. */
export const ALIASES: Readonly<Record<Convention, readonly Alias[]>> = {
  aigov: [],
  gen_ai: [],
  openinference: [
    {
      to: names.ATTR_GEN_AI_OPERATION_NAME,
      from: ['openinference.span.kind'],
      // CHAIN is any step of a program, so it is no workflow for certain; EVALUATOR and PROMPT have no operation.
      values: {
        LLM: CHAT,
        EMBEDDING: EMBEDDINGS,
        RETRIEVER: RETRIEVAL,
        RERANKER: RERANK,
        TOOL,
        AGENT,
        GUARDRAIL: RUN_GUARDRAIL,
      },
    },
    { to: names.ATTR_GEN_AI_PROVIDER_NAME, from: ['llm.provider', 'llm.system'], form: 'provider' },
    {
      to: names.ATTR_GEN_AI_REQUEST_MODEL,
      from: [
        'llm.request.model_name',
        'llm.model_name',
        'embedding.model_name',
        'reranker.model_name',
      ],
    },
    { to: names.ATTR_GEN_AI_RESPONSE_MODEL, from: ['llm.response.model_name'] },
    { to: INPUT_TOKENS, from: ['llm.token_count.prompt'], form: 'number' },
    { to: OUTPUT_TOKENS, from: ['llm.token_count.completion'], form: 'number' },
    { to: CACHE_READ, from: ['llm.token_count.prompt_details.cache_read'], form: 'number' },
    { to: CACHE_WRITE, from: ['llm.token_count.prompt_details.cache_write'], form: 'number' },
    { to: REASONING, from: ['llm.token_count.completion_details.reasoning'], form: 'number' },
    {
      to: names.ATTR_GEN_AI_USAGE_AUDIO_INPUT_TOKENS,
      from: ['llm.token_count.prompt_details.audio'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS,
      from: ['llm.token_count.completion_details.audio'],
      form: 'number',
    },
    { to: names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS, from: ['llm.finish_reason'], form: 'list' },
    { to: names.ATTR_GEN_AI_TOOL_NAME, from: ['tool.name'], when: TOOL },
    { to: names.ATTR_GEN_AI_TOOL_DESCRIPTION, from: ['tool.description'], when: TOOL },
    { to: names.ATTR_GEN_AI_TOOL_CALL_ID, from: ['tool_call.id', 'tool.id'], when: TOOL },
    {
      to: names.ATTR_GEN_AI_TOOL_CALL_ARGUMENTS,
      from: ['input.value', 'tool.parameters'],
      when: TOOL,
    },
    { to: names.ATTR_GEN_AI_TOOL_CALL_RESULT, from: ['output.value'], when: TOOL },
    { to: names.ATTR_GEN_AI_RETRIEVAL_QUERY_TEXT, from: ['input.value'], when: RETRIEVAL },
    { to: names.ATTR_GEN_AI_CONVERSATION_ID, from: ['session.id'] },
    { to: names.ATTR_GEN_AI_AGENT_NAME, from: ['agent.name'] },
    { to: names.ATTR_GEN_AI_PROMPT_NAME, from: ['prompt.id'] },
    { to: names.ATTR_GEN_AI_PROMPT_VERSION, from: ['llm.prompt_template.version'] },
    { to: names.ATTR_GEN_AI_EVALUATION_NAME, from: ['evaluation.name'] },
    {
      to: names.ATTR_GEN_AI_EVALUATION_SCORE_VALUE,
      from: ['evaluation.score'],
      form: 'number',
    },
    { to: names.ATTR_GEN_AI_EVALUATION_SCORE_LABEL, from: ['evaluation.label'] },
    { to: names.ATTR_GEN_AI_EVALUATION_EXPLANATION, from: ['evaluation.explanation'] },
  ],
  openllmetry: [
    {
      to: names.ATTR_GEN_AI_OPERATION_NAME,
      from: ['llm.request.type'],
      values: {
        chat: CHAT,
        completion: names.GEN_AI_OPERATION_NAME_VALUE_TEXT_COMPLETION,
        embedding: EMBEDDINGS,
        rerank: RERANK,
      },
    },
    {
      to: names.ATTR_GEN_AI_OPERATION_NAME,
      from: ['traceloop.span.kind'],
      values: { workflow: WORKFLOW, agent: AGENT, tool: TOOL },
    },
    { to: names.ATTR_GEN_AI_REQUEST_TOP_K, from: ['llm.top_k'], form: 'number' },
    {
      to: names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY,
      from: ['llm.frequency_penalty'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY,
      from: ['llm.presence_penalty'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES,
      from: ['llm.chat.stop_sequences'],
      form: 'list',
    },
    { to: names.ATTR_GEN_AI_TOOL_DEFINITIONS, from: ['llm.request.functions'] },
    { to: names.ATTR_GEN_AI_WORKFLOW_NAME, from: ['traceloop.workflow.name'] },
    { to: names.ATTR_GEN_AI_WORKFLOW_NAME, from: ['traceloop.entity.name'], when: WORKFLOW },
    { to: names.ATTR_GEN_AI_AGENT_NAME, from: ['traceloop.entity.name'], when: AGENT },
    { to: names.ATTR_GEN_AI_TOOL_NAME, from: ['traceloop.entity.name'], when: TOOL },
    {
      to: names.ATTR_GEN_AI_TOOL_CALL_ARGUMENTS,
      from: ['traceloop.entity.input'],
      when: TOOL,
    },
    { to: names.ATTR_GEN_AI_TOOL_CALL_RESULT, from: ['traceloop.entity.output'], when: TOOL },
    {
      to: names.ATTR_GEN_AI_CONVERSATION_ID,
      from: [
        'traceloop.association.properties.conversation_id',
        'traceloop.association.properties.session_id',
      ],
    },
    { to: names.ATTR_USER_ID, from: ['traceloop.association.properties.user_id'] },
    // A failed guard may have found something or may itself have broken, so its status is no verdict.
    { to: aigov.ATTR_AIGOV_POLICY_ID, from: ['gen_ai.guardrail.name'] },
  ],
  vercel_ai: [
    {
      to: names.ATTR_GEN_AI_OPERATION_NAME,
      from: ['ai.operationId'],
      // The outer spans are what the SDK's own GenAI writer calls invoke_agent: a loop around model and tool calls.
      values: {
        'ai.generateText': AGENT,
        'ai.streamText': AGENT,
        'ai.generateObject': AGENT,
        'ai.streamObject': AGENT,
        'ai.generateText.doGenerate': CHAT,
        'ai.streamText.doStream': CHAT,
        'ai.generateObject.doGenerate': CHAT,
        'ai.streamObject.doStream': CHAT,
        'ai.embed': EMBEDDINGS,
        'ai.embed.doEmbed': EMBEDDINGS,
        'ai.embedMany': EMBEDDINGS,
        'ai.embedMany.doEmbed': EMBEDDINGS,
        'ai.rerank': RERANK,
        'ai.rerank.doRerank': RERANK,
        'ai.toolCall': TOOL,
      },
    },
    { to: names.ATTR_GEN_AI_PROVIDER_NAME, from: ['ai.model.provider'], form: 'provider' },
    { to: names.ATTR_GEN_AI_REQUEST_MODEL, from: ['ai.model.id'] },
    { to: names.ATTR_GEN_AI_RESPONSE_MODEL, from: ['ai.response.model'] },
    { to: names.ATTR_GEN_AI_RESPONSE_ID, from: ['ai.response.id'] },
    {
      to: names.ATTR_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
      from: ['ai.response.msToFirstChunk', 'ai.stream.msToFirstChunk'],
      form: 'milliseconds',
    },
    { to: INPUT_TOKENS, from: ['ai.usage.inputTokens', 'ai.usage.promptTokens'], form: 'number' },
    {
      to: OUTPUT_TOKENS,
      from: ['ai.usage.outputTokens', 'ai.usage.completionTokens'],
      form: 'number',
    },
    {
      to: CACHE_READ,
      from: ['ai.usage.inputTokenDetails.cacheReadTokens', 'ai.usage.cachedInputTokens'],
      form: 'number',
    },
    { to: CACHE_WRITE, from: ['ai.usage.inputTokenDetails.cacheWriteTokens'], form: 'number' },
    {
      to: REASONING,
      from: ['ai.usage.outputTokenDetails.reasoningTokens', 'ai.usage.reasoningTokens'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_RESPONSE_FINISH_REASONS,
      from: ['ai.response.finishReason'],
      form: 'list',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_MAX_TOKENS,
      from: ['ai.settings.maxOutputTokens', 'ai.settings.maxTokens'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_TEMPERATURE,
      from: ['ai.settings.temperature'],
      form: 'number',
    },
    { to: names.ATTR_GEN_AI_REQUEST_TOP_P, from: ['ai.settings.topP'], form: 'number' },
    { to: names.ATTR_GEN_AI_REQUEST_TOP_K, from: ['ai.settings.topK'], form: 'number' },
    { to: names.ATTR_GEN_AI_REQUEST_SEED, from: ['ai.settings.seed'], form: 'number' },
    {
      to: names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY,
      from: ['ai.settings.frequencyPenalty'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY,
      from: ['ai.settings.presencePenalty'],
      form: 'number',
    },
    {
      to: names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES,
      from: ['ai.settings.stopSequences'],
      form: 'list',
    },
    { to: names.ATTR_GEN_AI_TOOL_NAME, from: ['ai.toolCall.name'] },
    { to: names.ATTR_GEN_AI_TOOL_CALL_ID, from: ['ai.toolCall.id'] },
    { to: names.ATTR_GEN_AI_TOOL_CALL_ARGUMENTS, from: ['ai.toolCall.args'] },
    { to: names.ATTR_GEN_AI_TOOL_CALL_RESULT, from: ['ai.toolCall.result'] },
    { to: names.ATTR_GEN_AI_AGENT_NAME, from: ['ai.telemetry.functionId'] },
    {
      to: names.ATTR_GEN_AI_CONVERSATION_ID,
      from: ['ai.telemetry.metadata.conversationId', 'ai.telemetry.metadata.sessionId'],
    },
    { to: names.ATTR_USER_ID, from: ['ai.telemetry.metadata.userId'] },
  ],
  langfuse: [
    {
      to: names.ATTR_GEN_AI_OPERATION_NAME,
      from: ['langfuse.observation.type'],
      values: {
        generation: CHAT,
        embedding: EMBEDDINGS,
        retriever: RETRIEVAL,
        agent: AGENT,
        tool: TOOL,
        guardrail: RUN_GUARDRAIL,
      },
    },
    { to: names.ATTR_GEN_AI_REQUEST_MODEL, from: ['langfuse.observation.model.name'] },
    {
      to: names.ATTR_GEN_AI_TOOL_CALL_ARGUMENTS,
      from: ['langfuse.observation.input'],
      when: TOOL,
    },
    { to: names.ATTR_GEN_AI_TOOL_CALL_RESULT, from: ['langfuse.observation.output'], when: TOOL },
    { to: names.ATTR_GEN_AI_CONVERSATION_ID, from: ['langfuse.session.id', 'session.id'] },
    { to: names.ATTR_USER_ID, from: ['langfuse.user.id'] },
    { to: names.ATTR_GEN_AI_WORKFLOW_NAME, from: ['langfuse.trace.name'] },
    { to: names.ATTR_GEN_AI_PROMPT_NAME, from: ['langfuse.observation.prompt.name'] },
    { to: names.ATTR_GEN_AI_PROMPT_VERSION, from: ['langfuse.observation.prompt.version'] },
  ],
};

/** Members of a JSON object of request parameters, in the spellings of the providers. */
export const PARAMETER_ALIASES: readonly Alias[] = [
  {
    to: names.ATTR_GEN_AI_REQUEST_MAX_TOKENS,
    from: ['max_completion_tokens', 'max_output_tokens', 'max_tokens', 'maxTokens'],
    form: 'number',
  },
  { to: names.ATTR_GEN_AI_REQUEST_TEMPERATURE, from: ['temperature'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_TOP_P, from: ['top_p', 'topP'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_TOP_K, from: ['top_k', 'topK'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_SEED, from: ['seed'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_CHOICE_COUNT, from: ['n'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_FREQUENCY_PENALTY, from: ['frequency_penalty'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_PRESENCE_PENALTY, from: ['presence_penalty'], form: 'number' },
  { to: names.ATTR_GEN_AI_REQUEST_STOP_SEQUENCES, from: ['stop', 'stop_sequences'], form: 'list' },
  { to: names.ATTR_GEN_AI_REQUEST_REASONING_LEVEL, from: ['reasoning_effort'] },
];

/** Members of `langfuse.observation.usage_details`. */
export const LANGFUSE_USAGE_ALIASES: readonly Alias[] = [
  { to: INPUT_TOKENS, from: ['input', 'input_tokens', 'prompt_tokens'], form: 'number' },
  { to: OUTPUT_TOKENS, from: ['output', 'output_tokens', 'completion_tokens'], form: 'number' },
  {
    to: CACHE_READ,
    from: ['input_cached_tokens', 'cache_read_input_tokens', 'input_cache_read'],
    form: 'number',
  },
  {
    to: CACHE_WRITE,
    from: ['cache_creation_input_tokens', 'input_cache_creation'],
    form: 'number',
  },
  { to: REASONING, from: ['output_reasoning_tokens'], form: 'number' },
];

/** Provider spellings, the longer before its beginning; each also stands before a dot or a hyphen and more. */
export const PROVIDER_SPELLINGS: readonly (readonly [spelling: string, provider: string])[] = [
  ['google.vertex', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
  ['google-vertex', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
  ['vertex_ai', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
  ['vertexai', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
  ['google.generative-ai', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI],
  ['gemini', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI],
  ['google', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEN_AI],
  ['amazon-bedrock', names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK],
  ['bedrock', names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK],
  ['aws', names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK],
  ['azure-openai', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['az.ai.openai', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['az.ai.inference', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_INFERENCE],
  ['watsonx', names.GEN_AI_PROVIDER_NAME_VALUE_IBM_WATSONX_AI],
  ['mistralai', names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI],
  ['mistral', names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI],
  ['moonshot', names.GEN_AI_PROVIDER_NAME_VALUE_MOONSHOT_AI],
  ['xai', names.GEN_AI_PROVIDER_NAME_VALUE_X_AI],
  ['openai', names.GEN_AI_PROVIDER_NAME_VALUE_OPENAI],
  ['anthropic', names.GEN_AI_PROVIDER_NAME_VALUE_ANTHROPIC],
  ['cohere', names.GEN_AI_PROVIDER_NAME_VALUE_COHERE],
  ['groq', names.GEN_AI_PROVIDER_NAME_VALUE_GROQ],
  ['deepseek', names.GEN_AI_PROVIDER_NAME_VALUE_DEEPSEEK],
  ['perplexity', names.GEN_AI_PROVIDER_NAME_VALUE_PERPLEXITY],
];
