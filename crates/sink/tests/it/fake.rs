//! A fake: an HTTP server that fails by a script before it lets requests through to the real one.
//! One request a connection. Not an S3 server: what it says about S3 is what the script says.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hydrant_testkit::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Of a body, the kernel takes this much before it is read (twice, says `socket(7)`): the rest waits at
/// the sender.
const RECEIVE_BYTES: u32 = 64 << 10;
/// Read at once where a body is read slowly.
const DRIP_BYTES: usize = 256 << 10;

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
    /// So many bytes of its body are read, and nothing more happens.
    Stall(usize),
    /// The first half of its body is read steadily, within this time, before it is let through. The
    /// kernel may hold the other half from the start.
    Drip(Duration),
    /// It is answered with success, whose body ends midway; nothing more happens.
    Half(&'static str),
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
    pub(crate) fn start(upstream: &str, script: &[Step]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
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
    let mut request = Request::read_head(&mut client).await?;
    let line = request.head.lines().next().unwrap_or_default().to_owned();
    let condition = request.header("if-none-match").is_some();
    seen.lock().unwrap().push((line, condition));
    let step = script.lock().unwrap().pop_front();
    match step {
        Some(Step::Stall(bytes)) => {
            request.read_body(&mut client, bytes).await?;
            return std::future::pending().await;
        }
        Some(Step::Drip(time)) => drip(&mut request, &mut client, time).await?,
        _ => drop(request.read_body(&mut client, usize::MAX).await?),
    }
    let Request { head, body, .. } = request;
    match step {
        Some(Step::Half(text)) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                2 * text.len()
            );
            client.write_all(head.as_bytes()).await?;
            client.write_all(text.as_bytes()).await?;
            return std::future::pending().await;
        }
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
        Some(Step::Stall(_) | Step::Drip(_)) | None => {
            let answer = forward(upstream, &head, &body).await?;
            client.write_all(&answer).await?;
        }
    }
    client.shutdown().await
}

async fn drip(request: &mut Request, client: &mut TcpStream, time: Duration) -> io::Result<()> {
    let drips = request.length() / 2 / DRIP_BYTES;
    let mut ticks = tokio::time::interval(time / u32::try_from(drips).unwrap());
    for drip in 1..=drips {
        request.read_body(client, drip * DRIP_BYTES).await?;
        ticks.tick().await;
    }
    request.read_body(client, usize::MAX).await.map(drop)
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
