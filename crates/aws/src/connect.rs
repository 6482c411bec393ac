//! From settings to the configuration that every client is made of: no retries of its own, TLS by
//! rustls with ring, idle connections closed before a load balancer does, requests without progress
//! ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use hydrant_core::clock::Clock;

use crate::progress::Watched;

/// Longest time to find a server's address, to connect, and to agree on TLS, together (reliability
/// design, section 7, which grants 5 s more for TLS).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// An idle connection older than this is not used again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// What stands for a region where a server of one's own has none.
const ANY_REGION: &str = "us-east-1";
/// How sessions under an assumed role are called, to be found in logs.
const SESSION_NAME: &str = "hydrant";

/// How a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region; else what the environment says. With an endpoint, any will do in the end.
    pub region: Option<String>,
    /// URL of a compatible server; none for AWS.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// ARN of a role that whoever asks takes on first.
    pub role_arn: Option<String>,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "Chain",
            Self::Static { .. } => "Static(redacted)",
        })
    }
}

impl AwsSettings {
    /// What is wrong with them, without asking anyone.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(endpoint) = &self.endpoint
            && !endpoint.starts_with("http://")
            && !endpoint.starts_with("https://")
        {
            faults.push("endpoint: must be a URL that starts with http:// or https://".to_owned());
        }
        if let Credentials::Static {
            access_key_id,
            secret_access_key,
            ..
        } = &self.credentials
            && (access_key_id.is_empty() || secret_access_key.is_empty())
        {
            faults.push(
                "credentials: access key id and secret access key must both be set".to_owned(),
            );
        }
        faults
    }
}

/// Makes what clients are made of. Reads the environment, but asks no server for credentials yet.
/// The endpoint is left to the client: only settings say where a service is, an endpoint of the
/// environment does not count.
///
/// # Errors
/// Where there is no region.
pub async fn sdk_config(
    settings: &AwsSettings,
    clock: Arc<dyn Clock>,
) -> Result<SdkConfig, String> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(clock))
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        // Ours is in the HTTP client, by the clock that was handed in.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Credentials::Static {
        access_key_id,
        secret_access_key,
        session_token,
    } = &settings.credentials
    {
        let token = session_token.clone();
        let keys = Keys::new(
            access_key_id,
            secret_access_key,
            token,
            None,
            "hydrant settings",
        );
        loader = loader.credentials_provider(keys);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    } else if settings.endpoint.is_some() {
        // No machine is asked for its region where any will do.
        let said = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(ANY_REGION);
        loader = loader.region(said);
    }
    let shared = Box::pin(loader.load()).await;
    if shared.region().is_none() {
        return Err("region: is neither set nor given by the environment: set one".to_owned());
    }
    let Some(role) = &settings.role_arn else {
        return Ok(shared);
    };
    let assumed = AssumeRoleProvider::builder(role)
        .session_name(SESSION_NAME)
        .configure(&shared)
        .build();
    let assumed = Box::pin(assumed).await;
    Ok(shared
        .into_builder()
        .credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(assumed),
        )
        .build())
}

/// The one kind of HTTP client. It keeps connections, so that each service has its own, and ends
/// requests that make no progress.
pub fn http_client(clock: Arc<dyn Clock>) -> SharedHttpClient {
    let client = HttpBuilder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    SharedHttpClient::new(Watched::new(client, clock))
}

#[cfg(test)]
mod tests {
    use super::{AwsSettings, Credentials};

    #[test]
    fn faults_name_the_setting_and_debug_hides_the_keys() {
        let keys = Credentials::Static {
            access_key_id: "id".to_owned(),
            secret_access_key: String::new(),
            session_token: None,
        };
        let settings = AwsSettings {
            endpoint: Some("127.0.0.1:9000".to_owned()),
            credentials: keys,
            ..AwsSettings::default()
        };
        let faults = settings.faults();
        assert_eq!(faults.len(), 2, "{faults:?}");
        for (fault, name) in faults.iter().zip(["endpoint: ", "credentials: "]) {
            assert!(fault.starts_with(name), "{fault}");
        }
        assert!(!format!("{settings:?}").contains("\"id\""));
    }
}
