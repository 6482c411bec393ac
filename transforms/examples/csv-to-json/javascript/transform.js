// Makes JSON objects of lines of CSV.

import { changed, define, failed, text } from '../../../templates/javascript/hydrant.js';

const PARSERS = {
  string: (value) => value,
  int: (value) => (/^[+-]?\d+$/.test(value) ? Number(value) : undefined),
  float: (value) => (Number.isFinite(Number(value)) ? Number(value) : undefined),
  bool: (value) => ({ true: true, false: false })[value],
};

export const { configure, transform } = define(({ header, separator = ',', types = {} }) => {
  if (!Array.isArray(header) || header.length === 0) throw new Error('`header`: name at least one column');
  for (const [name, type] of Object.entries(types)) {
    if (!header.includes(name)) throw new Error(`\`types\`: there is no column \`${name}\``);
    if (!Object.hasOwn(PARSERS, type)) throw new Error(`\`types\`: \`${type}\` is no type`);
  }
  return (record) => {
    const values = split(text(record).replace(/\r$/, ''), separator);
    if (values === undefined) return failed('a quote is not closed');
    if (values.length !== header.length) {
      return failed(`the line has ${values.length} columns, the header ${header.length}`);
    }
    const object = {};
    for (const [i, name] of header.entries()) {
      const type = types[name] ?? 'string';
      const value = type !== 'string' && values[i] === '' ? null : PARSERS[type](values[i]);
      if (value === undefined) {
        return failed(`column \`${name}\`: \`${values[i]}\` is not ${type === 'int' ? 'an' : 'a'} ${type}`);
      }
      object[name] = value;
    }
    return changed(object);
  };
});

/** The values of a line, as RFC 4180 quotes them; undefined where a quote is not closed. */
function split(line, separator) {
  const values = [];
  let value = '';
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const character = line[i];
    if (quoted && character === '"' && line[i + 1] === '"') {
      value += '"';
      i++;
    } else if (quoted && character === '"') {
      quoted = false;
    } else if (!quoted && character === '"' && value === '') {
      quoted = true;
    } else if (!quoted && character === separator) {
      values.push(value);
      value = '';
    } else {
      value += character;
    }
  }
  return quoted ? undefined : [...values, value];
}
