//! Settings of an S3 destination and the client made of them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use hydrant_aws::{AwsSettings, sdk_config};
use hydrant_core::clock::Clock;

use super::checksum::Checksum;

pub use hydrant_aws::Credentials as S3Credentials;

/// Where objects go and how the server is reached.
#[derive(Clone, Debug, Default)]
pub struct S3Settings {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region; else what the environment says. With an endpoint, any will do.
    pub region: Option<String>,
    /// URL of an S3-compatible server; none for AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket is in the path and not in the host name; by default with an endpoint.
    pub force_path_style: Option<bool>,
    /// Who asks.
    pub credentials: S3Credentials,
    /// The checksum of every object.
    pub checksum: Checksum,
    /// How old an upload in parts of an earlier process is when it is given up; never without one.
    pub abort_uploads_after: Option<Duration>,
}

impl S3Settings {
    fn aws(&self) -> AwsSettings {
        AwsSettings {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            credentials: self.credentials.clone(),
            role_arn: None,
        }
    }
}

/// What is wrong with the settings, without asking anyone.
pub(super) fn faults(settings: &S3Settings) -> Vec<String> {
    let mut faults = Vec::new();
    let bucket = &settings.bucket;
    let good =
        |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '/');
    if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(good) {
        faults
            .push("bucket: must be the name of a bucket: 1 to 255 of a-z A-Z 0-9 . - _ (: and / in the ARN of an access point)".to_owned());
    }
    faults.extend(settings.aws().faults());
    faults
}

/// Makes the client. Reads the environment, but asks no server for credentials yet.
pub(super) async fn client(settings: &S3Settings, clock: Arc<dyn Clock>) -> Result<Client, String> {
    let shared = sdk_config(&settings.aws(), clock).await?;
    let path_style = settings
        .force_path_style
        .unwrap_or(settings.endpoint.is_some());
    let checksums = match settings.checksum {
        Checksum::RequiredOnly => RequestChecksumCalculation::WhenRequired,
        Checksum::Crc64Nvme | Checksum::Crc32 => RequestChecksumCalculation::WhenSupported,
    };
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(path_style)
        .request_checksum_calculation(checksums);
    // Only the settings say where objects go: an endpoint of the environment does not count.
    config.set_endpoint_url(settings.endpoint.clone());
    Ok(Client::from_conf(config.build()))
}

#[cfg(test)]
mod tests {
    use super::{S3Credentials, S3Settings, faults};

    #[test]
    fn faults_name_the_setting_and_debug_hides_the_keys() {
        let keys = S3Credentials::Static {
            access_key_id: "id".to_owned(),
            secret_access_key: String::new(),
            session_token: None,
        };
        let settings = S3Settings {
            bucket: "a b".to_owned(),
            endpoint: Some("127.0.0.1:9000".to_owned()),
            credentials: keys,
            ..S3Settings::default()
        };
        let faults = faults(&settings);
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, name) in faults
            .iter()
            .zip(["bucket: ", "endpoint: ", "credentials: "])
        {
            assert!(fault.starts_with(name), "{fault}");
        }
        assert!(!format!("{settings:?}").contains("\"id\""));
    }
}
