//! Compiled modules on disk, so that a runtime of 18 MiB is compiled once and not at every start:
//! 12 s of CPU for Python's, a few milliseconds to load (reference of WebAssembly, section 4).
//!
//! What is loaded is native code, so the folder must be ours alone: it is made with mode 0700, and
//! not used where another user owns it, or may write to it or to the folder that it lies in. The same
//! holds for each file. A file is named by all that decides its
//! content (module, compiler, its settings, this processor's features), and begins with the digest of
//! the rest: one that was cut or damaged is compiled anew. A cache that fails costs time, never more.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hydrant_core::Digest;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// All files together; those that were used least recently go first. A module of Python takes 40 MiB.
const MAX_BYTES: u64 = 512 << 20;
/// Raised when a file has another form.
const FORM: &[u8] = b"compiled 1";
/// Group and others may write.
const OTHERS_WRITE: u32 = 0o022;
/// Only the owner of a file may remove it, whoever may write to its folder.
const STICKY: u32 = 0o1000;

/// The folder.
#[derive(Debug)]
pub(super) struct Cache(PathBuf);

/// What can be compiled.
pub(super) trait Code: Sized {
    /// Tells kinds apart.
    const KIND: &'static [u8];

    /// Compiles.
    fn compile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Self>;

    /// The native code, to be loaded again.
    fn store(&self) -> wasmtime::Result<Vec<u8>>;

    /// Takes what [`Code::store`] gave.
    ///
    /// # Safety
    /// It must be just that: it is run as it is.
    #[expect(unsafe_code, reason = "native code cannot be checked")]
    unsafe fn load(engine: &Engine, stored: &[u8]) -> wasmtime::Result<Self>;
}

impl Code for Component {
    const KIND: &'static [u8] = b"component";

    fn compile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Self> {
        Self::from_binary(engine, module)
    }

    fn store(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    #[expect(unsafe_code, reason = "the caller answers for it")]
    unsafe fn load(engine: &Engine, stored: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: as this function's own.
        unsafe { Self::deserialize(engine, stored) }
    }
}

impl Code for Module {
    const KIND: &'static [u8] = b"module";

    fn compile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Self> {
        Self::from_binary(engine, module)
    }

    fn store(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    #[expect(unsafe_code, reason = "the caller answers for it")]
    unsafe fn load(engine: &Engine, stored: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: as this function's own.
        unsafe { Self::deserialize(engine, stored) }
    }
}

impl Cache {
    /// The cache in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// As the file system says, and where it is not ours alone.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let parent = dir.parent().unwrap_or(dir);
        fs::create_dir_all(parent)?;
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Not what a link leads to.
        let (about, around) = (fs::symlink_metadata(dir)?, fs::metadata(parent)?);
        let replaceable = around.mode() & OTHERS_WRITE != 0 && around.mode() & STICKY == 0;
        if !about.is_dir() || !is_ours(&about) || replaceable {
            let text = format!(
                "{} belongs to another user, or others may write to it or to the folder around it: \
                 what it holds would be run",
                dir.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(Self(dir.to_owned()))
    }

    /// Loads a module that was compiled before, or compiles it and keeps that.
    ///
    /// # Errors
    /// With what is wrong with the module.
    pub(super) fn get<C: Code>(&self, engine: &Engine, module: &[u8]) -> wasmtime::Result<C> {
        let path = self.path::<C>(engine, module);
        match read(&path) {
            // SAFETY: the folder is ours alone, the name says that it was stored by this very
            // compiler, and the digest that it is whole.
            #[expect(unsafe_code, reason = "native code cannot be checked")]
            Ok(Some(stored)) => match unsafe { C::load(engine, &stored) } {
                Ok(code) => return Ok(code),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(file = %path.display(), error, "a compiled module is not taken");
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a compiled module cannot be read");
            }
        }
        let code = C::compile(engine, module)?;
        let kept = code
            .store()
            .map_err(io::Error::other)
            .and_then(|stored| self.keep(&path, &stored));
        if let Err(error) = kept {
            tracing::warn!(file = %path.display(), %error, "a compiled module cannot be kept");
        }
        Ok(code)
    }

    fn path<C: Code>(&self, engine: &Engine, module: &[u8]) -> PathBuf {
        let mut compiler = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compiler);
        let compiler = compiler.finish().to_le_bytes();
        let module = Digest::of(module);
        let name = Digest::of_parts(&[FORM, C::KIND, module.as_bytes(), &compiler]);
        self.0.join(name.to_hex())
    }

    fn keep(&self, path: &Path, stored: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(Digest::of(stored).as_bytes())?;
                file.write_all(stored)
            })
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // What is left of it is removed as the oldest some day.
            drop(fs::remove_file(&temporary));
        }
        written?;
        self.shrink(path)
    }

    /// Removes what was used least recently, until the rest is small enough.
    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_file() {
                files.push((about.modified()?, about.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if total <= MAX_BYTES {
                break;
            }
            if path != newest {
                fs::remove_file(&path)?;
                total -= len;
            }
        }
        Ok(())
    }
}

/// Whether nobody else owns it or may write to it.
fn is_ours(about: &Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw() && about.mode() & OTHERS_WRITE == 0
}

/// The stored code; `None` where there is none, or no whole one.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let about = file.metadata()?;
    if !about.is_file() || !is_ours(&about) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some((digest, stored)) = bytes.split_first_chunk::<32>() else {
        return Ok(None);
    };
    if Digest::of(stored).as_bytes() != digest {
        return Ok(None);
    }
    bytes.drain(..32);
    // Its turn to be removed comes later; that it cannot be noted is no reason to compile.
    #[expect(
        clippy::disallowed_methods,
        reason = "the file's own time, which decides nothing else"
    )]
    let now = SystemTime::now();
    drop(file.set_modified(now));
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use wasmtime::component::Component;

    use super::super::engine::WasmEngine;
    use super::{Cache, read};

    const MODULE: &[u8] = include_bytes!("../../tests/it/hostile.wasm");

    fn files(dir: &std::path::Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    #[test]
    fn a_module_is_compiled_once_and_again_where_its_file_is_damaged() {
        let dir = tempfile::tempdir().expect("a folder");
        let (cache, engine) = (
            Cache::open(&dir.path().join("deep/er")).expect("made"),
            WasmEngine::new().expect("an engine"),
        );
        let get = || {
            cache
                .get::<Component>(engine.raw(), MODULE)
                .expect("a good module")
        };
        drop(get());
        let [file] = &files(&cache.0)[..] else {
            panic!("one file")
        };
        let whole = fs::read(file).expect("there");
        assert_eq!(
            fs::metadata(&cache.0).expect("there").permissions().mode() & 0o777,
            0o700
        );
        // It is what is read: what was written into it would be run.
        assert!(read(file).expect("there").is_some());
        drop(get());
        assert_eq!(fs::read(file).expect("there"), whole);
        for damaged in [&whole[..whole.len() / 2], &whole[..7], b""] {
            fs::write(file, damaged).expect("written");
            assert!(read(file).expect("there").is_none());
            drop(get());
            assert_eq!(fs::read(file).expect("there").len(), whole.len());
        }
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(file, flipped).expect("written");
        assert!(read(file).expect("there").is_none());
        // Another compiler has another file.
        let other = WasmEngine::for_tests().expect("an engine");
        drop(
            cache
                .get::<Component>(other.raw(), MODULE)
                .expect("a good module"),
        );
        assert_eq!(files(&cache.0).len(), 2);
        assert!(cache.get::<Component>(engine.raw(), b"no module").is_err());
        assert_eq!(files(&cache.0).len(), 2);
    }

    #[test]
    fn what_others_may_write_to_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let inner = dir.path().join("compiled");
        drop(Cache::open(&inner).expect("made"));
        let set = |path: &std::path::Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        let refused = || Cache::open(&inner).expect_err("refused").to_string();
        set(&inner, 0o770);
        assert!(refused().contains("others may write to it"));
        set(&inner, 0o700);
        // Whoever may write around it may put another one in its place.
        set(dir.path(), 0o770);
        assert!(refused().contains("others may write to it"));
        set(dir.path(), 0o1777);
        drop(Cache::open(&inner).expect("it cannot be replaced"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&inner, &link).expect("made");
        assert!(Cache::open(&link).is_err());
        let file = inner.join("file");
        let mut content = hydrant_core::Digest::of(b"code").as_bytes().to_vec();
        content.extend_from_slice(b"code");
        fs::write(&file, content).expect("written");
        set(&file, 0o600);
        assert_eq!(read(&file).expect("there").as_deref(), Some(&b"code"[..]));
        set(&file, 0o660);
        assert_eq!(read(&file).expect("there"), None);
    }
}
