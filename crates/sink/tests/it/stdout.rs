//! The stdout sink into a buffer and into a closed pipe.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hydrant_core::stage::{Completed, ObjectSink as _, SinkError};
use hydrant_sink::Stdout;

use crate::support::{io, meta, put, rules};

/// Bytes, number of flushes, and the names of the threads that wrote.
type Written = (Vec<u8>, u32, Vec<String>);

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Written>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        inner.0.extend_from_slice(bytes);
        inner
            .2
            .push(std::thread::current().name().unwrap_or_default().to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().1 += 1;
        Ok(())
    }
}

struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn objects_come_whole_and_flushed_off_the_async_thread() {
    let buffer = Buffer::default();
    let sink = Stdout::new(rules("p/"), buffer.clone(), io());
    let mut open = sink.object(meta("open"));
    open.write(Bytes::from_static(b"never seen")).await.unwrap();
    assert_eq!(open.held_bytes(), 10);
    let put = put(&sink, meta("x"), &[b"{\"a\":1}\n", b"{\"a\":2}\n"])
        .await
        .unwrap();
    open.abort().await;
    assert_eq!(put, Completed::Written);
    let (bytes, flushes, threads) = buffer.0.lock().unwrap().clone();
    assert_eq!(
        (bytes.as_slice(), flushes),
        (&b"{\"a\":1}\n{\"a\":2}\n"[..], 1)
    );
    assert!(threads.iter().all(|name| name == "io"), "{threads:?}");
}

#[tokio::test]
async fn a_reader_that_went_away_stops_the_stream() {
    let sink = Stdout::new(rules("p/"), ClosedPipe, io());
    let error = put(&sink, meta("x"), &[b"data"]).await.unwrap_err();
    assert!(matches!(error, SinkError::Broken(_)), "{error}");
}
