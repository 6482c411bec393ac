// Replaces the values at dotted paths of JSON records.

import { changed, define, failed, json } from '../../../templates/javascript/hydrant.js';

const REDACTED = '[redacted]';

export const { configure, transform } = define(({ fields }) => {
  if (!Array.isArray(fields) || fields.length === 0) throw new Error('`fields`: name at least one field');
  const paths = fields.map((field) => field.split('.'));
  return (record) => {
    const event = json(record);
    if (typeof event !== 'object' || event === null || Array.isArray(event)) {
      return failed('the record is not a JSON object');
    }
    for (const path of paths) redact(event, path);
    return changed(event);
  };
});

function redact(value, [name, ...rest]) {
  if (Array.isArray(value)) {
    for (const item of value) redact(item, [name, ...rest]);
  } else if (typeof value === 'object' && value !== null && Object.hasOwn(value, name)) {
    if (rest.length === 0) value[name] = REDACTED;
    else redact(value[name], rest);
  }
}
