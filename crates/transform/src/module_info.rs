//! What a module says of itself, read from its bytes without compiling it.

use std::collections::BTreeMap;

use hydrant_core::Digest;
use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload};

use crate::Error;

/// The custom section with a line or two about the module.
pub const DESCRIPTION: &str = "hydrant:description";
/// The custom section with the JSON Schema of its configuration.
pub const CONFIG_SCHEMA: &str = "hydrant:config-schema";
const PACKAGE: &str = "hydrant:transform/";

/// What a module says of itself.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// What it is.
    pub kind: ModuleKind,
    /// Its size in bytes.
    pub bytes: usize,
    /// SHA-256 in hex, as error objects name it.
    pub digest: String,
    /// Everything that it imports, in the order of its bytes.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Its description.
    pub description: Option<String>,
    /// The JSON Schema of its configuration.
    pub config_schema: Option<String>,
}

/// What a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// A component of this version of the contract (`1.0.0`), as its imports say.
    Component {
        /// The version; none where it names no part of the contract.
        contract: Option<String>,
    },
    /// A WASI command, which runs in stdio mode.
    Command,
    /// A core module that is neither.
    Core,
}

impl ModuleInfo {
    /// Reads a module.
    ///
    /// # Errors
    /// Where it is no WebAssembly, or cut short.
    pub fn read(module: &[u8]) -> Result<Self, Error> {
        let mut found = Found::default();
        for payload in Parser::new(0).parse_all(module) {
            let done = payload.and_then(|payload| found.take(payload));
            done.map_err(|e| Error::Module(format!("is not WebAssembly: {e}")))?;
        }
        let text = |name: &str| found.sections.get(name).cloned();
        let (description, config_schema) = (text(DESCRIPTION), text(CONFIG_SCHEMA));
        Ok(Self {
            kind: found.kind(),
            bytes: module.len(),
            digest: Digest::of(module).to_hex(),
            imports: found.imports,
            exports: found.exports,
            description,
            config_schema,
        })
    }

    /// Imports that only `wasi: true` gives.
    pub fn wasi_imports(&self) -> impl Iterator<Item = &String> {
        let is_component = matches!(self.kind, ModuleKind::Component { .. });
        self.imports
            .iter()
            .filter(move |name| is_component && name.starts_with("wasi:"))
    }
}

#[derive(Default)]
struct Found {
    is_component: bool,
    depth: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    sections: BTreeMap<String, String>,
}

impl Found {
    /// Takes one piece: names of the outermost layer, and the two sections of all layers.
    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.is_component |= self.depth == 0 && encoding == Encoding::Component;
                self.depth += 1;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if self.depth == 1 => {
                for import in imports {
                    let import = import?;
                    // A type by its name is no more than an alias: nothing comes from outside.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 1 => {
                for export in exports {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::ImportSection(imports) if self.depth == 1 => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.imports
                        .push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) if self.depth == 1 => {
                for export in exports {
                    self.exports.push(export?.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name().starts_with("hydrant:") => {
                let text = String::from_utf8_lossy(section.data()).into_owned();
                // The outermost comes last, and it is what `build` added.
                self.sections.insert(section.name().to_owned(), text);
            }
            _ => {}
        }
        Ok(())
    }

    fn kind(&self) -> ModuleKind {
        if self.is_component {
            let contract = self.imports.iter().find_map(|name| {
                let (_, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
                Some(version.to_owned())
            });
            return ModuleKind::Component { contract };
        }
        if self.exports.iter().any(|name| name == "_start") {
            ModuleKind::Command
        } else {
            ModuleKind::Core
        }
    }
}

/// The module with a custom section behind it.
pub fn with_section(mut module: Vec<u8>, name: &str, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    leb128(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(text.as_bytes());
    module.push(0);
    leb128(&mut module, body.len());
    module.extend(body);
    module
}

/// A number as WebAssembly writes it: seven bits a byte, the low ones first.
fn leb128(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFIG_SCHEMA, DESCRIPTION, ModuleInfo, ModuleKind, with_section};

    static CONTRACT_1_0: &[u8] = include_bytes!("../tests/it/contract-1.0.wasm");

    #[test]
    fn a_component_is_described() {
        let info = ModuleInfo::read(CONTRACT_1_0).expect("a component");
        let contract = Some("1.0.0".to_owned());
        assert_eq!(info.kind, ModuleKind::Component { contract });
        let imports = [
            "hydrant:transform/types@1.0.0",
            "hydrant:transform/log@1.0.0",
        ];
        assert!(
            imports
                .iter()
                .all(|name| info.imports.iter().any(|one| one == name))
        );
        assert_eq!(info.imports.len(), 2);
        assert_eq!(info.exports, ["configure", "transform"]);
        assert_eq!((info.description, info.config_schema), (None, None));
        assert_eq!(info.bytes, CONTRACT_1_0.len());
    }

    #[test]
    fn sections_are_added_and_read_back() {
        let long = "x".repeat(300);
        let module = with_section(CONTRACT_1_0.to_vec(), DESCRIPTION, &long);
        let module = with_section(module, CONFIG_SCHEMA, "{}");
        let info = ModuleInfo::read(&module).expect("still a component");
        assert_eq!(info.description, Some(long));
        assert_eq!(info.config_schema.as_deref(), Some("{}"));
    }

    #[test]
    fn what_is_no_module_is_refused_and_a_core_module_is_told_apart() {
        let error = ModuleInfo::read(b"nothing")
            .expect_err("no module")
            .to_string();
        assert!(
            error.starts_with("transform module is not WebAssembly"),
            "{error}"
        );
        assert!(ModuleInfo::read(&CONTRACT_1_0[..1000]).is_err());
        let core = ModuleInfo::read(b"\0asm\x01\0\0\0").expect("an empty module");
        assert_eq!(core.kind, ModuleKind::Core);
        let mut command = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0".to_vec();
        command.extend(b"\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b");
        let command = ModuleInfo::read(&command).expect("a command");
        assert_eq!(command.kind, ModuleKind::Command);
    }
}
