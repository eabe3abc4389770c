//! Second pass: the guest's main core module gets its memory from outside, so that every script can have an image.
//!
//! The module's memory becomes the import `image.memory` (its export stays, under the same name, so the rest of the
//! component does not notice), and its data segments move out. It also puts its allocator into an imported table, where
//! [`link`](crate::link) needs it.

use std::convert::Infallible;

use anyhow::{Context as _, Result, anyhow, ensure};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    ConstExpr, ElementSection, Elements, EntityType, ImportSection, MemorySection, MemoryType, Module,
};
use wasmparser::{ExternalKind, Operator, Parser, Payload};

use crate::link::{ALLOCATOR, IMAGE, TABLE, TABLE_TYPE};

/// The allocator of the canonical ABI, as wit-bindgen exports it.
const REALLOC: &str = "cabi_realloc";

/// A core module that imports its memory, and what that memory holds before any script is loaded.
pub(crate) struct Split {
    /// The module.
    pub(crate) module: Module,
    /// The type of the memory.
    pub(crate) memory: MemoryType,
    /// Address and bytes of each data segment.
    pub(crate) segments: Vec<(u32, Vec<u8>)>,
}

/// Split the memory out of a core module.
pub(crate) fn split(core: &[u8]) -> Result<Split> {
    let mut pass = SplitCore::scan(core)?;
    let mut module = Module::new();
    utils::parse_core_module(&mut pass, &mut module, Parser::new(0), core)
        .map_err(|error| anyhow!("cannot re-encode the guest's core module: {error}"))?;
    ensure!(pass.unsupported.is_none(), "{}", pass.unsupported.unwrap_or_default());
    Ok(Split { module, memory: pass.memory, segments: pass.segments })
}

struct SplitCore {
    memory: MemoryType,
    /// The function that allocates.
    realloc: u32,
    segments: Vec<(u32, Vec<u8>)>,
    unsupported: Option<&'static str>,
}

impl SplitCore {
    fn scan(module: &[u8]) -> Result<Self> {
        let mut found_memory = None;
        let mut realloc = None;
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::MemorySection(section) => found_memory = section.into_iter().next().transpose()?,
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func && export.name == REALLOC {
                            realloc = Some(export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        let memory = found_memory.context("the guest has no memory")?;
        let memory = MemoryType {
            minimum: memory.initial,
            maximum: memory.maximum,
            memory64: memory.memory64,
            shared: memory.shared,
            page_size_log2: memory.page_size_log2,
        };
        let realloc = realloc.with_context(|| format!("the guest has no {REALLOC}"))?;
        Ok(Self { memory, realloc, segments: Vec::new(), unsupported: None })
    }
}

impl Reencode for SplitCore {
    type Error = Infallible;

    /// The imported table comes before the module's own.
    fn table_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(index + 1)
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_import_section(self, imports, section)?;
        imports.import(IMAGE, "memory", EntityType::Memory(self.memory));
        imports.import(ALLOCATOR, TABLE, EntityType::Table(TABLE_TYPE));
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        _: &mut MemorySection,
        _: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// The allocator's segment is the last one: those of the module's own table before it can be prepared ahead of time.
    fn parse_element_section(
        &mut self,
        elements: &mut ElementSection,
        section: wasmparser::ElementSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_element_section(self, elements, section)?;
        elements.active(Some(0), &ConstExpr::i32_const(0), Elements::Functions([self.realloc][..].into()));
        Ok(())
    }

    fn data_count(&mut self, _: u32) -> Result<u32, Error> {
        Ok(0)
    }

    fn parse_data(
        &mut self,
        _: &mut wasm_encoder::DataSection,
        data: wasmparser::Data<'_>,
    ) -> Result<(), Error> {
        match data.kind {
            wasmparser::DataKind::Active { memory_index: 0, offset_expr } => {
                match offset_expr.get_operators_reader().read()? {
                    Operator::I32Const { value } => {
                        self.segments.push((value.cast_unsigned(), data.data.to_vec()));
                    }
                    _ => self.unsupported = Some("a data segment's address is not a constant"),
                }
            }
            _ => self.unsupported = Some("the guest has a passive data segment or a second memory"),
        }
        Ok(())
    }
}
