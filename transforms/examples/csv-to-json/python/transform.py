"""Makes JSON objects of lines of CSV."""

import csv
import math
import re

from hydrant import changed, export, failed


def parse_int(value):
    if not re.fullmatch(r"[+-]?[0-9]+", value):
        raise ValueError(value)
    return int(value)


def parse_float(value):
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


PARSERS = {"string": str, "int": parse_int, "float": parse_float, "bool": {"true": True, "false": False}.__getitem__}


class CsvToJson:
    def __init__(self, config):
        self.header = config.get("header")
        self.separator = config.get("separator", ",")
        self.types = config.get("types", {})
        if not isinstance(self.header, list) or not self.header:
            raise ValueError("`header`: name at least one column")
        for name, kind in self.types.items():
            if name not in self.header:
                raise ValueError(f"`types`: there is no column `{name}`")
            if kind not in PARSERS:
                raise ValueError(f"`types`: `{kind}` is no type")

    def transform(self, record, info):
        try:
            rows = list(csv.reader([record.data.decode()], delimiter=self.separator, strict=True))
        except csv.Error:
            return failed("a quote is not closed")
        values = rows[0] if rows and rows[0] else [""]
        if len(values) != len(self.header):
            return failed(f"the line has {len(values)} columns, the header {len(self.header)}")
        result = {}
        for name, value in zip(self.header, values):
            kind = self.types.get(name, "string")
            if kind != "string" and value == "":
                result[name] = None
                continue
            try:
                result[name] = PARSERS[kind](value)
            except (ValueError, KeyError):
                return failed(f"column `{name}`: `{value}` is not {'an' if kind == 'int' else 'a'} {kind}")
        return changed(result)


WitWorld = export(CsvToJson)
