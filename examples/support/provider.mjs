// SPDX-License-Identifier: Apache-2.0
// A stand-in for a provider, so that the examples need no key and no network: answers the real `openai` client in its own
// wire format, with what `reply` says. In your service it is the provider itself.
import { createServer } from 'node:http';

/**
 * @param reply gives a text or `{ tool, arguments }`, from the body of a request
 */
export async function startProvider(reply) {
  let count = 0;
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString());
    count++;
    const answer = request.url.endsWith('/embeddings')
      ? embedded(body)
      : completed(body, reply(body));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const completed = ({ model }, answer) => {
    const isText = typeof answer === 'string';
    const call = {
      id: `call-${count}`,
      type: 'function',
      function: { name: answer.tool, arguments: JSON.stringify(answer.arguments) },
    };
    const message = isText
      ? { role: 'assistant', content: answer }
      : { role: 'assistant', content: null, tool_calls: [call] };
    return {
      id: `chatcmpl-${count}`,
      object: 'chat.completion',
      created: 1_790_000_000,
      model: `${model}-2026-08-01`,
      choices: [{ index: 0, message, finish_reason: isText ? 'stop' : 'tool_calls' }],
      usage: { prompt_tokens: 40, completion_tokens: 12, total_tokens: 52 },
    };
  };
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Two numbers a text: how often it speaks of money, and of time. Enough to find a paragraph by. */
function embedded({ model, input, encoding_format: format }) {
  const data = [input].flat().map((text, index) => {
    const count = (pattern) => text.match(pattern)?.length ?? 0;
    const vector = [1 + count(/fee|pay|cost|euro/gi), 1 + count(/day|week|month|when/gi)];
    const bytes = Buffer.from(Float32Array.from(vector).buffer);
    const embedding = format === 'base64' ? bytes.toString('base64') : vector;
    return { object: 'embedding', index, embedding };
  });
  return { object: 'list', model, data, usage: { prompt_tokens: 8, total_tokens: 8 } };
}
