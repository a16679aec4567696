// The wires of the container, each with a check that proves that it works with its credentials.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

import pg from 'pg';

import { complete, request } from './llm.js';

const TIMEOUT_MS = 5_000;
const KEY_EXPIRES_S = 60; // of a key that a check writes to Redis
const LLM_EVERY_MS = 600_000; // a completion costs a card's time
const RETRY_MS = 15_000; // after an expensive check that failed

/** The wires in the settings: [name, check, milliseconds that a success counts]. */
export function configuredWires(settings, redis) {
  const wires = [['redis', () => writeKey(redis), 0]];
  if (settings.databaseUrl) wires.push(['postgres', () => postgres(settings.databaseUrl), 0]);
  if (settings.directDatabaseUrl) {
    wires.push(['postgres-direct', () => postgres(settings.directDatabaseUrl), 0]);
  }
  if (settings.litellmUrl || settings.provider === 'ollama') {
    const prompt = 'Answer with one word: ready?';
    wires.push(['llm', () => complete(settings, prompt, { model: 'cheap', maxTokens: 8 }), LLM_EVERY_MS]);
  }
  if (settings.langfuseUrl) wires.push(['langfuse', () => langfuse(settings), 0]);
  return wires;
}

/** Health of all wires, checked in parallel, each as often as its check is worth. */
export class Health {
  constructor(wires, clock = Date.now) {
    this.wires = wires;
    this.clock = clock;
    this.states = new Map();
  }

  async report() {
    await Promise.all(this.wires.map((wire) => this.check(wire)));
    const entries = this.wires.map(([name]) => {
      const { problem } = this.states.get(name);
      return [name, problem ? { ok: false, problem } : { ok: true }];
    });
    return { healthy: entries.every(([, entry]) => entry.ok), wires: Object.fromEntries(entries) };
  }

  async check([name, check, everyMs]) {
    const before = this.states.get(name);
    const age = before ? this.clock() - before.at : Infinity;
    if (age < (before?.problem ? Math.min(everyMs, RETRY_MS) : everyMs)) return;
    let problem;
    try {
      await check();
    } catch (error) {
      problem = error.message || error.constructor.name;
    }
    this.states.set(name, { problem, at: this.clock() });
    if (!before || before.problem !== problem) console.log(`${name}: ${problem ?? 'works'}`);
  }
}

async function postgres(url) {
  const { username, pathname } = new URL(url);
  const expected = [decodeURIComponent(username), decodeURIComponent(pathname.slice(1))];
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  client.on('error', () => {}); // the query fails as well when the connection ends
  try {
    await client.connect();
    for (const number of [20, 21]) {
      const text = 'SELECT current_user AS role, current_database() AS name, $1::int * 2 AS twice';
      const { rows } = await client.query({ name: 'scaffold', text, values: [number] });
      if (rows[0].twice !== number * 2) throw new Error('a prepared statement has another result');
      if (rows[0].role !== expected[0] || rows[0].name !== expected[1]) {
        throw new Error(`is ${rows[0].name} as ${rows[0].role}, not ${expected[1]} as ${expected[0]}`);
      }
    }
  } finally {
    await client.end().catch(() => {});
  }
}

async function writeKey(redis) {
  const value = randomBytes(8).toString('hex');
  const key = `scaffold:wire:${hostname()}:${value}`;
  await redis.set(key, value, 'EX', KEY_EXPIRES_S);
  if ((await redis.get(key)) !== value) throw new Error('the written key is missing');
}

async function langfuse(settings) {
  const keys = Buffer.from(`${settings.langfusePublicKey}:${settings.langfuseSecretKey}`).toString('base64');
  const headers = { authorization: `Basic ${keys}` };
  const answer = await request('langfuse', `${settings.langfuseUrl}/api/public/projects`, { headers }, TIMEOUT_MS);
  await answer.body?.cancel();
}
