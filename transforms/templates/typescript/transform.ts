// Takes fields out of JSON records and drops health checks.

import { changed, define, dropped, failed, json } from './hydrant.js';

interface Config {
  remove?: string[];
}

export const { configure, transform } = define<Config>((config) => {
  const remove: unknown = config.remove ?? [];
  if (!Array.isArray(remove) || !remove.every((name) => typeof name === 'string')) {
    throw new Error('`remove` must be a list of names');
  }
  return (record) => {
    const event = json(record);
    if (typeof event !== 'object' || event === null || Array.isArray(event)) {
      return failed('the record is not a JSON object');
    }
    const fields = event as Record<string, unknown>;
    const kind = typeof fields.type === 'string' ? fields.type : 'none';
    if (kind === 'health_check') return dropped();
    for (const name of remove) delete fields[name];
    return changed(fields, { keys: { type: kind } });
  };
});
