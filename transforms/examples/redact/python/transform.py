"""Replaces the values at dotted paths of JSON records."""

import json

from hydrant import changed, export, failed

REDACTED = "[redacted]"


class Redact:
    def __init__(self, config):
        fields = config.get("fields")
        if not isinstance(fields, list) or not fields:
            raise ValueError("`fields`: name at least one field")
        self.paths = [field.split(".") for field in fields]

    def transform(self, record, info):
        try:
            event = json.loads(record.data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return failed("the record is not a JSON object")
        for path in self.paths:
            redact(event, path)
        return changed(event)


def redact(value, path):
    if isinstance(value, list):
        for item in value:
            redact(item, path)
    elif isinstance(value, dict) and path[0] in value:
        if len(path) == 1:
            value[path[0]] = REDACTED
        else:
            redact(value[path[0]], path[1:])


WitWorld = export(Redact)
