//! The settings of an encoder, checked, and the constructor. Reading them from a configuration
//! file is left to the front door.

use std::sync::Arc;

use hydrant_core::Digest;
use hydrant_core::stage::Encode;

use crate::Error;
use crate::convert::{Convert, schema::Schema};
use crate::records::Joined;

/// Raised whenever the bytes of an object change for the same settings and outputs, so that a
/// range that was begun by an older build is not taken for the same.
const FORMAT_VERSION: u64 = 1;

/// Most bytes of a delimiter of the user's own: a line of text. Longer is surely a mistake.
const MAX_DELIMITER_BYTES: usize = 64;

/// Rows of a group: fewer than the least make dictionaries and statistics useless, and the most
/// keeps the count of a group in 32 bits with room.
const ROW_GROUP_ROWS: (usize, usize) = (8_192, 16_777_216);

/// Bytes of a group: less than the least gives pages too small to read well, more than the most
/// does not fit the memory of a usual reader.
const ROW_GROUP_BYTES: (usize, usize) = (1 << 20, 1 << 30);

/// What stands after each record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Delimiter {
    /// A newline.
    #[default]
    Newline,
    /// Nothing: the bytes that Firehose delivers by default.
    None,
    /// These 1 to 64 bytes.
    Custom(Vec<u8>),
}

impl Delimiter {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Newline => b"\n",
            Self::None => b"",
            Self::Custom(bytes) => bytes,
        }
    }
}

/// How the joined records of an object are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// One gzip member.
    Gzip {
        /// 1 (fastest) to 12 (smallest); 6 is the default. Objects past 16 MiB know 1 to 9 only,
        /// and take 9 for more.
        level: u8,
    },
    /// An archive with one deflated entry, named by the object's id.
    Zip,
    /// The stream of snappy-java (xerial), as Firehose's `Snappy` writes it.
    Snappy,
    /// The block stream of Hadoop's `SnappyCodec`, as Firehose's `HADOOP_SNAPPY` writes it.
    HadoopSnappy,
    /// One zstd frame.
    Zstd {
        /// 1 (fastest) to 22 (smallest); 1 is the default.
        level: u8,
    },
}

impl Compression {
    /// Gzip at its default level.
    pub const GZIP: Self = Self::Gzip { level: 6 };

    /// Zstd at its default level.
    pub const ZSTD: Self = Self::Zstd { level: 1 };

    fn check(self) -> Result<(), Error> {
        let (name, level, most) = match self {
            Self::Gzip { level } => ("gzip", level, 12),
            Self::Zstd { level } => ("zstd", level, 22),
            _ => return Ok(()),
        };
        within(&format!("{name} level"), level.into(), (1, most))
    }

    /// Default file extension with its dot.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip { .. } => ".gz",
            Self::Zip => ".zip",
            Self::Snappy | Self::HadoopSnappy => ".snappy",
            Self::Zstd { .. } => ".zst",
        }
    }

    /// Value of Content-Encoding: what Firehose sets, and the registered name for zstd.
    pub(crate) fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip { .. } => Some("gzip"),
            Self::Zip => Some("zip"),
            Self::Snappy => Some("snappy-java"),
            Self::HadoopSnappy => Some("hadoop-snappy"),
            Self::Zstd { .. } => Some("zstd"),
        }
    }
}

/// How the pages of a Parquet file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParquetCompression {
    /// Snappy.
    #[default]
    Snappy,
    /// Zstd, level 1.
    Zstd,
    /// Gzip, level 6.
    Gzip,
    /// Not at all.
    None,
}

/// The settings of Parquet objects.
#[derive(Clone, Debug)]
pub struct ParquetSettings {
    /// The columns.
    pub schema: Schema,
    /// How pages are compressed.
    pub compression: ParquetCompression,
    /// Most rows of a row group, 8,192 to 16,777,216.
    pub row_group_rows: usize,
    /// Bytes of decoded columns at which a row group ends, 1 MiB to 1 GiB. Bounds the memory of an
    /// encoder, which holds much less: most of a group is encoded before its end.
    pub row_group_bytes: usize,
}

impl ParquetSettings {
    /// With this schema and the defaults: snappy, 1,048,576 rows, 128 MiB.
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            compression: ParquetCompression::default(),
            row_group_rows: 1 << 20,
            row_group_bytes: 128 << 20,
        }
    }
}

/// What the objects of a delivery stream are.
#[derive(Clone, Debug)]
pub enum Format {
    /// The records as they are, one after the other.
    Records {
        /// What stands after each record.
        delimiter: Delimiter,
        /// How the whole is compressed.
        compression: Compression,
    },
    /// Parquet files of JSON records.
    Parquet(ParquetSettings),
}

/// Makes the encoder.
///
/// # Errors
/// Where a setting is out of its range.
pub fn build(format: Format) -> Result<Arc<dyn Encode>, Error> {
    match format {
        Format::Records {
            delimiter,
            compression,
        } => {
            if let Delimiter::Custom(bytes) = &delimiter {
                within("delimiter bytes", bytes.len(), (1, MAX_DELIMITER_BYTES))?;
            }
            compression.check()?;
            let digest = digest_records(&delimiter, compression);
            Ok(Arc::new(Joined::new(delimiter, compression, digest)))
        }
        Format::Parquet(settings) => {
            within("row group rows", settings.row_group_rows, ROW_GROUP_ROWS)?;
            within("row group bytes", settings.row_group_bytes, ROW_GROUP_BYTES)?;
            let digest = digest_parquet(&settings);
            Ok(Arc::new(Convert::new(settings, digest)?))
        }
    }
}

fn within(name: &str, value: usize, (least, most): (usize, usize)) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "{name} is {value}, must be {least} to {most}"
    )))
}

fn digest_records(delimiter: &Delimiter, compression: Compression) -> Digest {
    Digest::of_parts(&[
        &FORMAT_VERSION.to_le_bytes(),
        b"records",
        delimiter.bytes(),
        format!("{compression:?}").as_bytes(),
    ])
}

fn digest_parquet(settings: &ParquetSettings) -> Digest {
    Digest::of_parts(&[
        &FORMAT_VERSION.to_le_bytes(),
        b"parquet",
        settings.schema.to_string().as_bytes(),
        format!("{:?}", settings.compression).as_bytes(),
        &(settings.row_group_rows as u64).to_le_bytes(),
        &(settings.row_group_bytes as u64).to_le_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use hydrant_core::Digest;

    use super::{
        Compression, Delimiter, Format, ParquetCompression, ParquetSettings, build, digest_records,
    };
    use crate::{Schema, Type};

    fn records(delimiter: Delimiter, compression: Compression) -> Format {
        Format::Records {
            delimiter,
            compression,
        }
    }

    fn parquet(change: impl FnOnce(&mut ParquetSettings)) -> Format {
        let schema = Schema::new(vec![("a".into(), Type::Int)]).unwrap();
        let mut settings = ParquetSettings::new(schema);
        change(&mut settings);
        Format::Parquet(settings)
    }

    fn refusal(format: Format) -> String {
        build(format).err().unwrap().to_string()
    }

    #[test]
    fn every_setting_is_in_the_digest() {
        let formats = [
            records(Delimiter::Newline, Compression::None),
            records(Delimiter::None, Compression::None),
            records(Delimiter::Custom(b"\r\n".to_vec()), Compression::None),
            records(Delimiter::Newline, Compression::GZIP),
            records(Delimiter::Newline, Compression::Gzip { level: 7 }),
            records(Delimiter::Newline, Compression::Zip),
            records(Delimiter::Newline, Compression::Snappy),
            records(Delimiter::Newline, Compression::HadoopSnappy),
            records(Delimiter::Newline, Compression::ZSTD),
            records(Delimiter::Newline, Compression::Zstd { level: 6 }),
            parquet(|_| {}),
            parquet(|settings| settings.compression = ParquetCompression::Zstd),
            parquet(|settings| settings.row_group_rows += 1),
            parquet(|settings| settings.row_group_bytes += 1),
            parquet(|settings| {
                settings.schema = Schema::new(vec![("a".into(), Type::BigInt)]).unwrap();
            }),
            parquet(|settings| {
                settings.schema = Schema::new(vec![("b".into(), Type::Int)]).unwrap();
            }),
        ];
        let digests = formats.map(|format| build(format.clone()).unwrap().digest());
        for (place, digest) in digests.iter().enumerate() {
            assert!(!digests[..place].contains(digest), "{place}");
        }
    }

    #[test]
    fn the_digest_of_a_setting_stays_what_it_is() {
        // An intent on disk names it: a change here is a change of FORMAT_VERSION, on purpose.
        let digest = digest_records(&Delimiter::Newline, Compression::GZIP);
        let parts: [&[u8]; 4] = [
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"records",
            b"\n",
            b"Gzip { level: 6 }",
        ];
        assert_eq!(digest, Digest::of_parts(&parts));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (format, message) in [
            (
                records(Delimiter::Custom(Vec::new()), Compression::None),
                "delimiter bytes is 0, must be 1 to 64",
            ),
            (
                records(Delimiter::None, Compression::Gzip { level: 13 }),
                "gzip level is 13, must be 1 to 12",
            ),
            (
                records(Delimiter::None, Compression::Zstd { level: 0 }),
                "zstd level is 0, must be 1 to 22",
            ),
            (
                parquet(|settings| settings.row_group_rows = 100),
                "row group rows is 100, must be 8192 to 16777216",
            ),
            (
                parquet(|settings| settings.row_group_bytes = 2 << 30),
                "row group bytes is 2147483648, must be 1048576 to 1073741824",
            ),
        ] {
            assert_eq!(refusal(format), message);
        }
    }

    #[test]
    fn extensions_and_encodings_are_those_of_firehose() {
        let names = |format| {
            let encode = build(format).unwrap();
            (
                encode.extension().to_owned(),
                encode.content_encoding().map(str::to_owned),
            )
        };
        for (compression, extension, encoding) in [
            (Compression::None, "", None),
            (Compression::GZIP, ".gz", Some("gzip")),
            (Compression::Zip, ".zip", Some("zip")),
            (Compression::Snappy, ".snappy", Some("snappy-java")),
            (Compression::HadoopSnappy, ".snappy", Some("hadoop-snappy")),
            (Compression::ZSTD, ".zst", Some("zstd")),
        ] {
            let found = names(records(Delimiter::Newline, compression));
            assert_eq!(found, (extension.into(), encoding.map(str::to_owned)));
        }
        assert_eq!(names(parquet(|_| {})), (".parquet".into(), None));
    }
}
