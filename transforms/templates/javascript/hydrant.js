// The way between hydrant's contract (wit/transform.wit) and a function that is asked record by record.

/**
 * Writes a line to hydrant's log: `log('info', 'a text')`; levels are debug, info, warn, error. There is
 * no log while the module is built, so not at the top level of a file.
 */
export { log } from 'hydrant:transform/log@1.0.0';

/** The record stays as it came. */
export const unchanged = (routing) => ({ tag: 'unchanged', val: raw(routing) });

/** One output in the record's place: bytes, a text, or any other value as JSON. */
export const changed = (data, routing) => ({ tag: 'ok', val: outgoing(data, routing) });

/** Several outputs in the record's place: a list of data, or of `{ data, keys, target }`. */
export const split = (outputs) => ({
  tag: 'many',
  val: outputs.map((one) =>
    isOutput(one) ? outgoing(one.data, one) : outgoing(one, undefined)),
});

/** No output, on purpose. */
export const dropped = () => ({ tag: 'dropped' });

/** The record goes to the error output with this message. */
export const failed = (message) => ({ tag: 'failed', val: String(message) });

/** The record's data as text. Throws where it is not UTF-8. */
export const text = (record) => new TextDecoder('utf-8', { fatal: true }).decode(record.data);

/** The record's data as JSON; undefined where it is none. */
export const json = (record) => {
  try {
    return JSON.parse(text(record));
  } catch {
    return undefined;
  }
};

/**
 * Makes the exports of a transform. `make` gets the configuration and gives a function from a record
 * (`data`, `partitionKey`, `sequenceNumber`, `approximateArrivalMs`) and `info` to an outcome. What
 * `make` throws refuses the configuration; what the function throws fails the record.
 */
export function define(make) {
  let each;
  return {
    configure(config) {
      try {
        each = make(JSON.parse(config));
      } catch (error) {
        throw String(error?.message ?? error);
      }
    },
    transform(info, batch) {
      return batch.map((record) => {
        try {
          return each(record, info);
        } catch (error) {
          return failed(error?.message ?? error);
        }
      });
    },
  };
}

const isOutput = (one) =>
  typeof one === 'object' && one !== null && !(one instanceof Uint8Array) && 'data' in one;

const raw = (routing) => ({
  partitionKeys: Object.entries(routing?.keys ?? {}).map(([name, value]) => [name, String(value)]),
  target: routing?.target,
});

const outgoing = (data, routing) => ({ data: bytes(data), routing: raw(routing) });

const bytes = (data) => {
  if (data instanceof Uint8Array) return data;
  return new TextEncoder().encode(typeof data === 'string' ? data : JSON.stringify(data));
};
