//! HTTP/1.1 by hand, for clients that do not go by the rules.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

use crate::client::{Answer, Client, GIVE_UP, head, within};
use crate::server::STREAM;

/// A connection on which bytes are sent as they are.
pub(crate) struct Raw {
    stream: TcpStream,
    /// Read and not yet used.
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(client: &Client) -> io::Result<Self> {
        Ok(Self {
            stream: client.connect().await?,
            read: Vec::new(),
        })
    }

    /// This end, as the server sees it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let sent = within(GIVE_UP, self.stream.write_all(bytes.as_ref())).await;
        sent.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A whole call, without reading its answer.
    pub(crate) async fn ask(&mut self, operation: &str, body: &str) -> io::Result<()> {
        self.send(head(operation, body.len()) + body).await
    }

    /// A call and its answer.
    pub(crate) async fn call(&mut self, operation: &str, body: &str) -> io::Result<Answer> {
        self.ask(operation, body).await?;
        self.answer().await
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        self.answer_slowly(usize::MAX, Duration::ZERO).await
    }

    /// The next answer, read so many bytes at a time with a pause after each.
    pub(crate) async fn answer_slowly(
        &mut self,
        at_once: usize,
        pause: Duration,
    ) -> io::Result<Answer> {
        let head_end = loop {
            if let Some(at) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            self.more(at_once).await?;
        };
        let head = String::from_utf8_lossy(&self.read[..head_end]).to_lowercase();
        let status = head.get(9..12).and_then(|text| text.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let length = head.split_once("content-length:").map(|(_, rest)| rest);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let end = head_end + length.unwrap_or(0);
        self.rest(end, at_once, pause).await?;
        let body = &self.read[head_end..end];
        let body = serde_json::from_slice(body).unwrap_or(Value::Null);
        self.read.drain(..end);
        Ok(Answer { status, body })
    }

    async fn rest(&mut self, end: usize, at_once: usize, pause: Duration) -> io::Result<()> {
        let mut pause_at = self.read.len() + at_once.min(end);
        while self.read.len() < end {
            self.more(at_once).await?;
            if self.read.len() >= pause_at {
                pause_at = self.read.len() + at_once.min(end);
                crate::client::pause(pause.as_millis().try_into().unwrap()).await;
            }
        }
        Ok(())
    }

    async fn more(&mut self, at_once: usize) -> io::Result<()> {
        let mut some = vec![0; at_once.min(64 << 10)];
        let read = within(GIVE_UP, self.stream.read(&mut some)).await;
        match read.unwrap_or(Err(io::ErrorKind::TimedOut.into()))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.read.extend_from_slice(&some[..bytes]);
                Ok(())
            }
        }
    }

    /// Waits so long for the server to close.
    pub(crate) async fn closed(&mut self, longest: Duration) {
        let mut some = [0; 4096];
        let end = async { while self.stream.read(&mut some).await.is_ok_and(|read| read > 0) {} };
        within(longest, end).await;
    }

    /// The body of a call for the first records of the shard that holds some from the start. Few enough
    /// that their answer is made without another thread.
    pub(crate) async fn iterator(&mut self, client: &Client) -> io::Result<String> {
        let shard = client.shared.loaded();
        let start = json!({
            "StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"
        });
        let answer = self.call("GetShardIterator", &start.to_string()).await?;
        let iterator = answer.body["ShardIterator"].as_str();
        Ok(json!({ "ShardIterator": iterator, "Limit": 25 }).to_string())
    }
}
