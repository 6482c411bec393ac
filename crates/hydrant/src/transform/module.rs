//! Loading a module as the service would, for one who tries it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hydrant_core::units::{ByteSize, parse_duration};
use hydrant_transform::{
    Compiled, GuestLevel, Instances, Limits, Settings, Targets, WasmEngine, WasmTransform,
};

use super::project::{FILE, InstancesWord, Project, read_json};
use super::{ModuleArgs, usage};
use crate::config::canonical;
use crate::user_cache;

/// Lines of a guest's log that are kept between two looks at them.
const LINES_MAX: usize = 1_000;

/// What a guest logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(GuestLevel, String)>>>);

impl Lines {
    /// Takes what there is.
    pub(crate) fn take(&self) -> Vec<(GuestLevel, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, level: GuestLevel, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push((level, line.to_owned()));
        }
    }
}

/// How a module is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) memory: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) wasi: bool,
    pub(crate) instances: InstancesWord,
}

impl How {
    fn limits(&self) -> anyhow::Result<Limits> {
        let mut limits = Limits::default();
        if let Some(memory) = &self.memory {
            let size: ByteSize = memory.parse().map_err(|e| usage(format!("memory: {e}")))?;
            limits.memory_bytes = size.as_usize();
        }
        if let Some(timeout) = &self.timeout {
            limits.time = parse_duration(timeout).map_err(|e| usage(format!("timeout: {e}")))?;
        }
        Ok(limits)
    }
}

/// A module that can be run with one configuration after another.
pub(crate) struct Module {
    compiled: Compiled,
    how: How,
}

impl Module {
    /// Reads and compiles a module: for `engine`, as time does not count in tests.
    pub(crate) fn read(engine: &WasmEngine, path: &Path, how: How) -> anyhow::Result<Self> {
        user_cache::keep_compiled(engine);
        let compiled = Compiled::new(engine, &read(path)?, how.wasi)?;
        Ok(Self { compiled, how })
    }

    /// Reads the module that the arguments name, and its configuration.
    pub(crate) fn of(args: &ModuleArgs) -> anyhow::Result<(Self, String)> {
        let mut how = How {
            memory: args.memory.clone(),
            timeout: args.timeout.clone(),
            wasi: args.wasi,
            instances: args.instances.unwrap_or_default(),
        };
        let mut path = args.module.clone();
        if path.is_dir() {
            let project = Project::read(&path)?;
            path = project.module();
            how.wasi |= project.manifest.wasi;
            how.instances = args.instances.unwrap_or(project.manifest.instances);
            how.memory = how.memory.or(project.manifest.memory);
            how.timeout = how.timeout.or(project.manifest.timeout);
        }
        let config = match &args.config {
            Some(file) => canonical(&read_json(file)?),
            None => "{}".to_owned(),
        };
        Ok((Self::read(&WasmEngine::new()?, &path, how)?, config))
    }

    /// Loads it with a configuration. Targets are shown, whatever a destination would do with them.
    pub(crate) fn load(
        &self,
        config_json: &str,
    ) -> anyhow::Result<Result<(Arc<WasmTransform>, Lines), hydrant_transform::Error>> {
        self.load_for(config_json, self.how.instances.into())
    }

    /// Loads it with a configuration, and instances that live so long.
    pub(crate) fn load_for(
        &self,
        config_json: &str,
        instances: Instances,
    ) -> anyhow::Result<Result<(Arc<WasmTransform>, Lines), hydrant_transform::Error>> {
        let settings = Settings {
            config_json: config_json.to_owned(),
            delivery_stream: "test".to_owned(),
            limits: self.how.limits()?,
            targets: Targets::Passed,
            wasi: self.how.wasi,
            instances,
            ..Settings::default()
        };
        let lines = Lines::default();
        let log = lines.clone();
        let log = Arc::new(move |level: GuestLevel, line: &str| log.push(level, line));
        let loaded = WasmTransform::configure(self.compiled.clone(), &settings, log);
        Ok(loaded.map(|transform| (transform, lines)))
    }
}

/// Reads a module's bytes.
///
/// # Errors
/// Where it cannot be read, with how to get one.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        let hint = match path.parent() {
            Some(folder) if folder.join(FILE).is_file() => {
                ": build it with `hydrant transform build`"
            }
            _ => "",
        };
        usage(format!("{} cannot be read: {e}{hint}", path.display()))
    })
}
