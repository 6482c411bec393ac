//! A fake: an HTTP server that fails by a script before it lets requests through to the real one.
//! One request a connection. Not an S3 server: what it says about S3 is what the script says.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// It is answered here: status line, further headers, body.
    Answer(&'static str, &'static str, &'static str),
    /// The connection closes without an answer.
    Reset,
    /// The real server gets it, and its answer is thrown away.
    LoseReply,
    /// It is let through after a pause.
    Slow(Duration),
}

/// A running fake.
pub(crate) struct FaultServer {
    pub(crate) endpoint: String,
    script: Arc<Mutex<VecDeque<Step>>>,
    /// Method and path of every request, with whether it had a condition.
    pub(crate) seen: Arc<Mutex<Vec<(String, bool)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultServer {
    /// Starts one in front of `upstream` (`http://host:port`).
    pub(crate) async fn start(upstream: &str, script: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let script = Arc::new(Mutex::new(script.iter().copied().collect::<VecDeque<_>>()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (steps, requests) = (script.clone(), seen.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (upstream, steps, requests) =
                    (upstream.clone(), steps.clone(), requests.clone());
                // A client that goes away is no fault of the test.
                connections.spawn(async move {
                    drop(serve(stream, &upstream, &steps, &requests).await);
                });
            }
        });
        Self {
            endpoint,
            script,
            seen,
            task,
        }
    }

    /// Follows another script, and forgets what was seen.
    pub(crate) fn restart(&self, script: &[Step]) {
        *self.script.lock().unwrap() = script.iter().copied().collect();
        self.seen.lock().unwrap().clear();
    }

    /// Steps that no request has met yet.
    pub(crate) fn left(&self) -> usize {
        self.script.lock().unwrap().len()
    }
}

async fn serve(
    mut client: TcpStream,
    upstream: &str,
    script: &Mutex<VecDeque<Step>>,
    seen: &Mutex<Vec<(String, bool)>>,
) -> io::Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let condition = head.to_ascii_lowercase().contains("if-none-match:");
    seen.lock().unwrap().push((line, condition));
    let step = script.lock().unwrap().pop_front();
    match step {
        Some(Step::Answer(status, headers, text)) => {
            let answer = format!(
                "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
            client.write_all(answer.as_bytes()).await?;
        }
        Some(Step::Reset) => {}
        Some(Step::LoseReply) => drop(forward(upstream, &head, &body).await?),
        Some(Step::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            let answer = forward(upstream, &head, &body).await?;
            client.write_all(&answer).await?;
        }
        None => {
            let answer = forward(upstream, &head, &body).await?;
            client.write_all(&answer).await?;
        }
    }
    client.shutdown().await
}

async fn forward(upstream: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn read_request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    if head.to_ascii_lowercase().contains("100-continue") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while bytes.len() < head_end + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, bytes.split_off(head_end)))
}
