"""Makes JSON objects of the lines that Apache and nginx write."""

import re

from hydrant import changed, export, failed

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
QUOTED = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(
    r"(\S+) \S+ (\S+) \[(\d{2})/(" + "|".join(MONTHS) + r")/(\d{4}):(\d{2}:\d{2}:\d{2}) ([+-]\d{2})(\d{2})\] "
    r'"([^" ]+) ([^" ]+) ([^" ]+)" (\d{3}) (\d+|-)(?: ' + QUOTED + " " + QUOTED + r")?\r?",
    re.ASCII,
)


class LogToJson:
    def __init__(self, config):
        if config:
            raise ValueError("this transform has no configuration")

    def transform(self, record, info):
        parts = LINE.fullmatch(record.data.decode())
        if parts is None:
            return failed("this is no line of the common or combined log format")
        remote, user, day, month, year, clock, hours, minutes, method, path, protocol, status, size, referer, agent = (
            parts.groups()
        )
        return changed(
            {
                "remote": remote,
                "user": plain(user),
                "time": f"{year}-{MONTHS.index(month) + 1:02}-{day}T{clock}{hours}:{minutes}",
                "method": method,
                "path": path,
                "protocol": protocol,
                "status": int(status),
                "bytes": None if size == "-" else int(size),
                "referer": plain(referer),
                "agent": plain(agent),
            }
        )


def plain(value):
    """`-` is none; a backslash stands before a quote and a backslash."""
    return None if value in (None, "-") else re.sub(r'\\(["\\])', r"\1", value)


WitWorld = export(LogToJson)
