//! What all is compared with, run in the same rounds: a copy in chunks that stay in the last cache,
//! and flate2 (zlib-rs) at level 6, both on chunks of an object's size.

use std::hint::black_box;
use std::io::Write as _;
use std::num::NonZero;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Run;
use crate::bench::load::{Load, OBJECT_BYTES};

/// Copies everything once.
pub(in crate::bench) fn copy(load: &Load) -> Run {
    let mut run = Run {
        bytes_in: load.bytes() as u64,
        bytes_out: load.bytes() as u64,
        ..Run::default()
    };
    // Ones, so that its pages are there before they are copied to.
    let mut target = vec![1; OBJECT_BYTES];
    run.time(|| {
        for chunk in load.data().chunks(OBJECT_BYTES) {
            target[..chunk.len()].copy_from_slice(black_box(chunk));
            black_box(&mut target);
        }
    });
    run
}

/// Compresses everything once.
pub(in crate::bench) fn flate2(load: &Load) -> Run {
    let mut run = Run {
        bytes_in: load.bytes() as u64,
        ..Run::default()
    };
    for chunk in load.data().chunks(OBJECT_BYTES) {
        run.bytes_out += run.time(|| gzip(chunk)).len() as u64;
    }
    run
}

/// Compresses everything once on every core at the same time. What a core does costs more while its
/// neighbours work too: they share caches, memory and, on many machines, the core itself.
pub(in crate::bench) fn flate2_on_all_cores(load: &Load) -> Run {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut sum = Run::default();
    thread::scope(|scope| {
        let all: Vec<_> = (0..cores).map(|_| scope.spawn(|| flate2(load))).collect();
        for one in all {
            let run = one.join().expect("compressing does not panic");
            sum.cpu += run.cpu;
            sum.bytes_in += run.bytes_in;
            sum.bytes_out += run.bytes_out;
        }
    });
    sum
}

/// One gzip member.
pub(in crate::bench) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("a vector takes all")
}
