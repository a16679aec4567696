// A BullMQ worker that reports its health: its wires, and whether it works on its queues.
//
// Environment: REDIS_URL, BULLMQ_QUEUES (translation), BULLMQ_CONCURRENCY (2), DATABASE_URL, DIRECT_DATABASE_URL,
// LLM_PROVIDER, LITELLM_URL, LITELLM_API_KEY, OLLAMA_HOST, OLLAMA_MODEL, GROQ_API_KEY, LANGFUSE_…

import { rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';

import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

import { complete } from './llm.js';
import { STATUS } from './probe.js';
import { read, SettingsError } from './settings.js';
import { configuredWires, Health } from './wires.js';

const EVERY_MS = 15_000;
const LONG = 2000; // characters from which the larger model translates (requirements 9.3)
const TAGS = ['project:coach-credit', 'task:translation'];

let settings;
try {
  settings = read(process.env);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  console.error(`the container's environment:\n${error.message}`);
  process.exit(1);
}

let lastError;
function logError(error) {
  if (lastError !== error.message) console.error(`redis: ${(lastError = error.message)}`);
}

// BullMQ waits for Redis without a limit; a health check does not.
const connection = new Redis(settings.redisUrl, { maxRetriesPerRequest: null });
const checking = new Redis(settings.redisUrl, { maxRetriesPerRequest: 1, commandTimeout: 5_000 });
for (const each of [connection, checking]) {
  each.on('error', logError);
  each.on('ready', () => (lastError = undefined));
}

async function work(job) {
  const { text, to = 'fr', ping } = job.data;
  if (ping !== undefined) return { value: ping, worker: hostname(), at: Date.now() };
  if (typeof text !== 'string' || !text) throw new Error('a job needs a text');
  const model = text.length > LONG ? 'qwen3-heavy' : 'groq-fast';
  const prompt = `Translate into ${to}, and answer with the translation only:\n\n${text}`;
  const answer = await complete(settings, prompt, { model, maxTokens: 4 * text.length + 64, tags: TAGS });
  return { translation: answer.text, model: answer.model, worker: hostname() };
}

const workers = settings.queues.map((name) => {
  const worker = new Worker(name, work, { connection, concurrency: settings.concurrency });
  worker.on('error', logError);
  worker.on('failed', (job, error) => console.error(`${name}: ${job?.id}: ${error.message}`));
  return worker;
});

async function working() {
  const idle = workers.filter((worker) => !worker.isRunning()).map((worker) => worker.name);
  if (idle.length) throw new Error(`not worked on: ${idle.join(', ')}`);
}

const health = new Health([...configuredWires(settings, checking), ['queues', working, 0]]);

async function writeReport() {
  const report = await health.report();
  await writeFile(`${STATUS}.new`, JSON.stringify({ at: Date.now(), ...report }));
  await rename(`${STATUS}.new`, STATUS);
}

await rm(STATUS, { force: true }); // of the container's last run
let writing = Promise.resolve();
const next = () => (writing = writing.then(writeReport).catch((error) => console.error(`health: ${error.message}`)));
next();
const timer = setInterval(next, EVERY_MS);
console.log(`working on ${settings.queues.join(', ')}`);

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    clearInterval(timer);
    await Promise.all(workers.map((worker) => worker.close())); // jobs that have begun are finished
    for (const each of [connection, checking]) each.disconnect();
    process.exit(0);
  });
}
