//! `hydrant transform new`.

use std::fs;
use std::io::{self, Write as _};

use anyhow::Context as _;

use super::{NewArgs, template, usage};
use crate::cli::OK;

/// Writes a new transform; gives the exit code.
pub(super) fn main(args: &NewArgs) -> anyhow::Result<u8> {
    let folder = &args.folder;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !starts || !name.bytes().all(plain) {
        return Err(usage(format!(
            "`{name}` cannot be a transform's name: take lower-case letters, digits, `-` and `_`, a letter first"
        )));
    }
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(usage(format!(
            "{} is there already, and not an empty folder: nothing was written",
            folder.display()
        )));
    }
    for (path, text) in template::files(args.lang, name) {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    writeln!(
        io::stdout(),
        "made {folder}; next:\n  hydrant transform build {folder}\n  hydrant transform test {folder}",
        folder = folder.display()
    )?;
    Ok(OK)
}
