//! The folder outside the repository where tools are installed once, whoever asks.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

/// What an installed tool carries: the text it was installed by.
const STAMP: &str = ".installed";

pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$HYDRANT_CACHE`, else `$XDG_CACHE_HOME/hydrant`, else `~/.cache/hydrant`.
    pub(crate) fn open() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let root = set("HYDRANT_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("hydrant")))
            .or_else(|| set("HOME").map(|dir| Path::new(&dir).join(".cache/hydrant")))
            .ok_or_else(|| anyhow!("no cache folder: set HYDRANT_CACHE, XDG_CACHE_HOME or HOME"))?;
        let tools = root.join("tools");
        fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
        let root = tools
            .canonicalize()
            .context("cannot resolve the cache folder")?;
        Ok(Self { root })
    }

    /// A folder for what is built and found, made where it is missing.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The folder of the tool `name`, installed by `install` unless it already carries `stamp`.
    /// Others that want the same tool wait; what is left of an attempt that failed is removed.
    pub(crate) fn once(
        &self,
        name: &str,
        stamp: &str,
        install: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.root.join(name);
        let lock = File::create(self.root.join(format!("{name}.lock")))
            .with_context(|| format!("cannot make the lock of {name}"))?;
        lock.lock().with_context(|| format!("cannot lock {name}"))?;
        if fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp) {
            return Ok(folder);
        }
        eprintln!("installing {name} into {}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot replace {name}"))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        install(&folder).with_context(|| format!("cannot install {name}"))?;
        fs::write(folder.join(STAMP), stamp).with_context(|| format!("cannot stamp {name}"))?;
        Ok(folder)
    }
}
