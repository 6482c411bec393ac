"""The way between hydrant's contract (wit/transform.wit) and a class that is asked record by record."""

import json as _json

import wit_world
from componentize_py_types import Err
from wit_world.imports.types import (
    Outcome_Dropped,
    Outcome_Failed,
    Outcome_Many,
    Outcome_Ok,
    Outcome_Unchanged,
    Outgoing,
    Routing,
)


def unchanged(keys=None, target=None):
    """The record stays as it came."""
    return Outcome_Unchanged(_routing(keys, target))


def changed(data, keys=None, target=None):
    """One output in the record's place."""
    return Outcome_Ok(output(data, keys, target))


def split(outputs):
    """Several outputs in the record's place: data, or what `output` gives."""
    return Outcome_Many([one if isinstance(one, Outgoing) else output(one) for one in outputs])


def dropped():
    """No output, on purpose."""
    return Outcome_Dropped()


def failed(message):
    """The record goes to the error output with this message."""
    return Outcome_Failed(str(message))


def output(data, keys=None, target=None):
    """An output: bytes, a text, or any other value as JSON."""
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, (bytes, bytearray)):
        data = _json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return Outgoing(bytes(data), _routing(keys, target))


def export(transform):
    """Makes the export of a class: made from its configuration, then `transform(record, info)` for each
    record (`data`, `partition_key`, `sequence_number`, `approximate_arrival_ms`). What its making
    raises refuses the configuration; what `transform` raises fails the record."""

    class WitWorld(wit_world.WitWorld):
        made = None

        def configure(self, config):
            try:
                WitWorld.made = transform(_json.loads(config))
            except Exception as error:
                raise Err(str(error)) from error

        def transform(self, info, batch):
            return [_one(WitWorld.made, record, info) for record in batch]

    return WitWorld


def _one(made, record, info):
    try:
        return made.transform(record, info)
    except Exception as error:
        return failed(f"{type(error).__name__}: {error}")


def _routing(keys, target):
    return Routing([(name, str(value)) for name, value in (keys or {}).items()], target)
