// Makes JSON objects of the lines that Apache and nginx write.

import { changed, define, failed, text } from '../../../templates/javascript/hydrant.js';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const QUOTED = '"((?:[^"\\\\]|\\\\.)*)"';
const LINE = new RegExp(
  '^(\\S+) \\S+ (\\S+) \\[(\\d{2})/(' + MONTHS.join('|') + ')/(\\d{4}):(\\d{2}:\\d{2}:\\d{2}) ([+-]\\d{2})(\\d{2})\\] ' +
    '"([^" ]+) ([^" ]+) ([^" ]+)" (\\d{3}) (\\d+|-)(?: ' + QUOTED + ' ' + QUOTED + ')?\\r?$',
);

export const { configure, transform } = define((config) => {
  if (Object.keys(config).length > 0) throw new Error('this transform has no configuration');
  return (record) => {
    const parts = LINE.exec(text(record));
    if (parts === null) return failed('this is no line of the common or combined log format');
    const [, remote, user, day, month, year, clock, hours, minutes, method, path, protocol, status, bytes, referer, agent] =
      parts;
    return changed({
      remote,
      user: plain(user),
      time: `${year}-${String(MONTHS.indexOf(month) + 1).padStart(2, '0')}-${day}T${clock}${hours}:${minutes}`,
      method,
      path,
      protocol,
      status: Number(status),
      bytes: bytes === '-' ? null : Number(bytes),
      referer: plain(referer),
      agent: plain(agent),
    });
  };
});

/** `-` is none; a backslash stands before a quote and a backslash. */
const plain = (value) =>
  value === undefined || value === '-' ? null : value.replace(/\\(["\\])/g, '$1');
