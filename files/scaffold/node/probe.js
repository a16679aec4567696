// `scaffold-health`: exit 0 if the worker in this container is healthy.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const STATUS = process.env.SCAFFOLD_STATUS || '/tmp/scaffold-health.json';
const STALE_MS = 90_000;

/** Exit status, and the line that Docker keeps. */
export function verdict(path, now) {
  let status;
  try {
    status = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return [1, 'not ready yet'];
    throw error;
  }
  const age = now - status.at;
  if (age > STALE_MS) return [1, `no report for ${Math.round(age / 1000)} s`];
  if (status.healthy) return [0, 'ok'];
  const failing = Object.entries(status.wires).filter(([, wire]) => !wire.ok);
  return [1, failing.map(([name, wire]) => `${name}: ${wire.problem}`).join('; ')];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [code, line] = verdict(STATUS, Date.now());
  console.log(line);
  process.exitCode = code;
}
