// SPDX-License-Identifier: Apache-2.0
/**
 * Who answers a call, and where: by the address that the client of an SDK calls. Does not know who stands behind a proxy.
 */
import type { Attributes } from '@opentelemetry/api';
import * as names from '../../semconv/index.ts';

/** Providers by the end of the host name: most interfaces are spoken by others than those who made them. */
const PROVIDERS: readonly (readonly [hostEnd: string, provider: string])[] = [
  ['.openai.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['.cognitiveservices.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_OPENAI],
  ['.services.ai.azure.com', names.GEN_AI_PROVIDER_NAME_VALUE_AZURE_AI_INFERENCE],
  ['.amazonaws.com', names.GEN_AI_PROVIDER_NAME_VALUE_AWS_BEDROCK],
  ['api.anthropic.com', names.GEN_AI_PROVIDER_NAME_VALUE_ANTHROPIC],
  ['api.cohere.ai', names.GEN_AI_PROVIDER_NAME_VALUE_COHERE],
  ['api.cohere.com', names.GEN_AI_PROVIDER_NAME_VALUE_COHERE],
  ['api.deepseek.com', names.GEN_AI_PROVIDER_NAME_VALUE_DEEPSEEK],
  ['api.groq.com', names.GEN_AI_PROVIDER_NAME_VALUE_GROQ],
  ['api.mistral.ai', names.GEN_AI_PROVIDER_NAME_VALUE_MISTRAL_AI],
  ['api.moonshot.ai', names.GEN_AI_PROVIDER_NAME_VALUE_MOONSHOT_AI],
  ['api.perplexity.ai', names.GEN_AI_PROVIDER_NAME_VALUE_PERPLEXITY],
  ['api.x.ai', names.GEN_AI_PROVIDER_NAME_VALUE_X_AI],
  ['generativelanguage.googleapis.com', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_GEMINI],
  ['-aiplatform.googleapis.com', names.GEN_AI_PROVIDER_NAME_VALUE_GCP_VERTEX_AI],
];

/** The address that was looked at last: most services have one, and every call asks. */
let last:
  | { readonly address: string; readonly provider: string; readonly found: Attributes }
  | undefined;

/** The attributes of a server, given its address; any host that is not known is named as the package is. */
export function serverOf(address: unknown, provider: string): Attributes {
  if (typeof address !== 'string') return lookUp(address, provider);
  if (last?.address !== address || last.provider !== provider) {
    last = { address, provider, found: lookUp(address, provider) };
  }
  return { ...last.found };
}

function lookUp(address: unknown, provider: string): Attributes {
  const attributes: Attributes = { [names.ATTR_GEN_AI_PROVIDER_NAME]: provider };
  const url = typeof address === 'string' || address instanceof URL ? URL.parse(address) : null;
  if (url === null) return attributes;
  const known = PROVIDERS.find(([hostEnd]) => url.hostname.endsWith(hostEnd));
  if (known !== undefined) attributes[names.ATTR_GEN_AI_PROVIDER_NAME] = known[1];
  attributes[names.ATTR_SERVER_ADDRESS] = url.hostname;
  attributes[names.ATTR_SERVER_PORT] = Number(url.port) || (url.protocol === 'http:' ? 80 : 443);
  return attributes;
}
