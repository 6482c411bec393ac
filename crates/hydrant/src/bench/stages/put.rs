//! What the API does with the body of a `PutRecords` call once it is there: JSON, base64, the shard
//! of each record, one block for each shard.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hydrant_api::PutDecoder;
use hydrant_core::budget::Budget;

use super::home::{Home, STREAM};
use super::{Run, Stage};
use crate::bench::load::Load;
use crate::bench::ways::put::bodies;

struct Decode {
    load: Arc<Load>,
    decoder: PutDecoder,
    bodies: Vec<Bytes>,
    _home: Home,
}

pub(in crate::bench) fn decode(load: &Arc<Load>, dir: &Path) -> anyhow::Result<Box<dyn Stage>> {
    let home = Home::open(dir)?;
    let account = Budget::new(64 << 20).account("bench");
    Ok(Box::new(Decode {
        load: load.clone(),
        decoder: PutDecoder::new(home.streams.clone(), account, home.clock.clone()),
        bodies: bodies(load, STREAM),
        _home: home,
    }))
}

impl Stage for Decode {
    /// The records of a batch are looked at where it is appended; here they are counted.
    fn check(&mut self) -> anyhow::Result<()> {
        let mut records = 0;
        for body in &self.bodies {
            let batch = self.decoder.decode(body).map_err(anyhow::Error::msg)?;
            records += batch.shards().count();
        }
        let wanted = self.load.records();
        anyhow::ensure!(records == wanted, "decoded {records} of {wanted} records");
        Ok(())
    }

    fn run(&mut self) -> anyhow::Result<Run> {
        let mut run = Run::default();
        for body in &self.bodies {
            let batch = run.time(|| self.decoder.decode(body));
            drop(batch.map_err(anyhow::Error::msg)?);
        }
        run.bytes_in = self.load.bytes() as u64;
        run.bytes_out = run.bytes_in;
        Ok(run)
    }
}
