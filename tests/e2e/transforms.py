"""`hydrant transform`, as one who is new to it: from an empty folder to a module that passes its tests in three
commands, for every language; a handler that was written for AWS Lambda; the examples; what is said where something
is missing; and a failure of the service repeated from its error object.

Nothing is skipped in silence. npm and pip fetch what the templates name, and zig's compiler for C where there is no
clang for WASI. No registry brings a Rust for WebAssembly: where `hydrant transform build` finds none, its template is
not built here, a loud line names the packages, and with HYDRANT_FULL=1 that is a failure. Its checked-in modules are
run all the same, and `cargo test` compares them with their sources."""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import xml.etree.ElementTree

import determinism
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
    EXAMPLES / "redact" / "c",
    EXAMPLES / "csv-to-json" / "c",
    EXAMPLES / "split-array",
    EXAMPLES / "dedupe-key",
    EXAMPLES / "enrich",
]
# Some examples of each language; with HYDRANT_FULL=1 all of them.
SOME = {
    "javascript": ["redact"],
    "typescript": [],
    "python": ["csv-to-json"],
    "go": ["redact", "csv-to-json", "log-to-json"],
    "c": ["redact", "csv-to-json", "log-to-json"],
}
FULL = os.environ.get("HYDRANT_FULL") == "1"
# The first time a compiler builds its library, or npm fetches: minutes on a busy machine.
SECONDS = 400
# clang for WASI by name, where Debian's packages are not there.
ZIG = "ziglang==0.15.2"


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


def once(name, stamp, install):
    """A folder of the cache that `install` fills; again only where `stamp` is another text than then."""
    folder = cache() / name
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / ".installed"
        if not installed.exists() or installed.read_text() != stamp:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            installed.write_text(stamp)
    return folder


def template(name):
    return (ROOT / "transforms" / "templates" / name).read_text()


def started(language):
    """Has a new transform built as a user would, who has no tools yet."""

    def install(folder):
        hydrant("new", "--lang", language, "start", folder=folder)
        hydrant("build", "start", folder=folder)

    return install


def lent_modules(folder):
    """What npm fetched once for a transform in JavaScript or TypeScript, for another one."""
    kept = once("javascript", template("javascript/package.json"), started("javascript"))
    (folder / "node_modules").symlink_to(kept / "start" / "node_modules")


def lent_lambda_modules(folder):
    """The same of a Lambda handler."""

    def install(kept):
        (kept / "handler.js").write_text("exports.handler = async (event) => ({ records: event.records });\n")
        hydrant("build", "--lambda", "handler.js", folder=kept)

    kept = once("lambda", template("lambda/package.json"), install)
    (folder / ".hydrant-lambda").mkdir()
    (folder / ".hydrant-lambda" / "node_modules").symlink_to(kept / ".hydrant-lambda" / "node_modules")


def first_on_the_path(folder):
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def tools_of(language):
    """What must stand in the environment for a language to be built."""
    if language == "python":
        kept = once("python", template("python/requirements.txt"), started("python"))
        return first_on_the_path(kept / "start" / ".venv" / "bin")
    if language == "c" and not has_clang():

        def install(folder):
            subprocess.run(["python3", "-m", "venv", folder / "venv"], check=True, timeout=SECONDS)
            pip = [folder / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", ZIG]
            subprocess.run(pip, check=True, timeout=SECONDS)

        return first_on_the_path(once("zig", ZIG, install) / "venv" / "bin")
    return {}


def has_clang():
    compilers = [shutil.which(name) for name in ("clang-19", "clang")]
    linkers = [shutil.which(name) for name in ("wasm-ld-19", "wasm-ld")]
    return any(compilers) and any(linkers) and pathlib.Path("/usr/lib/wasm32-wasi/libc.a").is_file()


def has_rust(folder):
    """Whether there is a Rust for WebAssembly; where there is none, says so aloud."""
    hydrant("new", "--lang", "rust", "probe", folder=folder)
    with contextlib.suppress(harness.Failed):
        _, said = hydrant("build", "probe", folder=folder, code=2)
        check("no Rust for wasm32-unknown-unknown here" in said, said)
        line = f"NOT RUN: the template in Rust was not built: {said.strip().splitlines()[-1]}"
        check(not FULL, line)
        print(f"!!! {line}", flush=True)
        return False
    return True


def new_build_test(folder, language, deep):
    """Three commands in an empty folder."""
    out, _ = hydrant("new", "--lang", language, "start", folder=folder)
    check("hydrant transform build start" in out, out)
    project = folder / "start"
    if language in ("javascript", "typescript"):
        lent_modules(project)
    if language == "typescript":
        it_logs(project)
    environment = tools_of(language)
    out, _ = hydrant("build", "start", folder=folder, environment=environment)
    check("start/start.wasm: " in out, out)
    out, _ = hydrant("test", "start", "--junit", "junit.xml", folder=folder)
    check("2 cases, 0 failed" in out, out)
    suite = xml.etree.ElementTree.parse(folder / "junit.xml").getroot().find("testsuite")
    check(suite.get("tests") == "2" and suite.get("failures") == "0", suite.attrib)
    info = json.loads(hydrant("inspect", "--json", "start/start.wasm", folder=folder)[0])
    digest = hashlib.sha256((project / "start.wasm").read_bytes()).hexdigest()
    check(info["digest"] == digest and info["description"], info)
    check(info["runs"] == ("with `wasi: true`" if language == "python" else "as it is"), info)
    if language == "c":
        out, _ = hydrant("run", "start", "--input", "start/lines.log", folder=folder)
        check("partition key level=error" in out and "3 records" in out, out)
        return
    check(info["config_schema"]["properties"]["remove"], info)
    # Each of these compiles the module again, which takes seconds where it holds a language runtime.
    if deep:
        a_failing_case_fails(folder, project)
        a_run_shows_records(folder)
    # What its README says.
    arguments = ["run", ".", "--input", "records.ndjson", "--config", "config.json"]
    out, said = hydrant(*arguments, folder=project)
    check("partition key type=order" in out and "4 records" in out, out)
    if language == "typescript":
        check("log info: made for 1 names" in said, said)


def it_logs(project):
    """A line into hydrant's log, by the SDK."""
    source = project / "transform.ts"
    text = source.read_text().replace("failed, json }", "failed, json, log }")
    text = text.replace("  return (record) => {", "  log('info', `made for ${remove.length} names`);\n  return (record) => {")
    check("json, log }" in text and "made for" in text, text)
    source.write_text(text)


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
console.log('Loading');
exports.handler = async (event, context) => {
  console.log('records', event.records.length);
  if (!event.deliveryStreamArn.endsWith(':deliverystream/test')) throw new Error(event.deliveryStreamArn);
  const records = [];
  for (const { recordId, data, approximateArrivalTimestamp } of event.records) {
    const text = Buffer.from(data, 'base64').toString('utf8');
    await Promise.resolve();
    if (text === 'forget') continue;
    if (text === 'boom') throw new Error('the handler is at its end');
    if (text === 'when') {
      const when = `${Date.now()} ${new Date().getTime()} ${new Date(7) instanceof Date}`;
      records.push({ recordId, result: 'Ok', data: Buffer.from(when).toString('base64') });
    } else if (text === 'drop') records.push({ recordId, result: 'Dropped' });
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
import time

print("Loading")


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
        if text == "when":
            when = time.time_ns() // 1_000_000
            one["data"] = base64.b64encode(f"{when} {when} true".encode()).decode()
        elif text == "drop":
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
    input: [{ text: abc, arrival_ms: 5 }, { text: when, arrival_ms: 5 }, drop, fail, forget, boom, { text: xyz, arrival_ms: 6 }]
    expected:
      - { text: ABC there 5, partition_keys: { first: a } }
      - 5 5 true
      - dropped
      - { failed: ProcessingFailed status set for record }
      - { failed: One or more record Ids were not returned }
      - { failed: the handler is at its end, code: Transform.Trapped }
      - { text: XYZ there 6, partition_keys: { first: x } }
  - name: an unknown setting is refused
    config: { regio: x }
    error: unknown setting `regio`
"""


def a_lambda_handler(folder, name, source):
    folder.mkdir()
    (folder / name).write_text(source)
    environment = {}
    if name.endswith(".js"):
        lent_lambda_modules(folder)
    else:
        environment = tools_of("python")
    hydrant("build", "--lambda", name, folder=folder, environment=environment)
    wasi = "wasi: true\n" if name.endswith(".py") else ""
    (folder / "transform.yaml").write_text(f"name: handler\n{wasi}")
    (folder / "tests").mkdir()
    (folder / "tests" / "cases.yaml").write_text(LAMBDA_CASES)
    out, _ = hydrant("test", folder=folder)
    check("2 cases, 0 failed" in out, out)
    # Its failures hold parts of records: they are in the error output and in no log.
    (folder / "records").write_text("abc\nboom\n")
    (folder / "config.json").write_text('{"env":{"SUFFIX":"there"}}')
    out, said = hydrant("run", ".", "--input", "records", "--config", "config.json", folder=folder)
    check("the handler is at its end" in out and "the handler is at its end" not in said, said)
    check("records 1" in said, said)


def examples(folder):
    """The checked-in modules pass their cases; those of other languages are built first, and one of each
    language makes a range again, as all do that are checked in in `determinism`; with HYDRANT_FULL=1 all of them."""
    for example in CHECKED_IN:
        out, _ = hydrant("test", example, folder=folder)
        check(" 0 failed" in out, out)
    for language, some in SOME.items():
        names = sorted(one.parent.name for one in EXAMPLES.glob(f"*/{language}")) if FULL else some
        for name in names:
            # A copy, so that nothing is written into the repository. It holds no links but to what is in it.
            copy = folder / f"{name}-{language}"
            shutil.copytree(ROOT / "transforms", copy / "transforms", ignore=ignored)
            project = copy / "transforms" / "examples" / name / language
            if language in ("javascript", "typescript"):
                lent_modules(project)
            hydrant("build", folder=project, environment=tools_of(language))
            out, _ = hydrant("test", folder=project)
            check(" 0 failed" in out, out)
            if language != "c" and (FULL or name == names[0]):
                wasi = {"wasi": True} if language == "python" else {}
                case = determinism.example(project, *project.glob("*.wasm"), **wasi)
                determinism.same_again(folder / "again", case, counts=(1,))
            shutil.rmtree(copy)
            print(f"example {name} in {language}", flush=True)


def rust_compiler():
    return subprocess.run(["/usr/bin/rustc", "--version"], capture_output=True, text=True).stdout.strip()


def c_compiler():
    """clang and its library, as `build.sh` notes them."""
    library = pathlib.Path("/usr/lib/wasm32-wasi/libc.a")
    if shutil.which("clang-19") is None or not library.is_file():
        return "none"
    said = subprocess.run(["clang-19", "--version"], capture_output=True, text=True).stdout.splitlines()
    return f"{said[0]}, libc.a {hashlib.sha256(library.read_bytes()).hexdigest()}"


def modules_are_rebuilt(folder, language, compiler):
    """By the compiler that built them, the same sources give the same bytes."""
    lock = (ROOT / "transforms" / "modules.lock").read_text().splitlines()
    if f"# {language} of {compiler}" not in lock:
        print(f"!!! NOT RUN: the modules in {language} were not rebuilt, as the compiler here is another: {compiler}")
        return
    guests = [line.split(" ") for line in lock if not line.startswith(("#", "testing/"))]
    guests = [guest for guest in guests if guest[0].endswith("/c") == (language == "C")]
    for guest, _, _, digest in guests if FULL or language == "C" else guests[:1]:
        module = folder / "rebuilt.wasm"
        hydrant("build", ROOT / "transforms" / guest, "--output", module, folder=folder)
        check(hashlib.sha256(module.read_bytes()).hexdigest() == digest, f"{guest} gives other bytes than are kept")
        print(f"{guest} is rebuilt to the byte", flush=True)


def ignored(_, names):
    return [name for name in names if name in ("target", "node_modules", ".venv", "build", "testing")]


def what_is_missing_is_named(folder):
    """Without any tools, each language names the package that brings them."""
    empty = folder / "empty"
    empty.mkdir()
    for language, words in [
        ("rust", "rustc-web cargo-web rust-web-src lld-19"),
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
    check("note: failures of module" not in err, err)
    other = ROOT / "transforms" / "redact" / "redact.wasm"
    (folder / "config.json").write_text('{"fields":["a"]}')
    _, err = hydrant("run", other, "--config", "config.json", "--from-error-object", kept, folder=folder)
    check(f"note: failures of module {trapped['moduleDigest']}" in err, err)


def test(folder):
    what_is_missing_is_named(folder)
    a_failure_is_repeated(folder / "repeated")
    languages = ["c", "go", "javascript", "typescript", "python"]
    if has_rust(folder):
        languages.insert(0, "rust")
        modules_are_rebuilt(folder, "Rust", rust_compiler())
    modules_are_rebuilt(folder, "C", c_compiler())
    for language in languages:
        place = folder / language
        place.mkdir()
        # Rust's module compiles fastest, Go's next.
        fast = "rust" if "rust" in languages else "go"
        new_build_test(place, language, FULL or language == fast)
        print(f"{language}: new, build and test", flush=True)
    a_lambda_handler(folder / "lambda-js", "handler.js", JS_HANDLER)
    a_lambda_handler(folder / "lambda-py", "handler.py", PY_HANDLER)
    print("lambda handlers in JavaScript and Python", flush=True)
    examples(folder)


if __name__ == "__main__":
    harness.run("transforms", test)
