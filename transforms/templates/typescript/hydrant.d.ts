/** A record of a batch. */
export interface Incoming {
  data: Uint8Array;
  partitionKey: string;
  sequenceNumber: string;
  approximateArrivalMs: bigint;
}

/** What is equal for all records of a batch. */
export interface BatchInfo {
  deliveryStream: string;
}

/** Where an output goes. */
export interface Routing {
  keys?: Record<string, string>;
  target?: string;
}

/** What becomes of a record; made by the functions below. */
export interface Outcome {
  tag: 'unchanged' | 'ok' | 'many' | 'dropped' | 'failed';
  val?: unknown;
}

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Writes a line to hydrant's log; not at the top level of a file, as there is none at build time. */
export function log(level: Level, message: string): void;

export type Data = Uint8Array | string | object;

export function unchanged(routing?: Routing): Outcome;
export function changed(data: Data, routing?: Routing): Outcome;
export function split(outputs: Array<Data | ({ data: Data } & Routing)>): Outcome;
export function dropped(): Outcome;
export function failed(message: unknown): Outcome;
export function text(record: Incoming): string;
export function json(record: Incoming): unknown;

export function define<Config>(
  make: (config: Config) => (record: Incoming, info: BatchInfo) => Outcome,
): {
  configure(config: string): void;
  transform(info: BatchInfo, batch: Incoming[]): Outcome[];
};
