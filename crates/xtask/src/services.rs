//! The software that tests talk to: an S3 server (versitygw), a Kinesis (kinesis-mock), and a Python
//! with reader libraries.
//!
//! All are installed once into the cache. The S3 server listens on loopback only, keeps its data in
//! a temporary folder, and ends with the value that stands for it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cache::Cache;
use crate::process;

/// Another implementation of Kinesis.
const KINESIS_MOCK: &str = "kinesis-local@0.6.2";
const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
const ACCESS_KEY: &str = "hydrant";
const SECRET_KEY: &str = "hydrant-secret";

/// It answers within a second; the rest is for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// What the tests use, running.
pub(crate) struct Services {
    s3: Versitygw,
    python: PathBuf,
    /// The program of kinesis-mock, for node; the test that wants it starts it.
    kinesis_mock: PathBuf,
}

impl Services {
    /// Installs what is missing and starts the server.
    pub(crate) fn start() -> Result<Self> {
        let cache = Cache::open()?;
        let python = install_python(&cache)?;
        let kinesis_mock = install_kinesis_mock(&cache)?;
        let s3 = Versitygw::start(&install_versitygw(&cache)?, &python)?;
        Ok(Self {
            s3,
            python,
            kinesis_mock,
        })
    }

    /// The Python whose libraries read objects back.
    pub(crate) fn python(&self) -> &Path {
        &self.python
    }

    /// Tells a test where everything is.
    pub(crate) fn export<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("HYDRANT_TEST_S3_ENDPOINT", &self.s3.endpoint)
            .env("HYDRANT_TEST_S3_ACCESS_KEY", ACCESS_KEY)
            .env("HYDRANT_TEST_S3_SECRET_KEY", SECRET_KEY)
            .env("HYDRANT_TEST_PYTHON", &self.python)
            .env("HYDRANT_TEST_KINESIS_MOCK", &self.kinesis_mock)
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }
}

fn install_python(cache: &Cache) -> Result<PathBuf> {
    let path = process::root().join("tests/e2e/requirements.txt");
    let wanted = fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    let folder = cache.once("python", &wanted, |folder| {
        let mut venv = Command::new("python3");
        process::run(venv.args(["-m", "venv"]).arg(folder), "python3 -m venv")?;
        let mut pip = process::niced(&folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ]);
        process::run(pip.arg(&path), "pip install")
    })?;
    Ok(folder.join("bin/python"))
}

fn install_kinesis_mock(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.once("kinesis-mock", KINESIS_MOCK, |folder| {
        let mut npm = process::niced(Path::new("npm"));
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
            .arg("--prefix")
            .arg(folder)
            .arg(KINESIS_MOCK);
        process::run(&mut npm, "npm install")
    })?;
    Ok(folder.join("node_modules/kinesis-local/main.js"))
}

fn install_versitygw(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.once("versitygw", VERSITYGW, |folder| {
        let mut go = process::niced(Path::new("go"));
        go.args(["install", "-trimpath", "-ldflags=-s -w", VERSITYGW])
            .env("GOBIN", folder)
            .env("GOFLAGS", "-buildvcs=false -p=2")
            .env("CGO_ENABLED", "0");
        process::run(&mut go, "go install")
    })?;
    Ok(folder.join("versitygw"))
}

/// An S3 server over a temporary folder; dropping it ends the process and removes the folder.
struct Versitygw {
    child: Child,
    folder: PathBuf,
    endpoint: String,
}

impl Versitygw {
    fn start(binary: &Path, python: &Path) -> Result<Self> {
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("hydrant-s3-{}", std::process::id()));
        let (data, meta) = (folder.join("data"), folder.join("meta"));
        for one in [&data, &meta] {
            fs::create_dir_all(one).with_context(|| format!("cannot make {}", one.display()))?;
        }
        let log = fs::File::create(folder.join("log")).context("cannot make the server's log")?;
        let child = Command::new(python)
            .arg(process::root().join("tests/e2e/with_parent.py"))
            .arg(binary)
            .args([
                "--access",
                ACCESS_KEY,
                "--secret",
                SECRET_KEY,
                "--region",
                "us-east-1",
            ])
            .args([
                "--port",
                &format!("127.0.0.1:{port}"),
                "--health",
                "/healthz",
            ])
            .args(["posix", "--sidecar"])
            .args([&meta, &data])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(log.try_clone().context("cannot share the server's log")?)
            .stdout(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let mut server = Self {
            child,
            folder,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        server.wait_until_healthy(port)?;
        Ok(server)
    }

    fn wait_until_healthy(&mut self, port: u16) -> Result<()> {
        let began = process::now();
        while !healthy(port) {
            let ended = self.child.try_wait().context("cannot wait for versitygw")?;
            if ended.is_some() || began.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("versitygw did not start on port {port}; it wrote:\n{log}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!(
                "cannot end versitygw (process {}): {error}",
                self.child.id()
            );
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

/// Whether the health page answers 200.
fn healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, POLL)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.take(4096).read_to_string(&mut reply)?;
        Ok(reply)
    };
    ask().is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"))
}
