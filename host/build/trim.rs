//! First pass over the guest's core module: nothing of WASI preview1 remains.
//!
//! `std` for wasm32-wasip1 imports preview1 functions whether or not anything calls them. Linking the preview1 adapter
//! would cost every call a fifth core instance; instead each import becomes a local function that fails as on a system
//! without files, arguments and environment. Clock and random are imported as WASI 0.2 interfaces by the guest itself.
//!
//! `_initialize` is dropped: constructors run once before an image is captured and must not run again in it, which
//! newer versions of wasi-libc punish with a trap. wit-bindgen runs them itself.

use std::convert::Infallible;

use anyhow::{Result, anyhow, ensure};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, Function, FunctionSection, ImportSection, Module};
use wasmparser::{Parser, Payload, TypeRef};

/// The module whose imports are replaced.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// "Bad file descriptor": wasi-libc's search for preopened directories ends on it and aborts on anything else.
const EBADF: i32 = 8;

/// "Function not supported".
const ENOSYS: i32 = 52;

/// Remove `_initialize` and every preview1 import from a core module.
pub(crate) fn trim(core: &[u8]) -> Result<Vec<u8>> {
    let mut trim = Trim::scan(core)?;
    let mut module = Module::new();
    utils::parse_core_module(&mut trim, &mut module, Parser::new(0), core)
        .map_err(|error| anyhow!("cannot re-encode the guest's core module: {error}"))?;
    Ok(module.finish())
}

/// Function indices afterwards: kept imports, stubs, the module's own functions. Kept and stubs together are as many as
/// the imports were, so own functions keep their index.
struct Trim {
    /// The new index of each imported function.
    imported: Vec<u32>,
    /// Name and type of each stub, in index order.
    stubs: Vec<(String, u32)>,
}

impl Trim {
    fn scan(core: &[u8]) -> Result<Self> {
        let mut kept = Vec::new();
        let mut stubs = Vec::new();
        for payload in Parser::new(0).parse_all(core) {
            let Payload::ImportSection(section) = payload? else { continue };
            for import in section.into_imports() {
                let import = import?;
                match import.ty {
                    TypeRef::Func(ty) if import.module == PREVIEW1 => {
                        kept.push(false);
                        stubs.push((import.name.to_owned(), ty));
                    }
                    TypeRef::Func(_) => kept.push(true),
                    _ => ensure!(import.module != PREVIEW1, "preview1 import {} is no function", import.name),
                }
            }
        }
        let mut next_kept = 0;
        let mut next_stub = u32::try_from(kept.iter().filter(|kept| **kept).count())?;
        let count = |next: &mut u32| std::mem::replace(next, *next + 1);
        let imported =
            kept.iter().map(|kept| count(if *kept { &mut next_kept } else { &mut next_stub })).collect();
        Ok(Self { imported, stubs })
    }
}

/// The body of the function that replaces a preview1 import.
fn stub(name: &str) -> Function {
    let mut function = Function::new([]);
    match name {
        "proc_exit" => function.instructions().unreachable().end(),
        // Writes nothing: std's hash seed, its only use, is then a constant, as everything in an image should be. What
        // scripts get as random numbers comes from wasi:random.
        "random_get" => function.instructions().i32_const(0).end(),
        _ if name.starts_with("fd_") => function.instructions().i32_const(EBADF).end(),
        _ => function.instructions().i32_const(ENOSYS).end(),
    };
    function
}

impl Reencode for Trim {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(self.imported.get(index as usize).copied().unwrap_or(index))
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        for import in section.into_imports() {
            let import = import?;
            if import.module != PREVIEW1 {
                imports.import(import.module, import.name, self.entity_type(import.ty)?);
            }
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        for (_, ty) in &self.stubs {
            functions.function(*ty);
        }
        utils::parse_function_section(self, functions, section)
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        for (name, _) in &self.stubs {
            code.function(&stub(name));
        }
        utils::parse_code_section(self, code, section)
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), Error> {
        if export.name == "_initialize" {
            return Ok(());
        }
        utils::parse_export(self, exports, export)
    }
}
