// What a handler for Node.js finds without importing it.

import { Buffer } from 'buffer';
import { log } from 'hydrant:transform/log@1.0.0';

const say = (level) => (...parts) =>
  log(level, parts.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' '));

export { Buffer };
export const process = { env: {}, nextTick: (f, ...args) => Promise.resolve().then(() => f(...args)) };
export const console = {
  debug: say('debug'),
  log: say('info'),
  info: say('info'),
  warn: say('warn'),
  error: say('warn'),
};
