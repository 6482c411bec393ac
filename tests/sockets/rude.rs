//! Clients that are slow, break off or vanish, and what the server must make of each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hydrant_core::rng::Rng as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;

use crate::client::{Answer, Client, GIVE_UP, Put, head, now, pause, request, within};
use crate::good::check_records;
use crate::ledger::Fate;
use crate::plan::{Kind, Rude};
use crate::raw::Raw;
use crate::server::HOST;
use crate::world::{Due, lock};

/// A first request must be there by then (the server's `FIRST_REQUEST`).
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Each next one by then (`KEEP_ALIVE`).
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// A body that brings too little is given up by then (`WINDOW`; the one before may have brought enough).
const BODY: Duration = Duration::from_secs(20);
/// An answer of half a megabyte must be taken by then (`TAKE`, and what its length adds), with all that
/// goes before.
const TAKE: Duration = Duration::from_secs(45);

/// Where memory is scarce a call waits for it, and is read to its end where there is none
/// (`BUDGET_WAIT`, `DISCARD`).
const MEMORY: Duration = Duration::from_secs(8);

/// Lives through its part.
pub(crate) async fn live(client: Client, rude: Rude) {
    let played = match rude {
        Rude::Silent => silent(&client).await,
        Rude::SlowHead => slow_head(&client).await,
        Rude::SlowSecond => slow_second(&client).await,
        Rude::Idle => idle(&client).await,
        Rude::SlowBody => slow_body(&client).await,
        Rude::Drip => drip(&client).await,
        Rude::HalfBody => half_body(&client).await,
        Rude::Vanished => vanished(&client).await,
        Rude::PutAndGo => put_and_go(&client).await,
        Rude::Reset => reset(&client).await,
        Rude::NeverReads => never_reads(&client).await,
        Rude::NeverTakes => never_takes(&client).await,
        Rude::SlowReader => slow_reader(&client).await,
        Rude::Pipelined => pipelined(&client).await,
        Rude::Garbage => garbage(&client).await,
        Rude::TooLong => too_long(&client).await,
    };
    let kind = played.err().map(|error| error.kind());
    client.note(format_args!("{rude:?} ends: {kind:?}"));
    if kind.is_none() {
        client.shared.trace.fired(NAMES[rude as usize]);
    }
}

/// Names for the count of what took effect.
const NAMES: [&str; 16] = [
    "silent",
    "slow head",
    "slow second head",
    "idle",
    "slow body",
    "drip",
    "half a body",
    "vanished",
    "put and gone",
    "reset",
    "answer not read",
    "answer not taken",
    "answer read slowly",
    "pipelined",
    "garbage",
    "body too long",
];

impl Client {
    /// The server must have closed this connection by then.
    fn must_close(&self, peer: SocketAddr, due: Due) {
        // It is looked at again once there was memory for it, or not.
        let scarce = self.shared.plan.kind == Kind::Scarce;
        let due = match due {
            Due::At(at) if scarce => Due::At(at + MEMORY),
            due => due,
        };
        lock(&self.shared.dues).push((peer, due));
    }

    fn key(&self) -> String {
        format!("c{}", self.id)
    }

    /// What was answered is as it should be, unless the server was stopped or down meanwhile.
    fn expect(&self, began: Duration, answer: &io::Result<Answer>, statuses: &[u16]) {
        let found = answer.as_ref().map(|answer| answer.status);
        let well = found.as_ref().is_ok_and(|status| statuses.contains(status));
        // The refusal of a call that is still sent may be lost with the connection, and a connection
        // may never have been taken.
        let lost = found.is_err() && (self.shared.plan.may_break() || !statuses.contains(&200));
        let refused = self.shared.plan.may_refuse() && matches!(found, Ok(400));
        if !well && !refused && !lost && !self.shared.disturbed_since(began) {
            let found = found.map_err(std::io::Error::kind);
            self.shared.violation(format!(
                "client {} got {found:?} and not one of {statuses:?}",
                self.id
            ));
        }
    }
}

async fn silent(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    client.must_close(raw.address(), Due::AfterAccept(FIRST_REQUEST));
    raw.closed(KEEP_ALIVE).await;
    Ok(())
}

/// Sends a head byte by byte, until the server has enough of it. What is sent to a host that has ended
/// goes nowhere, so then it is enough too.
async fn byte_by_byte(client: &Client, raw: &mut Raw, every_ms: u64) {
    for byte in head("ListStreams", 2).bytes() {
        if raw.send([byte]).await.is_err() || *client.shared.stop.borrow() {
            return;
        }
        pause(every_ms).await;
    }
}

async fn slow_head(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    client.must_close(raw.address(), Due::AfterAccept(FIRST_REQUEST));
    byte_by_byte(client, &mut raw, 700).await;
    Ok(())
}

/// A connection on which one call was answered.
async fn called(client: &Client) -> io::Result<Raw> {
    let mut raw = Raw::connect(client).await?;
    raw.call("ListStreams", "{}").await?;
    Ok(raw)
}

async fn slow_second(client: &Client) -> io::Result<()> {
    let mut raw = called(client).await?;
    client.must_close(raw.address(), Due::At(now() + KEEP_ALIVE));
    byte_by_byte(client, &mut raw, 3_000).await;
    Ok(())
}

async fn idle(client: &Client) -> io::Result<()> {
    let mut raw = called(client).await?;
    client.must_close(raw.address(), Due::At(now() + KEEP_ALIVE));
    raw.closed(2 * KEEP_ALIVE).await;
    Ok(())
}

async fn slow_body(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let (put, began) = (client.put(&client.key(), 1, 3_000), now());
    raw.send(head(put.operation, put.body.len())).await?;
    client.must_close(raw.address(), Due::At(now() + BODY));
    for piece in put.body.as_bytes().chunks(50).take(50) {
        if raw.send(piece).await.is_err() {
            break;
        }
        pause(500).await;
    }
    let answer = raw.answer().await;
    client.expect(began, &answer, &[408]);
    let fate = answer.map_or(Fate::Unsent, |answer| Fate::Refused(answer.status));
    lock(&client.shared.ledger).settle(put.ids[0], fate);
    Ok(())
}

async fn drip(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let (put, began) = (client.put(&client.key(), 1, 20_000), now());
    raw.send(head(put.operation, put.body.len())).await?;
    for piece in put.body.as_bytes().chunks(700) {
        raw.send(piece).await?;
        pause(500).await;
    }
    finish(client, &mut raw, &put, began).await
}

/// Reads the answer to a put that the server must take.
async fn finish(client: &Client, raw: &mut Raw, put: &Put, began: Duration) -> io::Result<()> {
    let answer = raw.answer().await;
    client.expect(began, &answer, &[200]);
    client.settle(put, &answer?);
    Ok(())
}

/// Sends a put but for some bytes of its body.
async fn most_of_a_put(client: &Client, raw: &mut Raw) -> io::Result<()> {
    let put = client.any_put(&client.key());
    for id in &put.ids {
        lock(&client.shared.ledger).settle(*id, Fate::Unsent);
    }
    let end = client.below(put.body.len());
    raw.send(head(put.operation, put.body.len())).await?;
    raw.send(&put.body.as_bytes()[..end]).await
}

async fn half_body(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    most_of_a_put(client, &mut raw).await?;
    pause(client.rng.below(3_000)).await;
    client.must_close(raw.address(), Due::At(now() + Duration::from_secs(1)));
    Ok(())
}

/// On a host of its own, which the server never hears of again.
async fn vanished(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let bound = match client.below(3) {
        0 => {
            most_of_a_put(client, &mut raw).await?;
            BODY
        }
        1 => {
            let put = client.any_put(&client.key());
            raw.ask(put.operation, &put.body).await?;
            KEEP_ALIVE + BODY
        }
        _ => {
            raw.call("ListStreams", "{}").await?;
            KEEP_ALIVE
        }
    };
    pause(client.rng.below(300)).await;
    client.must_close(raw.address(), Due::At(now() + bound));
    turmoil::partition(gone(client.id), HOST);
    Ok(())
}

/// The host of a client that vanishes.
pub(crate) fn gone(client: u64) -> String {
    format!("gone-{client}")
}

async fn put_and_go(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let put = client.any_put(&client.key());
    raw.ask(put.operation, &put.body).await?;
    pause(client.rng.below(200)).await;
    client.must_close(raw.address(), Due::At(now() + Duration::from_secs(2)));
    Ok(())
}

async fn reset(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    raw.ask("ListStreams", "{}").await?;
    pause(1_000).await;
    most_of_a_put(client, &mut raw).await?;
    pause(client.rng.below(200)).await;
    client.must_close(raw.address(), Due::At(now() + Duration::from_secs(1)));
    Ok(())
}

async fn never_reads(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let iterator = raw.iterator(client).await?;
    for _ in 0..=client.below(3) {
        raw.ask("GetRecords", &iterator).await?;
    }
    client.must_close(raw.address(), take(client));
    pause(80_000).await;
    Ok(())
}

/// When an answer must have been given up that was asked for now. Where memory is scarce it is a short
/// refusal, which is sent, and then the connection is idle.
fn take(client: &Client) -> Due {
    let scarce = client.shared.plan.kind == Kind::Scarce;
    Due::At(now() + TAKE + if scarce { KEEP_ALIVE } else { Duration::ZERO })
}

async fn never_takes(client: &Client) -> io::Result<()> {
    let iterator = Raw::connect(client).await?.iterator(client).await?;
    let stream = client.connect().await?;
    let address = stream.local_addr()?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    builder.initial_stream_window_size(1_000);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let sent = sender.send_request(request("GetRecords", iterator));
    let answer = within(GIVE_UP, sent).await;
    if client.shared.plan.kind != Kind::Scarce {
        client.must_close(address, take(client));
    }
    // Neither the answer's body nor the connection is dropped meanwhile.
    within(80_000 * Duration::from_millis(1), connection).await;
    drop((answer, sender));
    Ok(())
}

async fn slow_reader(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let iterator = raw.iterator(client).await?;
    let began = now();
    raw.ask("GetRecords", &iterator).await?;
    let pause = Duration::from_millis(200);
    let answer = raw.answer_slowly(8 << 10, pause).await;
    client.expect(began, &answer, &[200]);
    let answer = answer?;
    if answer.status == 200 {
        check_records(client, &answer.body, &mut Value::Null);
    }
    Ok(())
}

async fn pipelined(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let (began, mut all) = (now(), String::new());
    let puts: Vec<Put> = (0..2 + client.below(4))
        .map(|_| client.any_put(&client.key()))
        .collect();
    for put in &puts {
        all += &(head(put.operation, put.body.len()) + &put.body);
    }
    raw.send(all).await?;
    for put in &puts {
        finish(client, &mut raw, put, began).await?;
    }
    Ok(())
}

async fn garbage(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello".to_vec();
    let noise: Vec<u8> = (0..2_000)
        .map(|_| client.below(256).try_into().unwrap())
        .collect();
    let others = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"POST / HTTP/1.0\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame of HTTP/2".to_vec(),
        b"\r\n\r\n\r\n".to_vec(),
        tls,
        noise,
    ];
    raw.send(&others[client.below(others.len())]).await?;
    client.must_close(raw.address(), Due::At(now() + KEEP_ALIVE));
    raw.closed(2 * KEEP_ALIVE).await;
    Ok(())
}

async fn too_long(client: &Client) -> io::Result<()> {
    let mut raw = Raw::connect(client).await?;
    let began = now();
    raw.send(head("PutRecords", 20 << 20)).await?;
    raw.send("{\"Records\": [").await?;
    let answer = raw.answer().await;
    client.expect(began, &answer, &[413]);
    client.must_close(raw.address(), Due::At(now() + Duration::from_secs(2)));
    raw.closed(GIVE_UP).await;
    answer.map(drop)
}
