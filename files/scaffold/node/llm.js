// Completions: the gateway with the project's key, or Ollama itself with Groq behind it (LLM_PROVIDER, requirements 3.8).

const TIMEOUT_MS = 60_000;
const GROQ_MODEL = 'llama-3.1-8b-instant';
const THOUGHTS = /<think>.*?<\/think>/gs;

/** Complete a prompt with a model of the gateway (an alias or a name); throws an Error without a secret. */
export async function complete(settings, prompt, { model, maxTokens, tags = [] }) {
  const messages = [{ role: 'user', content: prompt }];
  if (settings.provider === 'litellm') {
    if (!settings.litellmUrl) throw new Error('LITELLM_URL is not set');
    const metadata = tags.length ? { metadata: { tags } } : {};
    const body = { model, messages, max_tokens: maxTokens, ...metadata };
    return chat('litellm', settings.litellmUrl, settings.litellmKey, body);
  }
  try {
    return await ollama(settings, prompt, maxTokens);
  } catch (error) {
    if (!settings.groqKey) throw new Error(`${error.message}; groq: GROQ_API_KEY is not set`);
    const body = { model: GROQ_MODEL, messages, max_tokens: maxTokens };
    try {
      return await chat('groq', settings.groqUrl, settings.groqKey, body);
    } catch (second) {
      throw new Error(`${error.message}; ${second.message}`);
    }
  }
}

/** Request a URL; throws an Error with the failure only. */
export async function request(name, url, options = {}, timeoutMs = TIMEOUT_MS) {
  let answer;
  try {
    answer = await fetch(url, { ...options, signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    throw new Error(`${name}: ${error.name === 'TimeoutError' ? 'no answer in time' : 'no connection'}`);
  }
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new Error(`${name}: HTTP ${answer.status}`);
  }
  return answer;
}

async function chat(provider, url, key, body) {
  const answer = await request(provider, `${url}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const content = await answer.json();
  return { provider, model: content.model ?? body.model, text: withoutThoughts(content.choices[0].message.content) };
}

async function ollama(settings, prompt, maxTokens) {
  let model = settings.ollamaModel;
  if (!model) {
    const tags = await (await request('ollama', `${settings.ollamaUrl}/api/tags`)).json();
    if (!tags.models.length) throw new Error('ollama: has no model');
    model = tags.models[0].name;
  }
  const body = { model, prompt, stream: false, options: { num_predict: maxTokens } };
  const options = { method: 'POST', body: JSON.stringify(body) };
  const answer = await request('ollama', `${settings.ollamaUrl}/api/generate`, options);
  return { provider: 'ollama', model, text: withoutThoughts((await answer.json()).response) };
}

function withoutThoughts(text) {
  return (text ?? '').replace(THOUGHTS, '').trim();
}
