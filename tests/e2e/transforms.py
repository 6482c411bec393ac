"""`hydrant transform`, as one who is new to it: from an empty folder to a module that passes its tests in three
commands, for every language whose tools are here or can be fetched by name; a handler that was written for AWS
Lambda; the examples; what is said where something is missing; and a failure of the service repeated from its error
object.

npm and pip fetch what the templates name, into the cache folder. Rust and C need a compiler that they do not bring:
where there is none, this says so, and the checked-in modules of the examples are run all the same."""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import xml.etree.ElementTree

import harness
from harness import ROOT, check

EXAMPLES = ROOT / "transforms" / "examples"
# Folders of examples by language; those of Rust and C have their modules checked in.
CHECKED_IN = [
    ROOT / "transforms" / "redact",
    ROOT / "transforms" / "web-events",
    EXAMPLES / "csv-to-json" / "rust",
    EXAMPLES / "log-to-json" / "rust",
    EXAMPLES / "log-to-json" / "c",
    EXAMPLES / "split-array",
    EXAMPLES / "dedupe-key",
    EXAMPLES / "enrich",
]
# One example for each language; with HYDRANT_FULL=1 all of them.
SOME = {
    "javascript": ["redact"],
    "typescript": [],
    "python": ["csv-to-json"],
    "go": ["redact", "csv-to-json", "log-to-json"],
    "c": ["log-to-json"],
}
SECONDS = 240


def cache():
    """Where tools are kept from one run to the next, as `cargo xtask` keeps its own."""
    home = pathlib.Path.home()
    root = os.environ.get("HYDRANT_CACHE")
    root = root or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "hydrant"
    folder = pathlib.Path(root) / "tools" / "transforms"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def hydrant(*arguments, folder, code=0, environment=None):
    """Runs `hydrant transform`; gives what it printed to stdout and to stderr."""
    done = subprocess.run(
        [harness.BINARY, "transform", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "CARGO_TARGET_DIR": str(cache() / "rust"), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    said = f"hydrant transform {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
    check(done.returncode == code, said)
    return done.stdout, done.stderr


def works(*command):
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


def is_missing(said):
    return "here: " in said and ("install" in said or "rustup" in said)


class Tools:
    """What npm and pip have fetched for one folder, for the next one."""

    def __init__(self):
        self.folder = cache()

    def lend(self, folder, name):
        kept = self.folder / name
        if kept.exists() and not (folder / name).exists():
            subprocess.run(["cp", "-al", kept, folder / name], check=True)

    def keep(self, folder, name):
        kept = self.folder / name
        if not kept.exists() and (folder / name).exists():
            subprocess.run(["cp", "-al", folder / name, kept], check=True)


def environment_of_python():
    """componentize-py in an environment of the cache, first on the path; the first use of it is what a user's is."""
    venv = cache() / "python"
    if not (venv / "bin" / "componentize-py").exists():
        wanted = ROOT / "transforms" / "templates" / "python" / "requirements.txt"
        subprocess.run(["python3", "-m", "venv", venv], check=True, timeout=SECONDS)
        pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
        subprocess.run(pip, check=True, timeout=SECONDS)
    return {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}"}


def new_build_test(folder, tools, language):
    """Three commands in an empty folder."""
    out, _ = hydrant("new", "--lang", language, "start", folder=folder)
    check("hydrant transform build start" in out, out)
    project = folder / "start"
    modules = "node_modules" if language in ("javascript", "typescript") else None
    if modules:
        tools.lend(project, modules)
    environment = environment_of_python() if language == "python" else {}
    done = subprocess.run(
        [harness.BINARY, "transform", "build", "start"],
        cwd=folder,
        env={**os.environ, "CARGO_TARGET_DIR": str(cache() / "rust"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode == 2 and language in ("rust", "c") and is_missing(done.stderr):
        print(f"{language}: not built: {done.stderr.strip()}")
        return False
    check(done.returncode == 0, f"build {language}: {done.stdout}{done.stderr}")
    if modules:
        tools.keep(project, modules)
    out, _ = hydrant("test", "start", "--junit", "junit.xml", folder=folder)
    check("2 cases, 0 failed" in out, out)
    suite = xml.etree.ElementTree.parse(folder / "junit.xml").getroot().find("testsuite")
    check(suite.get("tests") == "2" and suite.get("failures") == "0", suite.attrib)
    info = json.loads(hydrant("inspect", "--json", "start/start.wasm", folder=folder)[0])
    digest = hashlib.sha256((project / "start.wasm").read_bytes()).hexdigest()
    check(info["digest"] == digest and info["description"], info)
    check(info["runs"] == ("with `wasi: true`" if language == "python" else "as it is"), info)
    if language != "c":
        check(info["config_schema"]["properties"]["remove"], info)
        a_failing_case_fails(folder, project)
        a_run_shows_records(folder)
    return True


def a_failing_case_fails(folder, project):
    """A case that does not hold is named, with what was expected and what came."""
    cases = project / "tests" / "more.yaml"
    cases.write_text("cases: [{ name: wrong, input: ['{\"a\":1}'], expected: [dropped] }]\n")
    out, _ = hydrant("test", "start", folder=folder, code=1)
    check("FAIL  more.yaml: wrong" in out and "3 cases, 1 failed" in out, out)
    check('expected: {"dropped":true}' in out, out)
    cases.write_text("cases: [{ name: golden, input: ['{\"a\":1}'], expected_file: golden.ndjson }]\n")
    hydrant("test", "start", folder=folder, code=2)
    hydrant("test", "start", "--update", folder=folder)
    check('"partition_keys":{"type":"none"}' in (project / "golden.ndjson").read_text(), "golden.ndjson")
    hydrant("test", "start", folder=folder)
    cases.unlink()


def a_run_shows_records(folder):
    records = ['{"type":"view","email":"a"}', '{"type":"health_check"}', "text"]
    (folder / "records.ndjson").write_text("\n".join(records) + "\n")
    (folder / "config.yaml").write_text("remove: [email]\n")
    arguments = ["run", "start", "--input", "records.ndjson", "--config", "config.yaml"]
    lines = [json.loads(line) for line in hydrant(*arguments, "--json", folder=folder)[0].splitlines()]
    check([line.get("verdict") for line in lines[:3]] == ["changed", "dropped", "failed"], lines)
    check(json.loads(lines[0]["outputs"][0]["text"]) == {"type": "view"}, lines)
    check(lines[0]["outputs"][0]["partition_keys"] == {"type": "view"}, lines)
    check(all(line["time_us"] > 0 and line["memory_bytes"] > 0 for line in lines[:3]), lines)
    totals = lines[3]["totals"]
    check(totals["records"] == 3 and totals["differ_alone"] == 0 and totals["memory_bytes"] > 0, totals)
    text, _ = hydrant(*arguments, "--show", "1", folder=folder)
    check("record 1: changed" in text and "partition key type=view" in text, text)
    check("... 2 more records" in text and "3 records" in text, text)


JS_HANDLER = """\
exports.handler = async (event, context) => {
  console.log('records', event.records.length);
  if (!event.deliveryStreamArn.endsWith(':deliverystream/test')) throw new Error(event.deliveryStreamArn);
  const records = [];
  for (const { recordId, data, approximateArrivalTimestamp } of event.records) {
    const text = Buffer.from(data, 'base64').toString('utf8');
    await Promise.resolve();
    if (text === 'forget') continue;
    if (text === 'boom') throw new Error('the handler is at its end');
    if (text === 'drop') records.push({ recordId, result: 'Dropped' });
    else if (text === 'fail') records.push({ recordId, result: 'ProcessingFailed', data });
    else
      records.push({
        recordId,
        result: 'Ok',
        data: Buffer.from(`${text.toUpperCase()} ${process.env.SUFFIX} ${approximateArrivalTimestamp}`).toString('base64'),
        metadata: { partitionKeys: { first: text[0] } },
      });
  }
  return { records };
};
"""
PY_HANDLER = """\
import base64
import os


def lambda_handler(event, context):
    print("records", len(event["records"]))
    assert event["deliveryStreamArn"].endswith(":deliverystream/test"), event["deliveryStreamArn"]
    records = []
    for record in event["records"]:
        text = base64.b64decode(record["data"]).decode()
        if text == "forget":
            continue
        if text == "boom":
            raise ValueError("the handler is at its end")
        one = {"recordId": record["recordId"], "result": "Ok", "data": record["data"]}
        if text == "drop":
            one["result"] = "Dropped"
        elif text == "fail":
            one["result"] = "ProcessingFailed"
        else:
            text = f"{text.upper()} {os.environ['SUFFIX']} {record['approximateArrivalTimestamp']}"
            one["data"] = base64.b64encode(text.encode()).decode()
            one["metadata"] = {"partitionKeys": {"first": text[0].lower()}}
        records.append(one)
    return {"records": records}
"""
LAMBDA_CASES = """\
cases:
  - name: the handler runs unchanged
    config: { env: { SUFFIX: there } }
    input: [{ text: abc, arrival_ms: 5 }, drop, fail, forget, boom, { text: xyz, arrival_ms: 6 }]
    expected:
      - { text: ABC there 5, partition_keys: { first: a } }
      - dropped
      - { failed: ProcessingFailed status set for record }
      - { failed: One or more record Ids were not returned }
      - { failed: the handler is at its end, code: Transform.Trapped }
      - { text: XYZ there 6, partition_keys: { first: x } }
  - name: an unknown setting is refused
    config: { regio: x }
    error: unknown setting `regio`
"""


def a_lambda_handler(folder, tools, name, source, environment):
    folder.mkdir()
    (folder / name).write_text(source)
    (folder / ".hydrant-lambda").mkdir()
    lambda_tools = "lambda_modules"
    if name.endswith(".js"):
        kept = tools.folder / lambda_tools
        if kept.exists():
            subprocess.run(["cp", "-al", kept, folder / ".hydrant-lambda" / "node_modules"], check=True)
    hydrant("build", "--lambda", name, folder=folder, environment=environment)
    if name.endswith(".js") and not (tools.folder / lambda_tools).exists():
        made = folder / ".hydrant-lambda" / "node_modules"
        subprocess.run(["cp", "-al", made, tools.folder / lambda_tools], check=True)
    wasi = "wasi: true\n" if name.endswith(".py") else ""
    (folder / "transform.yaml").write_text(f"name: handler\n{wasi}")
    (folder / "tests").mkdir()
    (folder / "tests" / "cases.yaml").write_text(LAMBDA_CASES)
    out, _ = hydrant("test", folder=folder)
    check("2 cases, 0 failed" in out, out)


def examples(folder, tools, languages):
    """The checked-in modules pass their cases; those of other languages are built first."""
    for example in CHECKED_IN:
        out, _ = hydrant("test", example, folder=folder)
        check(" 0 failed" in out, out)
    full = os.environ.get("HYDRANT_FULL") == "1"
    for language, some in SOME.items():
        if language not in languages:
            continue
        names = sorted(one.parent.name for one in EXAMPLES.glob(f"*/{language}")) if full else some
        for name in names:
            # Links to the SDK become files, so that nothing is written into the repository.
            copy = folder / f"{name}-{language}"
            shutil.copytree(ROOT / "transforms", copy / "transforms", symlinks=True, ignore=ignored)
            project = copy / "transforms" / "examples" / name / language
            if language in ("javascript", "typescript"):
                tools.lend(project, "node_modules")
            environment = environment_of_python() if language == "python" else {}
            hydrant("build", folder=project, environment=environment)
            out, _ = hydrant("test", folder=project)
            check(" 0 failed" in out, out)
            shutil.rmtree(copy)


def ignored(_, names):
    return [name for name in names if name in ("target", "node_modules", ".venv", "build", "testing")]


def what_is_missing_is_named(folder):
    """Without any tools, each language names the package that brings them."""
    empty = folder / "empty"
    empty.mkdir()
    for language, words in [
        ("javascript", "package nodejs"),
        ("python", "packages python3"),
        ("go", "package golang"),
        ("c", "clang-19"),
    ]:
        hydrant("new", "--lang", language, f"missing-{language}", folder=folder)
        _, said = hydrant(
            "build", f"missing-{language}", folder=folder, code=2, environment={"PATH": str(empty)}
        )
        check(words in said, said)
    _, said = hydrant("new", "--lang", "go", "missing-go", folder=folder, code=2)
    check("nothing was written" in said, said)
    _, said = hydrant("new", "--lang", "go", "Not_a Name", folder=folder, code=2)
    check("cannot be a transform's name" in said, said)
    _, said = hydrant("test", "missing-go", folder=folder, code=2)
    check("hydrant transform build" in said, said)
    _, said = hydrant("inspect", "nowhere.wasm", folder=folder, code=2)
    check("nowhere.wasm cannot be read" in said, said)


def error_lines(folder):
    objects = [one for one in (folder / "out").rglob("*") if one.is_file() and "processing-failed" in str(one)]
    return [line for one in objects for line in one.read_text().splitlines()]


def a_failure_is_repeated(folder):
    """An error object of the service, and the same failure from it here."""
    folder.mkdir()
    module = ROOT / "crates" / "transform" / "tests" / "it" / "hostile.wasm"
    service = harness.Hydrant(
        folder,
        {"s": {"shards": 1, "retention": "24h"}},
        {
            "d": {
                "source": harness.embedded("s"),
                "processors": [{"wasm": {"module": str(module)}}],
                "destination": {
                    "directory": {"path": str(folder / "out"), "buffering_hints": {"size": "1MiB", "interval": "1s"}}
                },
            }
        },
    )
    service.start()
    try:
        client = service.client()
        for text in ["good", "trap", "fail because", "good too"]:
            client.put_record(StreamName="s", PartitionKey="k", Data=text.encode())
        harness.wait_until(lambda: len(error_lines(folder)) == 2, 30, "no error objects", service.process)
    finally:
        service.stop()
    kept = folder / "errors.ndjson"
    kept.write_text("\n".join(error_lines(folder)) + "\n")
    errors = [json.loads(line) for line in error_lines(folder)]
    trapped = next(one for one in errors if one["errorCode"] == "Transform.Trapped")
    check(base64.b64decode(trapped["rawData"]) == b"trap", trapped)
    for words in ["`transform`: ", "a record asked for a trap", "; in transform"]:
        check(words in trapped["errorMessage"], trapped)
    out, err = hydrant("run", module, "--from-error-object", kept, folder=folder)
    check(out.count("as before: ") == 2 and "other than before" not in out, out)
    check(out.count("a record asked for a trap") == 2, out)
    check("note:" not in err, err)
    other = ROOT / "transforms" / "redact" / "redact.wasm"
    (folder / "config.json").write_text('{"fields":["a"]}')
    _, err = hydrant("run", other, "--config", "config.json", "--from-error-object", kept, folder=folder)
    check(f"note: failures of module {trapped['moduleDigest']}" in err, err)


def test(folder):
    tools = Tools()
    what_is_missing_is_named(folder)
    a_failure_is_repeated(folder / "repeated")
    languages = []
    for language in ["rust", "c", "go", "javascript", "typescript", "python"]:
        place = folder / language
        place.mkdir()
        if new_build_test(place, tools, language):
            languages.append(language)
            print(f"{language}: new, build and test", flush=True)
    a_lambda_handler(folder / "lambda-js", tools, "handler.js", JS_HANDLER, {})
    a_lambda_handler(folder / "lambda-py", tools, "handler.py", PY_HANDLER, environment_of_python())
    print("lambda handlers in JavaScript and Python", flush=True)
    examples(folder, tools, languages)


if __name__ == "__main__":
    harness.run("transforms", test)
