// `scaffold-job [QUEUE] [DATA-AS-JSON]`: put a job into a queue, wait for its result, and print it with the job's id.

import { Queue, QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';

import { read } from './settings.js';

const WAIT_MS = 60_000;

const settings = read(process.env);
const [name = settings.queues[0], data = '{"ping": "pong"}'] = process.argv.slice(2);
const connection = new Redis(settings.redisUrl, { maxRetriesPerRequest: null });
const queue = new Queue(name, { connection });
// From the first event on: later events alone would lack a job that ends before the listener is ready.
const events = new QueueEvents(name, { connection: connection.duplicate(), lastEventId: '0-0' });
let code = 0;
try {
  await events.waitUntilReady();
  const expiry = { age: 3600 };
  const job = await queue.add('scaffold', JSON.parse(data), { removeOnComplete: expiry, removeOnFail: expiry });
  console.log(JSON.stringify({ id: job.id, result: await job.waitUntilFinished(events, WAIT_MS) }));
} catch (error) {
  console.error(`scaffold-job: ${error.message}`);
  code = 1;
}
process.exit(code); // the listener would keep the process alive
