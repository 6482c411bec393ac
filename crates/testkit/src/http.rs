//! The least of HTTP/1.1 that a fake server needs: reads a request, head and body apart.

use std::io::{self, ErrorKind};

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A request whose head is there, and of its body what came along.
#[derive(Debug)]
pub struct Request {
    /// Request line and header lines, up to the empty line.
    pub head: String,
    /// What is there of the body.
    pub body: Vec<u8>,
    length: usize,
}

impl Request {
    /// Reads a request's head; whoever waits for leave to send the body gets it.
    ///
    /// # Errors
    /// Where the connection ends first, or what comes is no request.
    pub async fn read_head(client: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if client.read_buf(&mut bytes).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let body = bytes.split_off(end);
        let invalid = |_| io::Error::from(ErrorKind::InvalidData);
        let head = String::from_utf8(bytes).map_err(invalid)?;
        if header(&head, "expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let length = header(&head, "content-length").map_or(Ok(0), str::parse);
        let length = length.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        Ok(Self { head, body, length })
    }

    /// Reads a whole request.
    ///
    /// # Errors
    /// As [`Request::read_head`].
    pub async fn read(client: &mut TcpStream) -> io::Result<Self> {
        let mut request = Self::read_head(client).await?;
        request.read_body(client, usize::MAX).await?;
        Ok(request)
    }

    /// Reads on until `bytes` of the body are there, or all of it. Gives whether it is whole.
    ///
    /// # Errors
    /// Where the connection ends first.
    pub async fn read_body(&mut self, client: &mut TcpStream, bytes: usize) -> io::Result<bool> {
        while self.body.len() < self.length.min(bytes) {
            if client.read_buf(&mut self.body).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.body.len() >= self.length)
    }

    /// Bytes of the whole body.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}
