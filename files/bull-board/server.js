// Bull Board over the BullMQ queues of several Redis databases, behind one login.
//
// Environment:
//   BULL_BOARD_USER, BULL_BOARD_PASSWORD   the login
//   REDIS_HOST, REDIS_PORT                 where the queues are
//   REDIS_USERNAME, REDIS_PASSWORD         a user that may select each of the databases
//   REDIS_DATABASES                        "0=augmenter,5=renov-bati": each index, and the name of its queues here
//   PORT                                   3100 if it is not set

import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { Queue } from 'bullmq';
import express from 'express';
import { Redis } from 'ioredis';

const DISCOVER_EVERY_MS = 60_000;
const PING_TIMEOUT_MS = 2_000;
const META = /^bull:([^:]+):meta$/; // BullMQ keeps one such hash for each queue

function setting(name, fallback) {
  const value = process.env[name] ?? fallback;
  if (!value) {
    console.error(`bull-board: ${name} is not set`);
    process.exit(1);
  }
  return value;
}

function databases(text) {
  return text.split(',').map((entry) => {
    const [, index, name] = /^(\d+)=([\w-]+)$/.exec(entry) ?? [];
    if (name === undefined) {
      console.error(`bull-board: REDIS_DATABASES has ${entry}, expected INDEX=NAME, such as 0=augmenter`);
      process.exit(1);
    }
    return { index: Number(index), name };
  });
}

/** One Redis database: a connection that all of its queues share, and the queues found so far. */
class Database {
  constructor({ index, name }) {
    this.name = name;
    this.adapters = new Map();
    this.lastError = undefined;
    this.redis = new Redis({
      host: setting('REDIS_HOST'),
      port: Number(setting('REDIS_PORT', '6379')),
      username: setting('REDIS_USERNAME'),
      password: setting('REDIS_PASSWORD'),
      db: index,
      maxRetriesPerRequest: null,
    });
    this.redis.on('error', (error) => this.logError(error));
    this.redis.on('ready', () => (this.lastError = undefined));
  }

  /** Log an error once, not at every attempt to connect again. */
  logError(error) {
    if (this.lastError !== error.message) {
      this.lastError = error.message;
      console.error(`bull-board: ${this.name}: ${error.message}`);
    }
  }

  async discover() {
    const found = new Set();
    for await (const keys of this.redis.scanStream({ match: 'bull:*:meta', type: 'hash', count: 1000 })) {
      for (const key of keys) {
        const queue = META.exec(key)?.[1];
        if (queue) found.add(queue);
      }
    }
    for (const queue of [...this.adapters.keys()].filter((known) => !found.has(known))) {
      this.adapters.delete(queue);
    }
    for (const queue of [...found].filter((name) => !this.adapters.has(name))) {
      this.adapters.set(queue, this.adapter(queue));
      console.log(`bull-board: found ${this.name}:${queue}`);
    }
  }

  adapter(name) {
    // Reading a queue must not change the metadata of its owner.
    const queue = new Queue(name, { connection: this.redis, skipMetasUpdate: true, skipVersionCheck: true });
    queue.on('error', (error) => this.logError(error));
    // Queues of two projects may have the same name: the prefix with the database's name groups them.
    return new BullMQAdapter(queue, { prefix: `${this.name}:`, delimiter: ':' });
  }

  async ping() {
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error('no answer')), PING_TIMEOUT_MS).unref();
    });
    await Promise.race([this.redis.ping(), late]);
  }
}

const sha256 = (text) => createHash('sha256').update(text).digest();
const login = sha256(`${setting('BULL_BOARD_USER')}:${setting('BULL_BOARD_PASSWORD')}`);

function authenticate(request, response, next) {
  const [scheme, credentials = ''] = (request.headers.authorization ?? '').split(' ');
  const supplied = sha256(Buffer.from(credentials, 'base64').toString());
  if (scheme.toLowerCase() === 'basic' && timingSafeEqual(supplied, login)) {
    next();
  } else {
    response.set('WWW-Authenticate', 'Basic realm="Bull Board"').status(401).send('Authentication required');
  }
}

const served = databases(setting('REDIS_DATABASES')).map((database) => new Database(database));
const ui = new ExpressAdapter();
const board = createBullBoard({ queues: [], serverAdapter: ui, options: { uiConfig: { boardTitle: 'Queues' } } });

async function discover() {
  for (const database of served) {
    try {
      await database.discover();
    } catch (error) {
      database.logError(error);
    }
  }
  board.replaceQueues(served.flatMap((database) => [...database.adapters.values()]));
}

const app = express();
app.disable('x-powered-by');
app.get('/health', async (_, response) => {
  const answers = await Promise.allSettled(served.map((database) => database.ping()));
  const silent = served.filter((_, position) => answers[position].status === 'rejected');
  response.status(silent.length ? 503 : 200).json({ silent: silent.map((database) => database.name) });
});
app.use(authenticate, ui.getRouter());

const server = createServer(app).listen(Number(setting('PORT', '3100')), () => {
  console.log(`bull-board: listening on ${server.address().port}`);
});

let discovery = Promise.resolve();
const rediscover = () => (discovery = discovery.then(discover));
rediscover();
const timer = setInterval(rediscover, DISCOVER_EVERY_MS);

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    clearInterval(timer);
    for (const database of served) database.redis.disconnect();
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
