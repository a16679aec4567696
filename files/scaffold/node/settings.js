// The settings of the container from its environment, read once and checked completely.

export const GROQ = 'https://api.groq.com/openai/v1';

/** All problems of an environment, one line each, without values, which may be secret. */
export class SettingsError extends Error {}

/** The settings of an environment. Where projects use two names for one thing, it accepts both. */
export function read(environment) {
  const problems = [];

  function url(names, schemes = ['http:', 'https:']) {
    const name = names.find((each) => environment[each]);
    if (name === undefined) return undefined;
    if (!URL.canParse(environment[name]) || !schemes.includes(new URL(environment[name]).protocol)) {
      problems.push(`${name}: must be a URL, ${schemes[0]}//HOST…`);
    }
    return environment[name].replace(/\/+$/, '');
  }

  function needs(what, of, name) {
    if (what && !environment[name]) problems.push(`${name}: must be set, because ${of} is`);
    return environment[name] ?? '';
  }

  const provider = environment.LLM_PROVIDER || 'litellm';
  const litellmUrl = url(['LITELLM_URL', 'LITELLM_HOST']);
  const langfuseUrl = url(['LANGFUSE_HOST', 'LANGFUSE_BASE_URL']);
  const ollamaUrl = url(['OLLAMA_HOST']);
  const redisUrl = url(['REDIS_URL'], ['redis:', 'rediss:']);
  if (!['litellm', 'ollama'].includes(provider)) problems.push('LLM_PROVIDER: must be litellm or ollama');
  if (provider === 'ollama' && !ollamaUrl) {
    problems.push('OLLAMA_HOST: must be set, because LLM_PROVIDER is ollama');
  }
  if (!redisUrl) problems.push('REDIS_URL: must be set, for the queues');
  const settings = {
    queues: (environment.BULLMQ_QUEUES || 'translation').split(',').map((name) => name.trim()),
    concurrency: Number(environment.BULLMQ_CONCURRENCY || '2'),
    redisUrl,
    databaseUrl: url(['DATABASE_URL'], ['postgresql:', 'postgres:']),
    directDatabaseUrl: url(['DIRECT_DATABASE_URL'], ['postgresql:', 'postgres:']),
    provider,
    litellmUrl,
    litellmKey: needs(litellmUrl, "the gateway's address", 'LITELLM_API_KEY'),
    ollamaUrl,
    ollamaModel: environment.OLLAMA_MODEL,
    groqUrl: url(['GROQ_BASE_URL']) ?? GROQ,
    groqKey: environment.GROQ_API_KEY ?? '',
    langfuseUrl,
    langfusePublicKey: needs(langfuseUrl, "Langfuse's address", 'LANGFUSE_PUBLIC_KEY'),
    langfuseSecretKey: needs(langfuseUrl, "Langfuse's address", 'LANGFUSE_SECRET_KEY'),
  };
  if (!Number.isInteger(settings.concurrency) || settings.concurrency < 1) {
    problems.push('BULLMQ_CONCURRENCY: must be a number above 0');
  }
  if (problems.length) throw new SettingsError(problems.join('\n'));
  return settings;
}
