// What a handler for Node.js finds without importing it.

import { Buffer } from 'buffer';
import { log } from 'hydrant:transform/log@1.0.0';

// While the component is built there is no log yet, and what a handler says then is not kept.
let live = false;
// There is one time: the arrival of the batch's first record. Before that it is 1970.
let now = 0;

/** Called first in each call; `arrival` is that of its first record, in milliseconds. */
export const begin = (arrival = 0) => {
  live = true;
  now = arrival;
};

const say = (level) => (...parts) => {
  if (!live) return;
  log(level, parts.map((part) => (typeof part === 'string' ? part : JSON.stringify(part))).join(' '));
};

const RealDate = Date;
RealDate.now = () => now;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, given, made) => Reflect.construct(target, given.length === 0 ? [now] : given, made),
  apply: (target) => new target(now).toString(),
});
RealDate.prototype.constructor = globalThis.Date;

export { Buffer };
export const process = { env: {}, nextTick: (f, ...args) => Promise.resolve().then(() => f(...args)) };
export const console = {
  debug: say('debug'),
  log: say('info'),
  info: say('info'),
  warn: say('warn'),
  error: say('warn'),
};
