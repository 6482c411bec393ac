//! Reads objects back, GZIP and ZIP with other software than what made them, and says whether they
//! hold the records. Independent readers of every container are in `tests/e2e`.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, GzDecoder};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use parquet::schema::parser::parse_message_type;

use super::load::{Fingerprint, Load};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Plain,
    Gzip,
    Zip,
    Xerial,
    HadoopSnappy,
    Zstd,
    Parquet,
}

/// Bytes before the name in the header of a ZIP entry.
const ZIP_HEADER_BYTES: usize = 30;
/// Bytes of the header of a snappy-java stream.
const XERIAL_HEADER_BYTES: usize = 16;
/// What objects hold: records as they are, or rows and the sum of their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    lines: Fingerprint,
    rows: u64,
    numbers: u64,
}

impl Found {
    /// What is to be found where the records were delivered so many times.
    pub(super) fn of(load: &Load, container: Container, times: u64) -> Self {
        if container != Container::Parquet {
            return Self {
                lines: load.fingerprint().times(times),
                ..Self::default()
            };
        }
        let records = load.records() as u64;
        Self {
            rows: records * times,
            numbers: records * (records - 1) / 2 * times,
            ..Self::default()
        }
    }

    /// Adds what an object holds.
    pub(super) fn add(&mut self, container: Container, object: &[u8]) -> anyhow::Result<()> {
        if container != Container::Parquet {
            return self.lines.add_lines(&plain(container, object)?);
        }
        let file = SerializedFileReader::new(Bytes::copy_from_slice(object))?;
        self.rows += u64::try_from(file.metadata().file_metadata().num_rows())?;
        let root = file.metadata().file_metadata().schema().name();
        let numbers = parse_message_type(&format!("message {root} {{ OPTIONAL INT64 seq; }}"))?;
        for row in file.get_row_iter(Some(numbers))? {
            self.numbers += u64::try_from(row?.get_long(0)?)?;
        }
        Ok(())
    }

    /// Adds every object below a folder; gives their bytes. What is hidden is not an object.
    pub(super) fn add_folder(&mut self, container: Container, dir: &Path) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type()?.is_dir() {
                bytes += self.add_folder(container, &entry.path())?;
                continue;
            }
            let object = std::fs::read(entry.path())?;
            self.add(container, &object)
                .with_context(|| entry.path().display().to_string())?;
            bytes += object.len() as u64;
        }
        Ok(bytes)
    }

    /// An error where it is anything else.
    pub(super) fn must_be(&self, wanted: &Self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self == wanted,
            "the output holds {self:?}, but should hold {wanted:?}"
        );
        Ok(())
    }
}

fn plain(container: Container, object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match container {
        Container::Plain => plain.extend_from_slice(object),
        Container::Gzip => {
            let mut rest = object;
            GzDecoder::new(&mut rest).read_to_end(&mut plain)?;
            anyhow::ensure!(rest.is_empty(), "something follows the gzip member");
        }
        Container::Zip => {
            let length = |at: usize| {
                let pair = object
                    .get(at..at + 2)
                    .context("a ZIP header is cut short")?;
                anyhow::Ok(usize::from(pair[0]) | usize::from(pair[1]) << 8)
            };
            let start = ZIP_HEADER_BYTES + length(26)? + length(28)?;
            let deflated = object.get(start..).context("a ZIP header is cut short")?;
            DeflateDecoder::new(deflated).read_to_end(&mut plain)?;
        }
        Container::Xerial => blocks(object.get(XERIAL_HEADER_BYTES..), false, &mut plain)?,
        Container::HadoopSnappy => blocks(Some(object), true, &mut plain)?,
        Container::Zstd => plain = zstd::decode_all(object)?,
        Container::Parquet => bail!("Parquet holds no lines"),
    }
    Ok(plain)
}

/// Blocks of raw snappy, each behind its length, and with `sized` behind its plain length too.
fn blocks(stream: Option<&[u8]>, sized: bool, plain: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut rest = stream.context("the header is cut short")?;
    let mut decoder = snap::raw::Decoder::new();
    while !rest.is_empty() {
        let head = if sized { 8 } else { 4 };
        let (length, after) = rest
            .split_at_checked(head)
            .context("a length is cut short")?;
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&length[head - 4..]);
        let length = usize::try_from(u32::from_be_bytes(bytes))?;
        let (block, after) = after
            .split_at_checked(length)
            .context("a block is cut short")?;
        plain.extend(decoder.decompress_vec(block)?);
        rest = after;
    }
    Ok(())
}
