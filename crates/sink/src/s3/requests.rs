//! One request each, tried once.

use std::collections::HashMap;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    ExpirationStatus,
};
use bytes::Bytes;
use hydrant_core::stage::ObjectMeta;

use super::checksum::Checksum;
use super::failure::Failure;
use super::{Inner, S3Mode};
use hydrant_core::retry::Class;

/// Content-Type of every object, as Firehose sets it.
const CONTENT_TYPE: &str = "application/octet-stream";
/// Metadata that names the hydrant that rendered an object.
pub(super) const RENDERED_BY: &str = "hydrant-rendered-by";
/// What to do where a HEAD is refused.
const HEAD_REFUSED: &str = "asking whether the object is there was refused: check the credentials, \
                            and that they allow s3:GetObject and s3:ListBucket";
/// This hydrant.
pub(super) const THIS_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a HEAD says of an object.
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) metadata: HashMap<String, String>,
    /// Checksum of the whole object in the sink's algorithm, if the server keeps one.
    pub(super) checksum: Option<String>,
}

impl Inner {
    /// Puts a whole object.
    pub(super) async fn put(
        &self,
        meta: &ObjectMeta,
        body: Bytes,
        checksum: &str,
    ) -> Result<(), Failure> {
        let bytes = body.len();
        let request = self
            .client
            .put_object()
            .bucket(&self.settings.bucket)
            .key(&meta.key)
            .set_if_none_match(self.condition())
            .content_type(CONTENT_TYPE)
            .set_content_encoding(meta.content_encoding.clone())
            .set_metadata(Some(metadata(meta)))
            .body(ByteStream::from(body));
        let request = match self.settings.checksum {
            Checksum::Crc64Nvme => request.checksum_crc64_nvme(checksum),
            Checksum::Crc32 => request.checksum_crc32(checksum),
            Checksum::RequiredOnly => request,
        }
        .customize();
        let request = if self.leaves_payload_unsigned() {
            request.disable_payload_signing()
        } else {
            request
        };
        self.timed(bytes, request.send()).await.map(drop)
    }

    /// Starts a multipart upload; gives its id.
    pub(super) async fn create_multipart(&self, meta: &ObjectMeta) -> Result<String, Failure> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(&meta.key)
            .content_type(CONTENT_TYPE)
            .set_content_encoding(meta.content_encoding.clone())
            .set_metadata(Some(metadata(meta)))
            // Some servers refuse part checksums unless the algorithm was named here.
            .set_checksum_algorithm(self.algorithm())
            .set_checksum_type(self.algorithm().map(|_| ChecksumType::FullObject));
        let created = self.timed(0, request.send()).await?;
        created
            .upload_id
            .ok_or_else(|| Failure::Unsupported("no upload id in the answer".to_owned()))
    }

    /// Sends a part.
    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        number: i32,
        body: Bytes,
    ) -> Result<CompletedPart, Failure> {
        let bytes = body.len();
        let checksum = self.settings.checksum.of(&body);
        let request = self
            .client
            .upload_part()
            .bucket(&self.settings.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(number)
            .body(ByteStream::from(body));
        let part = CompletedPart::builder().part_number(number);
        let (request, part) = match self.settings.checksum {
            Checksum::Crc64Nvme => (
                request.checksum_crc64_nvme(&checksum),
                part.checksum_crc64_nvme(&checksum),
            ),
            Checksum::Crc32 => (
                request.checksum_crc32(&checksum),
                part.checksum_crc32(&checksum),
            ),
            Checksum::RequiredOnly => (request, part),
        };
        let request = request.customize();
        let request = if self.leaves_payload_unsigned() {
            request.disable_payload_signing()
        } else {
            request
        };
        let sent = self.timed(bytes, request.send()).await?;
        Ok(part.set_e_tag(sent.e_tag).build())
    }

    /// Makes a multipart upload an object.
    pub(super) async fn complete_multipart(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[CompletedPart],
        checksum: &str,
    ) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.to_vec()))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(key)
            .upload_id(upload_id)
            .set_if_none_match(self.condition())
            .multipart_upload(parts)
            .set_checksum_type(self.algorithm().map(|_| ChecksumType::FullObject));
        let request = match self.settings.checksum {
            Checksum::Crc64Nvme => request.checksum_crc64_nvme(checksum),
            Checksum::Crc32 => request.checksum_crc32(checksum),
            Checksum::RequiredOnly => request,
        };
        self.timed(0, request.send()).await.map(drop)
    }

    /// Gives a multipart upload up.
    pub(super) async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), Failure> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.settings.bucket)
            .key(key)
            .upload_id(upload_id);
        self.timed(0, request.send()).await.map(drop)
    }

    /// A page of the multipart uploads that are neither completed nor aborted, of keys that come after
    /// this one.
    pub(super) async fn list_multipart(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListMultipartUploadsOutput, Failure> {
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(&self.settings.bucket)
            .set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()))
            .set_key_marker(after.map(str::to_owned));
        self.timed(0, request.send()).await
    }

    /// Asks what is there.
    pub(super) async fn head(&self, key: &str) -> Result<Head, Failure> {
        let request = self
            .client
            .head_object()
            .bucket(&self.settings.bucket)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled);
        let head = self.timed(0, request.send()).await;
        let head = head.map_err(|failure| match failure {
            // The answer has no body; S3 hides with it that there is no object.
            Failure::Fault(mut fault) if fault.class == Class::Auth => {
                fault.text = format!("{}: {HEAD_REFUSED}", fault.text.trim_end());
                Failure::Fault(fault)
            }
            other => other,
        })?;
        let checksum = match self.settings.checksum {
            Checksum::Crc64Nvme | Checksum::RequiredOnly => head.checksum_crc64_nvme(),
            Checksum::Crc32 => head.checksum_crc32(),
        };
        // A checksum of checksums (`value-parts`) says nothing of the whole.
        let whole = head.checksum_type() != Some(&ChecksumType::Composite);
        let checksum = checksum
            .filter(|text| whole && !text.contains('-'))
            .map(str::to_owned);
        let size = u64::try_from(head.content_length().unwrap_or(0)).unwrap_or(0);
        Ok(Head {
            size,
            checksum,
            metadata: head.metadata.unwrap_or_default(),
        })
    }

    /// Reads an object and gives the checksum of its bytes.
    pub(super) async fn read_checksum(&self, key: &str, size: u64) -> Result<String, Failure> {
        let request = self
            .client
            .get_object()
            .bucket(&self.settings.bucket)
            .key(key);
        let read = async {
            let mut body = request.send().await?.body;
            let mut running = self.settings.checksum.start();
            while let Some(chunk) = body.next().await {
                running.update(&chunk.map_err(SdkError::construction_failure)?);
            }
            Ok(running.to_base64())
        };
        self.timed(usize::try_from(size).unwrap_or(usize::MAX), read)
            .await
    }

    /// Removes an object: only for the probe's own.
    pub(super) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.settings.bucket)
            .key(key);
        self.timed(0, request.send()).await.map(drop)
    }

    /// Whether the bucket has a rule that removes uploads which nobody completes.
    pub(super) async fn aborts_incomplete_uploads(&self) -> Result<bool, Failure> {
        let request = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(&self.settings.bucket);
        match self.timed(0, request.send()).await {
            Ok(found) => Ok(found.rules().iter().any(|rule| {
                let enabled = rule.status() == &ExpirationStatus::Enabled;
                enabled && rule.abort_incomplete_multipart_upload().is_some()
            })),
            // 404: there are no rules at all.
            Err(Failure::NotThere(_)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn condition(&self) -> Option<String> {
        (self.mode() != S3Mode::Overwrite).then(|| "*".to_owned())
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.settings.checksum {
            Checksum::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksum::Crc32 => Some(ChecksumAlgorithm::Crc32),
            Checksum::RequiredOnly => None,
        }
    }

    /// TLS and a checksum protect the body, which then needs no SHA-256 in the signature: that
    /// costs more than everything else of a put.
    fn leaves_payload_unsigned(&self) -> bool {
        self.settings
            .endpoint
            .as_ref()
            .is_none_or(|url| url.starts_with("https://"))
            && self.settings.checksum != Checksum::RequiredOnly
    }
}

/// What is kept beside an object: the pipeline's names and this hydrant's version.
fn metadata(meta: &ObjectMeta) -> HashMap<String, String> {
    let pairs = meta
        .metadata
        .iter()
        .map(|(name, value)| ((*name).to_owned(), header_safe(value)));
    pairs
        .chain([(RENDERED_BY.to_owned(), THIS_VERSION.to_owned())])
        .collect()
}

/// A metadata value as it comes back from every server: visible ASCII, the rest percent-encoded.
pub(super) fn header_safe(value: &str) -> String {
    use std::fmt::Write as _;
    let mut safe = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("a string takes all");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::header_safe;

    #[test]
    fn metadata_values_survive_a_header() {
        assert_eq!(header_safe("shardId-000/0:x"), "shardId-000/0:x");
        assert_eq!(header_safe(" a%ü\n"), "%20a%25%C3%BC%0A");
    }
}
