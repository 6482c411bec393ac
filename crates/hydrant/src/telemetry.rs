//! Logs: to stderr, as text or JSON, chosen by the environment.
//!
//! `HYDRANT_LOG` is a filter such as `info`, `debug` or `hydrant_sink=debug,info` (default `info`);
//! `HYDRANT_LOG_FORMAT` is `text` (default) or `json`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged where nothing is said.
const DEFAULT_FILTER: &str = "info";

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Sets up logging for the process. A second call changes nothing.
///
/// What is wrong with the two variables is logged, and the default taken: a service that could not
/// start for its logs would be worse.
pub fn init() {
    let variable = |name: &str| std::env::var(name).ok();
    let (filter, wrong_filter) = filter(variable("HYDRANT_LOG").as_deref());
    let (format, wrong_format) = format(variable("HYDRANT_LOG_FORMAT").as_deref());
    let ansi = io::stderr().is_terminal();
    if subscriber(filter, format, ansi, io::stderr)
        .try_init()
        .is_err()
    {
        return;
    }
    for wrong in [wrong_filter, wrong_format].into_iter().flatten() {
        tracing::warn!("{wrong}");
    }
}

fn subscriber<W>(
    filter: EnvFilter,
    format: Format,
    ansi: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(ansi);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        Format::Text => Box::new(registry.with(layer)),
        Format::Json => Box::new(registry.with(layer.json())),
    }
}

/// The filter, and what is wrong with it.
fn filter(text: Option<&str>) -> (EnvFilter, Option<String>) {
    match EnvFilter::try_new(
        text.filter(|text| !text.is_empty())
            .unwrap_or(DEFAULT_FILTER),
    ) {
        Ok(filter) => (filter, None),
        Err(error) => (
            EnvFilter::new(DEFAULT_FILTER),
            Some(format!(
                "HYDRANT_LOG is not a filter ({error}): {DEFAULT_FILTER} is taken"
            )),
        ),
    }
}

/// The format, and what is wrong with it.
fn format(text: Option<&str>) -> (Format, Option<String>) {
    match text {
        None | Some("" | "text") => (Format::Text, None),
        Some("json") => (Format::Json, None),
        Some(_) => (
            Format::Text,
            Some("HYDRANT_LOG_FORMAT is neither `text` nor `json`: text is taken".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::{Format, filter, format, subscriber};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one writer").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter_text: Option<&str>, format: Format) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter(filter_text).0, format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(count = 2, "told");
            tracing::debug!("whispered");
        });
        let bytes = lines.0.lock().expect("one writer").clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    #[test]
    fn the_filter_and_the_format_are_followed() {
        let text = logged(None, Format::Text);
        assert!(
            text.contains("told") && text.contains("count=2") && !text.contains("whispered"),
            "{text}"
        );
        assert!(logged(Some("debug"), Format::Text).contains("whispered"));
        assert_eq!(logged(Some("off"), Format::Text), "");
        let json: serde_json::Value =
            serde_json::from_str(&logged(None, Format::Json)).expect("one JSON line");
        assert_eq!(
            (&json["fields"]["message"], &json["fields"]["count"]),
            (&"told".into(), &2.into())
        );
    }

    #[test]
    fn what_is_wrong_is_told_and_the_default_taken() {
        assert!(filter(Some("hydrant=loudly")).1.is_some());
        assert!(filter(Some("hydrant_sink=debug,info")).1.is_none());
        assert_eq!(format(Some("json")), (Format::Json, None));
        assert_eq!(format(Some("xml")).0, Format::Text);
        assert!(format(Some("xml")).1.is_some());
    }
}
