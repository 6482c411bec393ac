//! The producer: prepared `PutRecords` calls over a few connections that are kept.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64_simd::STANDARD;
use bytes::Bytes;

use crate::bench::load::Load;

/// Connections: enough that a sync serves several calls.
const CONNECTIONS: usize = 8;
/// An answer comes after a sync, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longest answer: 500 numbers of records.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The bodies of calls that put all records.
pub(in crate::bench) fn bodies(load: &Load, stream: &str) -> Vec<Bytes> {
    let body = |call: Vec<hydrant_log::stream::PutEntry<'_>>| {
        let mut body = format!("{{\"StreamName\":\"{stream}\",\"Records\":[");
        for (i, entry) in call.iter().enumerate() {
            body.push_str(if i == 0 {
                "{\"Data\":\""
            } else {
                ",{\"Data\":\""
            });
            body.push_str(&STANDARD.encode_to_string(entry.data));
            body.push_str("\",\"PartitionKey\":\"");
            body.push_str(entry.partition_key);
            body.push_str("\"}");
        }
        body.push_str("]}");
        Bytes::from(body)
    };
    load.calls().map(body).collect()
}

/// Sends all calls so many times.
pub(super) fn send(address: SocketAddr, bodies: &[Bytes], times: u64) -> anyhow::Result<()> {
    let (next, calls) = (AtomicUsize::new(0), bodies.len() * usize::try_from(times)?);
    let work = || -> anyhow::Result<()> {
        let mut connection = Connection::open(address)?;
        loop {
            let call = next.fetch_add(1, Ordering::Relaxed);
            if call >= calls {
                return Ok(());
            }
            connection.put(&bodies[call % bodies.len()])?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => bail!("a producer panicked"),
            }
        }
        Ok(())
    })
}

struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
            answer: Vec::new(),
        })
    }

    fn put(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\nx-amz-target: Kinesis_20131202.PutRecords\r\n\
             content-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let (mut status, mut length) = (String::new(), None);
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let length = length.context("an answer has no length")?;
        anyhow::ensure!(length <= MAX_ANSWER_BYTES, "an answer is too long");
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer)?;
        let taken = self.answer.starts_with(b"{\"FailedRecordCount\":0,");
        if !status.contains(" 200 ") || !taken {
            let answer = String::from_utf8_lossy(&self.answer);
            let shown: String = answer.chars().take(200).collect();
            bail!("a put was refused: {} {shown}", status.trim_end());
        }
        Ok(())
    }
}
