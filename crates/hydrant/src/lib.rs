//! Front door: command line, configuration, wiring, demo, operations. The binary is a thin shell
//! around it.

pub mod cli;

pub mod config;

pub mod runtime;

mod store;

mod guest_log;

mod stages;

mod versions;

mod crash;

mod delivery;

pub mod service;

mod run;

mod checker;

mod inspect;

pub mod demo;

pub mod operations {
    #![allow(missing_docs)]
    use std::sync::Arc;
    use tokio::sync::watch;
    pub struct Server(std::net::SocketAddr);
    impl Server {
        pub fn local_addr(&self) -> std::net::SocketAddr {
            self.0
        }
    }
    pub async fn bind(a: std::net::SocketAddr) -> anyhow::Result<Server> {
        Ok(Server(a))
    }
    pub async fn serve_service(
        _s: Server,
        _v: Arc<crate::service::Service>,
        _stop: watch::Receiver<bool>,
        mut end: watch::Receiver<bool>,
    ) {
        let _ = end.wait_for(|e| *e).await;
    }
}

pub mod telemetry {
    pub fn init() {}
}
