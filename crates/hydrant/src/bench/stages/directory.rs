//! The directory sink: chunks into a temporary file, sync, rename, sync of the folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hydrant_core::stage::{ObjectMeta, ObjectSink as _, SinkError};
use hydrant_sink::{Directory, KeyRules};

use super::turns::Turns;
use super::{Run, Stage};
use crate::bench::load::Load;
use crate::runtime::{RealClock, RealRng};

/// Bytes of a chunk: a joined micro-batch.
const CHUNK_BYTES: usize = 512 << 10;

struct Write {
    load: Arc<Load>,
    turns: Arc<Turns>,
    dir: PathBuf,
    sink: Directory,
    objects: Vec<Vec<Bytes>>,
}

pub(in crate::bench) fn write(load: &Arc<Load>, dir: &Path) -> anyhow::Result<Box<dyn Stage>> {
    let objects = load.objects().into_iter().map(|records| {
        let bytes: Vec<u8> = records.flat_map(|i| load.record(i)).copied().collect();
        let bytes = Bytes::from(bytes);
        let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
        starts
            .map(|start| bytes.slice(start..(start + CHUNK_BYTES).min(bytes.len())))
            .collect()
    });
    let rules = KeyRules::new("bench", 1, None, None, None)
        .map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
    let (turns, clock, rng) = (
        Turns::new(),
        Arc::<RealClock>::default(),
        Arc::<RealRng>::default(),
    );
    Ok(Box::new(Write {
        sink: Directory::new(dir, rules, turns.clone(), clock, rng),
        objects: objects.collect(),
        load: load.clone(),
        dir: dir.to_owned(),
        turns,
    }))
}

impl Write {
    async fn put(&self, name: String, chunks: &[Bytes]) -> Result<(), SinkError> {
        let mut upload = self.sink.object(ObjectMeta {
            key: name,
            content_encoding: None,
            metadata: Vec::new(),
        });
        for chunk in chunks {
            upload.write(chunk.clone()).await?;
        }
        upload.complete().await.map(drop)
    }

    fn put_all(&self) -> anyhow::Result<()> {
        for (i, chunks) in self.objects.iter().enumerate() {
            self.turns.finish(self.put(format!("o/{i}"), chunks))??;
        }
        Ok(())
    }

    fn tidy(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.dir.join("o"))?)
    }
}

impl Stage for Write {
    fn check(&mut self) -> anyhow::Result<()> {
        self.put_all()?;
        for (i, chunks) in self.objects.iter().enumerate() {
            let written = std::fs::read(self.dir.join(format!("o/{i}")))?;
            anyhow::ensure!(
                written == chunks.concat(),
                "object {i} was not written whole"
            );
        }
        self.tidy()
    }

    fn run(&mut self) -> anyhow::Result<Run> {
        let mut run = Run::default();
        run.time(|| self.put_all())?;
        self.tidy()?;
        run.bytes_in = self.load.bytes() as u64;
        run.bytes_out = run.bytes_in;
        Ok(run)
    }
}
