//! `hydrant run`: the service, until a signal asks it to end.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::{BAD_CONFIG, FAILED, finish, say};
use crate::config::types::Config;
use crate::service::{self, Service};
use crate::{checker, config, operations, reload};

/// Set in the environment, the service ends when the process that started it does: `hydrant bench`
/// must not leave one behind, however it ends.
pub(crate) const ENDS_WITH_PARENT: &str = "HYDRANT_ENDS_WITH_PARENT";

/// Runs the service of a configuration; gives the exit code.
pub(crate) fn main(path: &Path) -> u8 {
    if std::env::var_os(ENDS_WITH_PARENT).is_some()
        && let Err(error) = set_parent_process_death_signal(Some(Signal::KILL))
    {
        tracing::warn!(%error, "it is not noticed when the parent ends");
    }
    let config = match config::load(path) {
        Ok(config) => config,
        Err(faults) => {
            checker::print(&faults);
            return BAD_CONFIG;
        }
    };
    for note in &config.notes {
        tracing::warn!(path = %note.path, line = note.line, "{}", note.message);
    }
    match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(async_threads())
        .enable_all()
        .build()
    {
        Ok(runtime) => finish(runtime.block_on(async {
            let reload = reload::asked_to_reload().context("signals cannot be received")?;
            run(&config, asked_to_stop()?, Some((path, reload))).await
        })),
        Err(error) => {
            say(&format!("hydrant: no threads for the service: {error}"));
            FAILED
        }
    }
}

/// Half of the cores, at least one: what holds a core runs on the pool, and idle async threads cost
/// CPU time looking for work that there is not.
fn async_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// Runs the service with both servers until `asked` completes, and drains it; with signals that ask
/// for it, the configuration in that place is read again. What is still being
/// opened then is left as it is: nothing has come in.
///
/// # Errors
/// Where it cannot start.
pub(crate) async fn run(
    config: &Config,
    asked: impl Future<Output = ()>,
    reload: Option<(&Path, Signals)>,
) -> anyhow::Result<()> {
    let mut asked = pin!(asked);
    let (api, api_address) = service::bind_api(config).await?;
    let operations = operations::bind(config.operations.listen).await?;
    let operations_address = operations.local_addr();
    let service = tokio::select! {
        biased;
        () = &mut asked => {
            tracing::info!("hydrant is asked to end before it is ready");
            return Ok(());
        }
        service = Box::pin(Service::open(config)) => Arc::new(service?),
    };
    let (stop, stopping) = watch::channel(false);
    let mut running = JoinSet::new();
    running.spawn({
        let (service, stopping) = (service.clone(), stopping.clone());
        async move { service.serve_api(api, stopping).await }
    });
    running.spawn({
        let (service, stopping) = (service.clone(), stopping.clone());
        async move { service.deliver(stopping).await }
    });
    // Answers until the very end, also while draining.
    let (end, ended) = watch::channel(false);
    let operations = tokio::spawn(operations::serve_service(
        operations,
        service.clone(),
        stopping,
        ended,
    ));
    tracing::info!(api = %api_address, operations = %operations_address, "hydrant is ready");
    let reloads = async {
        if let Some((path, signals)) = reload {
            reload::on_signals(signals, path, &service).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = &mut asked => {}
        () = reloads => {}
    }
    tracing::info!("hydrant is asked to end");
    stop.send_replace(true);
    while running.join_next().await.is_some() {}
    end.send_replace(true);
    drop(operations.await);
    Ok(())
}

/// From this call on a signal ends nothing by itself; completes with the first. Called inside a
/// runtime.
///
/// # Errors
/// Where signals cannot be received.
pub(crate) fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::asked_to_stop;

    #[tokio::test]
    async fn a_signal_is_not_lost_before_it_is_waited_for() {
        let asked = asked_to_stop().expect("a runtime runs");
        // Without a handler it would end this process.
        kill_process(getpid(), Signal::TERM).expect("a process may signal itself");
        asked.await;
    }
}
