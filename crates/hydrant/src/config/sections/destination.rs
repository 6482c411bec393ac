//! Where records go.

use std::time::Duration;

use hydrant_core::units::{ByteSize, parse_duration};
use hydrant_encode::{Compression, Format};
use hydrant_sink::s3::Checksum;

use super::super::fields::{Fields, Section};
use super::super::kinds::{FilePath, Flag, Parsed, Word};
use super::super::secret::SecretKind;
use super::super::types::{
    Credentials, DestinationConfig, DirectoryConfig, ObjectConfig, S3Config,
};
use super::objects::{DefaultHints, buffering_hints, delimiter, objects};

const CHECKSUMS: &[(&str, Checksum)] = &[
    ("crc64nvme", Checksum::Crc64Nvme),
    ("crc32", Checksum::Crc32),
    ("when_required", Checksum::RequiredOnly),
];

/// Less could be an object that a slow destination still takes.
const UPLOAD_AGE: (Duration, Duration) = (Duration::from_hours(1), Duration::from_hours(365 * 24));

/// A standard output is watched: what is shown should be fresh.
const STDOUT_HINTS: DefaultHints = DefaultHints {
    size: ByteSize::mib(1),
    interval_s: 1,
};

/// Reads a destination.
pub(super) fn destination(f: &mut Fields<'_>) -> Option<DestinationConfig> {
    let s3 = f.optional("s3", "objects in a bucket", Section(s3));
    let directory = f.optional("directory", "files in a folder", Section(directory));
    let stdout = f.optional("stdout", "records on the standard output", Section(stdout));
    if !f.exactly_one("destination") {
        return None;
    }
    let s3 = s3?.map(DestinationConfig::S3);
    let directory = directory?.map(DestinationConfig::Directory);
    s3.or(directory).or(stdout?.map(DestinationConfig::Stdout))
}

/// A region as a kind of value.
pub(super) fn region_kind() -> Parsed<String> {
    Parsed {
        parse: region,
        what: "a region",
        example: "us-east-1",
    }
}

fn s3(f: &mut Fields<'_>) -> Option<S3Config> {
    let bucket_kind = Parsed {
        parse: bucket,
        what: "a bucket",
        example: "lake",
    };
    let bucket = f.required("bucket", "the bucket; it must exist", bucket_kind);
    let region = f.optional(
        "region",
        "its region; by default what the environment says",
        region_kind(),
    );
    let endpoint_kind = Parsed {
        parse: endpoint,
        what: "a URL",
        example: "http://127.0.0.1:9000",
    };
    let endpoint = f.optional(
        "endpoint",
        "URL of an S3-compatible server; not for AWS",
        endpoint_kind,
    );
    let about =
        "whether the bucket is in the path and not in the host name; by default with an endpoint";
    let force_path_style = f.optional("force_path_style", about, Flag);
    let about = "fixed keys; by default what the environment, the profile or the machine gives";
    let credentials = f.optional("credentials", about, Section(credentials));
    let about =
        "the checksum of every object; `when_required` for servers that refuse such headers";
    let checksum = f.or("checksum", about, Word(CHECKSUMS), "crc64nvme");
    let about = "how old an upload in parts is, of an object of this delivery stream, when it is given up \
                 because a killed process left it behind; `never` leaves that to the bucket's lifecycle rules";
    let age_kind = Parsed {
        parse: upload_age,
        what: "a time, or `never`,",
        example: "24h",
    };
    let abort_uploads_after = f.or("abort_uploads_after", about, age_kind, "24h");
    let objects = objects(f);
    Some(S3Config {
        bucket: bucket?,
        region: region?,
        endpoint: endpoint?,
        force_path_style: force_path_style?,
        credentials: credentials?,
        checksum: checksum?,
        abort_uploads_after: abort_uploads_after?,
        objects: objects?,
    })
}

pub(super) fn credentials(f: &mut Fields<'_>) -> Option<Credentials> {
    let access_key_id = f.required("access_key_id", "the access key's id", SecretKind);
    let secret_access_key = f.required("secret_access_key", "the secret key", SecretKind);
    let session_token = f.optional("session_token", "the token of temporary keys", SecretKind);
    Some(Credentials {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: session_token?,
    })
}

fn directory(f: &mut Fields<'_>) -> Option<DirectoryConfig> {
    let path = f.required("path", "the folder; made where it is missing", FilePath);
    let objects = objects(f);
    Some(DirectoryConfig {
        path: path?,
        objects: objects?,
    })
}

fn stdout(f: &mut Fields<'_>) -> Option<ObjectConfig> {
    let delimiter = delimiter(f);
    let buffering_hints = buffering_hints(f)?.or(STDOUT_HINTS);
    let format = Format::Records {
        delimiter: delimiter?,
        compression: Compression::None,
    };
    Some(ObjectConfig {
        prefix: None,
        error_output_prefix: None,
        file_extension: None,
        max_active_partitions: None,
        format,
        buffering_hints,
    })
}

/// The age of an upload that is given up; none for never.
fn upload_age(text: &str) -> Result<Option<Duration>, String> {
    if text == "never" {
        return Ok(None);
    }
    let age = parse_duration(text)?;
    if !(UPLOAD_AGE.0..=UPLOAD_AGE.1).contains(&age) {
        return Err(format!(
            "`{text}` is out of range, limit 1h to 365d, or `never`"
        ));
    }
    Ok(Some(age))
}

fn bucket(text: &str) -> Result<String, String> {
    // Amazon's rules for new buckets, and capitals and `_` for old and foreign ones.
    let good = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if !(3..=255).contains(&text.len()) || !text.chars().all(good) {
        return Err(format!(
            "`{}` is no bucket: use 3 to 255 letters, digits, `.` or `-`",
            text.escape_debug()
        ));
    }
    Ok(text.to_owned())
}

/// Checks a region.
pub(super) fn region(text: &str) -> Result<String, String> {
    let good = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    if !(1..=64).contains(&text.len()) || !text.chars().all(good) {
        return Err(format!(
            "`{}` is no region: use lowercase letters, digits and `-`",
            text.escape_debug()
        ));
    }
    Ok(text.to_owned())
}

/// A URL of a server. One with a password in it is refused without showing it.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err("is not a URL that starts with http:// or https://".to_owned());
    };
    if rest.contains('@') {
        return Err("holds a user or password: use `credentials`".to_owned());
    }
    let host = rest.split('/').next().unwrap_or_default();
    let good = |char: char| char.is_ascii_alphanumeric() || "-._:[]".contains(char);
    if host.is_empty() || !host.chars().all(good) || rest.contains(['?', '#', ' ']) {
        return Err("is not the URL of a server".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
