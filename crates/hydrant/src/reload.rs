//! SIGHUP: reads the configuration again, and puts the processors of each delivery stream in force
//! that have changed, modules included. What else has changed waits for a restart, and is named.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::types::{Config, DeliveryStreamConfig};
use crate::config::{self};
use crate::memory;
use crate::service::Service;
use crate::versions::Replaced;

/// From this call on a SIGHUP ends nothing by itself. Called inside a runtime.
///
/// # Errors
/// Where signals cannot be received.
pub(crate) fn asked_to_reload() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Reloads with every signal, for as long as it is polled.
pub(crate) async fn on_signals(mut asked: Signal, path: &Path, service: &Service) {
    while asked.recv().await.is_some() {
        info!("hydrant is asked to reload");
        let path = path.to_owned();
        let loading = tokio::task::spawn_blocking(move || config::load(&path));
        match loading.await {
            Ok(Ok(config)) => apply(&config, service).await,
            Ok(Err(faults)) => {
                for fault in faults {
                    error!("{fault}");
                }
                error!("nothing is reloaded: the configuration has faults");
            }
            Err(error) => error!(%error, "nothing is reloaded"),
        }
    }
}

/// Puts what can be put in force while the service runs in force.
async fn apply(config: &Config, service: &Service) {
    for what in needs_restart(&service.config, config) {
        warn!("{what} has changed: restart hydrant for it");
    }
    let most = memory::guest_bytes(&service.config);
    if memory::idle_bytes(config) > memory::idle_bytes(&service.config) {
        warn!(
            "with `instances: reuse` no more instances are kept than memory was set aside for: \
             restart hydrant for that"
        );
    }
    for delivery in &service.deliveries {
        let name = delivery.name();
        let Some(wanted) = config.delivery_streams.get(name) else {
            continue;
        };
        let before = delivery.versions.config();
        if place(&before) != place(wanted) {
            warn!(
                delivery_stream = name,
                "its source or destination has changed: restart hydrant for that, and for its processors"
            );
            continue;
        }
        if memory::guest_bytes_of(wanted) > most {
            warn!(
                delivery_stream = name,
                "its processors may take more memory than was set aside: restart hydrant for them"
            );
            continue;
        }
        // Everything but its processors stays as it was started with.
        let wanted = DeliveryStreamConfig {
            processors: wanted.processors.clone(),
            ..before
        };
        match delivery.versions.replace(wanted).await {
            Ok(Replaced::Same) => info!(delivery_stream = name, "its processors are the same"),
            Ok(Replaced::New) => {
                let version = delivery.version();
                info!(
                    delivery_stream = name,
                    version, "its processors are replaced"
                );
            }
            Err(error) => {
                let error = format!("{error:#}");
                error!(
                    delivery_stream = name,
                    error, "its processors stay as they were"
                );
            }
        }
    }
}

/// What has changed that is read at the start only, by its path. Secrets are hidden in the text that
/// is compared, so that a changed one is not seen.
fn needs_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let text = |shown: &dyn std::fmt::Debug| format!("{shown:?}");
    let names =
        |config: &Config| -> Vec<String> { config.delivery_streams.keys().cloned().collect() };
    let all = [
        ("api", text(&before.api) != text(&now.api)),
        (
            "operations",
            text(&before.operations) != text(&now.operations),
        ),
        ("data_dir", before.data_dir != now.data_dir),
        ("on_corruption", before.on_corruption != now.on_corruption),
        ("memory", before.memory != now.memory),
        ("streams", before.streams != now.streams),
        (
            "delivery_streams (added or removed)",
            names(before) != names(now),
        ),
    ];
    let changed = all.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(what, _)| what).collect()
}

/// Where records come from and go to, as text. Processors are checked with these.
fn place(one: &DeliveryStreamConfig) -> String {
    format!("{:?}{:?}", one.source, one.destination)
}
