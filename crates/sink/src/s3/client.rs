//! Settings of an S3 destination and the client made of them: no retries of its own, TLS by rustls
//! with ring, idle connections closed before a load balancer does.

use std::fmt;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::checksum::Checksum;

/// Longest time to connect (reliability design, section 7).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An idle connection older than this is not used again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// What stands for a region where a server of one's own has none.
const ANY_REGION: &str = "us-east-1";

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
}

/// Who asks.
#[derive(Clone, Default)]
pub enum S3Credentials {
    /// The usual chain of the AWS SDKs: environment, profile, web identity, container, instance.
    #[default]
    Chain,
    /// Fixed keys.
    Static {
        /// The access key's id.
        access_key_id: String,
        /// The secret key.
        secret_access_key: String,
        /// The token of temporary keys.
        session_token: Option<String>,
    },
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Static { .. } => "Static(redacted)",
        })
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
    if let Some(endpoint) = &settings.endpoint
        && !endpoint.starts_with("http://")
        && !endpoint.starts_with("https://")
    {
        faults.push("endpoint: must be a URL that starts with http:// or https://".to_owned());
    }
    if let S3Credentials::Static {
        access_key_id,
        secret_access_key,
        ..
    } = &settings.credentials
        && (access_key_id.is_empty() || secret_access_key.is_empty())
    {
        faults.push("credentials: access key id and secret access key must both be set".to_owned());
    }
    faults
}

/// Makes the client. Reads the environment, but asks no server for credentials yet.
pub(super) async fn client(settings: &S3Settings) -> Result<Client, String> {
    let http = http_client();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let S3Credentials::Static {
        access_key_id,
        secret_access_key,
        session_token,
    } = &settings.credentials
    {
        let token = session_token.clone();
        let keys = Credentials::new(
            access_key_id,
            secret_access_key,
            token,
            None,
            "hydrant settings",
        );
        loader = loader.credentials_provider(keys);
    }
    let named = settings
        .region
        .clone()
        .or(settings.endpoint.as_ref().map(|_| ANY_REGION.to_owned()));
    if let Some(region) = named {
        loader = loader.region(Region::new(region));
    }
    let shared = Box::pin(loader.load()).await;
    if shared.region().is_none() {
        return Err("region: is neither set nor given by the environment: set one".to_owned());
    }
    let path_style = settings
        .force_path_style
        .unwrap_or(settings.endpoint.is_some());
    let checksums = match settings.checksum {
        Checksum::RequiredOnly => RequestChecksumCalculation::WhenRequired,
        Checksum::Crc64Nvme | Checksum::Crc32 => RequestChecksumCalculation::WhenSupported,
    };
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        // Every request has a limit of its own.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(checksums);
    // Only the settings say where objects go: an endpoint of the environment does not count.
    config.set_endpoint_url(settings.endpoint.clone());
    Ok(Client::from_conf(config.build()))
}

fn http_client() -> SharedHttpClient {
    HttpBuilder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
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
