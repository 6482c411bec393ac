"""Takes fields out of JSON records and drops health checks."""

import json

from hydrant import changed, dropped, export, failed


class Example:
    def __init__(self, config):
        self.remove = config.get("remove", [])
        if not isinstance(self.remove, list) or not all(isinstance(name, str) for name in self.remove):
            raise ValueError("`remove` must be a list of names")

    def transform(self, record, info):
        try:
            event = json.loads(record.data)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            return failed("the record is not a JSON object")
        kind = event.get("type")
        kind = kind if isinstance(kind, str) else "none"
        if kind == "health_check":
            return dropped()
        for name in self.remove:
            event.pop(name, None)
        return changed(event, keys={"type": kind})


WitWorld = export(Example)
