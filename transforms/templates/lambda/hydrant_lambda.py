"""Runs a handler that was written as a Firehose transformation for AWS Lambda."""

import base64
import hashlib
import importlib
import json
import os
import uuid

import wit_world
from componentize_py_types import Err
from wit_world.imports import log
from wit_world.imports.log import Level
from wit_world.imports.types import Outcome_Dropped, Outcome_Failed, Outcome_Ok, Outgoing, Routing

MODULE = "{{module}}"
FAILED = "ProcessingFailed status set for record"
MISSING = (
    "One or more record Ids were not returned. Ensure that the Lambda function returns all received record Ids."
)
TWICE = (
    "Multiple records were returned with the same record Id. "
    "Ensure that the Lambda function returns a unique record Id for each record."
)
EMPTY = "The data field cannot be null when the SourceType is DirectPut or KinesisStreamAsSource"
SETTINGS = ("env", "region", "account_id")

# Imported when the component is built, so that no batch pays for it.
_module = importlib.import_module(MODULE)
_handler = getattr(_module, "lambda_handler", None) or getattr(_module, "handler", None)


class Context:
    function_name = "hydrant"

    def __init__(self, request_id):
        self.aws_request_id = request_id

    def get_remaining_time_in_millis(self):
        return 300_000


class WitWorld(wit_world.WitWorld):
    settings = {}

    def configure(self, config):
        settings = json.loads(config)
        unknown = [name for name in settings if name not in SETTINGS]
        if unknown:
            raise Err(f"unknown setting `{unknown[0]}`: there are {', '.join(SETTINGS)}")
        if _handler is None:
            raise Err(f"{MODULE}.py has no function `lambda_handler` or `handler`")
        os.environ.update(settings.get("env", {}))
        WitWorld.settings = settings

    def transform(self, info, batch):
        ids = record_ids(batch)
        request = str(uuid.UUID(bytes=hashlib.sha256(ids[0].encode()).digest()[:16]))
        event = event_of(WitWorld.settings, info, batch, ids, request)
        try:
            return outcomes(ids, _handler(event, Context(request)))
        except Exception as error:
            # The trap that follows carries no text of its own. A text that begins so is kept out of
            # hydrant's log, as it may hold parts of records.
            log.log(Level.ERROR, f"panicked at the handler: {type(error).__name__}: {error}")
            raise


def record_ids(batch):
    """One id for each record, as Firehose's look. Outputs of an earlier processor that come of one record
    share its sequence number: they are counted within the batch."""
    seen = {}
    ids = []
    for record in batch:
        before = seen.get(record.sequence_number, 0)
        seen[record.sequence_number] = before + 1
        ids.append(record.sequence_number.replace(".", "") + f"{before:06d}")
    return ids


def event_of(settings, info, batch, ids, request):
    region = settings.get("region", "us-east-1")
    account = settings.get("account_id", "000000000000")
    return {
        "invocationId": request,
        "deliveryStreamArn": f"arn:aws:firehose:{region}:{account}:deliverystream/{info.delivery_stream}",
        "region": region,
        "records": [record_of(record, name) for record, name in zip(batch, ids)],
    }


def record_of(record, name):
    sequence, _, sub = record.sequence_number.partition(".")
    return {
        "recordId": name,
        "approximateArrivalTimestamp": record.approximate_arrival_ms,
        "data": base64.b64encode(record.data).decode(),
        "kinesisRecordMetadata": {
            "partitionKey": record.partition_key,
            "approximateArrivalTimestamp": record.approximate_arrival_ms,
            "sequenceNumber": sequence,
            "subsequenceNumber": int(sub or 0),
        },
    }


def outcomes(ids, answer):
    records = answer.get("records") if isinstance(answer, dict) else None
    answered = {}
    for one in records if isinstance(records, list) else []:
        if isinstance(one, dict) and isinstance(one.get("recordId"), str):
            answered.setdefault(one["recordId"], []).append(one)
    result = []
    for name in ids:
        found = answered.get(name, [])
        if not found:
            result.append(Outcome_Failed(MISSING))
        elif len(found) > 1:
            result.append(Outcome_Failed(TWICE))
        else:
            result.append(outcome(found[0]))
    return result


def outcome(record):
    result = record.get("result")
    if result == "Dropped":
        return Outcome_Dropped()
    if result == "ProcessingFailed":
        return Outcome_Failed(FAILED)
    if result != "Ok":
        return Outcome_Failed(f"the result `{result}` is none of Ok, Dropped and ProcessingFailed")
    data = record.get("data")
    if not isinstance(data, (str, bytes)):
        return Outcome_Failed(EMPTY)
    metadata = members(record.get("metadata"))
    otf = members(metadata.get("otfMetadata"))
    operation = str(otf.get("operation", "insert"))
    if operation.lower() != "insert":
        return Outcome_Failed(f"the operation `{operation}` of otfMetadata is not supported: only insert is")
    parts = [otf.get("destinationDatabaseName"), otf.get("destinationTableName")]
    target = ".".join(str(part) for part in parts if part) if parts[1] else None
    keys = [(str(name), str(value)) for name, value in members(metadata.get("partitionKeys")).items()]
    try:
        data = base64.b64decode(data)
    except ValueError:
        return Outcome_Failed("the data field is not base64")
    return Outcome_Ok(Outgoing(data, Routing(keys, target)))


def members(value):
    return value if isinstance(value, dict) else {}
