// Takes fields out of JSON records and drops health checks.

import { changed, define, dropped, failed, json } from './hydrant.js';

export const { configure, transform } = define((config) => {
  const remove = config.remove ?? [];
  if (!Array.isArray(remove) || !remove.every((name) => typeof name === 'string')) {
    throw new Error('`remove` must be a list of names');
  }
  return (record) => {
    const event = json(record);
    if (typeof event !== 'object' || event === null || Array.isArray(event)) {
      return failed('the record is not a JSON object');
    }
    const kind = typeof event.type === 'string' ? event.type : 'none';
    if (kind === 'health_check') return dropped();
    for (const name of remove) delete event[name];
    return changed(event, { keys: { type: kind } });
  };
});
