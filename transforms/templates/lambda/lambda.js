// Runs a handler that was written as a Firehose transformation for AWS Lambda.

import { Buffer, begin, process } from './shim.js';
import { log } from 'hydrant:transform/log@1.0.0';
import * as module from 'hydrant-handler';

const TEXTS = {
  failed: 'ProcessingFailed status set for record',
  missing:
    'One or more record Ids were not returned. Ensure that the Lambda function returns all received record Ids.',
  twice:
    'Multiple records were returned with the same record Id. Ensure that the Lambda function returns a unique record Id for each record.',
  empty: 'The data field cannot be null when the SourceType is DirectPut or KinesisStreamAsSource',
};
const SETTINGS = ['env', 'region', 'account_id'];

let settings;

export function configure(text) {
  begin();
  settings = JSON.parse(text);
  const unknown = Object.keys(settings).find((name) => !SETTINGS.includes(name));
  if (unknown !== undefined) throw `unknown setting \`${unknown}\`: there are ${SETTINGS.join(', ')}`;
  if (typeof found() !== 'function') throw 'the module exports no function `handler`';
  Object.assign(process.env, settings.env ?? {});
}

const found = () => module.handler ?? module.default?.handler ?? module.default;

export async function transform(info, batch) {
  begin(Number(batch[0].approximateArrivalMs));
  try {
    const ids = recordIds(batch);
    const event = eventOf(info, batch, ids);
    const answer = await call(found(), event);
    return outcomes(ids, answer);
  } catch (error) {
    // The trap that follows carries no text of its own. A text that begins so is kept out of hydrant's
    // log, as it may hold parts of records.
    log('error', `panicked at the handler: ${error?.message ?? error}`);
    throw error;
  }
}

/**
 * One id for each record, as Firehose's look. Outputs of an earlier processor that come of one record
 * share its sequence number: they are counted within the batch.
 */
function recordIds(batch) {
  const seen = new Map();
  return batch.map(({ sequenceNumber }) => {
    const before = seen.get(sequenceNumber) ?? 0;
    seen.set(sequenceNumber, before + 1);
    return sequenceNumber.replace('.', '') + String(before).padStart(6, '0');
  });
}

function eventOf(info, batch, ids) {
  const region = settings.region ?? 'us-east-1';
  const account = settings.account_id ?? '000000000000';
  return {
    invocationId: uuid(ids[0]),
    deliveryStreamArn: `arn:aws:firehose:${region}:${account}:deliverystream/${info.deliveryStream}`,
    region,
    records: batch.map((record, i) => {
      const [sequenceNumber, subsequenceNumber = '0'] = record.sequenceNumber.split('.');
      const approximateArrivalTimestamp = Number(record.approximateArrivalMs);
      return {
        recordId: ids[i],
        approximateArrivalTimestamp,
        data: Buffer.from(record.data).toString('base64'),
        kinesisRecordMetadata: {
          partitionKey: record.partitionKey,
          approximateArrivalTimestamp,
          sequenceNumber,
          subsequenceNumber: Number(subsequenceNumber),
        },
      };
    }),
  };
}

/** Promise, plain value or callback: as Node.js handlers answer. */
function call(handler, event) {
  const context = {
    functionName: 'hydrant',
    awsRequestId: event.invocationId,
    callbackWaitsForEmptyEventLoop: false,
    getRemainingTimeInMillis: () => 300_000,
  };
  if (handler.length < 3) return handler(event, context);
  return new Promise((resolve, reject) => {
    handler(event, context, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function outcomes(ids, answer) {
  const answered = new Map();
  const records = Array.isArray(answer?.records) ? answer.records : [];
  for (const one of records) {
    if (typeof one !== 'object' || one === null) continue;
    const all = answered.get(one.recordId) ?? [];
    all.push(one);
    answered.set(one.recordId, all);
  }
  return ids.map((id) => {
    const all = answered.get(id) ?? [];
    if (all.length === 0) return failed(TEXTS.missing);
    if (all.length > 1) return failed(TEXTS.twice);
    return outcome(all[0]);
  });
}

function outcome({ result, data, metadata }) {
  if (result === 'Dropped') return { tag: 'dropped' };
  if (result === 'ProcessingFailed') return failed(TEXTS.failed);
  if (result !== 'Ok') return failed(`the result \`${result}\` is none of Ok, Dropped and ProcessingFailed`);
  if (typeof data !== 'string') return failed(TEXTS.empty);
  const otf = metadata?.otfMetadata;
  if (otf?.operation !== undefined && otf.operation.toLowerCase() !== 'insert') {
    return failed(`the operation \`${otf.operation}\` of otfMetadata is not supported: only insert is`);
  }
  const table = otf?.destinationTableName;
  const target = table && [otf.destinationDatabaseName, table].filter(Boolean).join('.');
  const partitionKeys = Object.entries(metadata?.partitionKeys ?? {});
  return {
    tag: 'ok',
    val: {
      data: new Uint8Array(Buffer.from(data, 'base64')),
      routing: {
        partitionKeys: partitionKeys.map(([name, value]) => [name, String(value)]),
        target: target || undefined,
      },
    },
  };
}

const failed = (message) => ({ tag: 'failed', val: message });

/** An id that is the same for the same records. */
function uuid(text) {
  let hash = 0xcbf29ce484222325n;
  let hex = '';
  for (const round of ['a', 'b']) {
    for (const byte of new TextEncoder().encode(round + text)) {
      hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    }
    hex += hash.toString(16).padStart(16, '0');
  }
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
