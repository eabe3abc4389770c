//! Second pass: the component's main core module gets its memory from outside, so that every script can have an image.
//!
//! The module's memory becomes the import `image.memory` (its export stays, under the same name, so the rest of the
//! component does not notice), its data segments move out, and the component imports a core module `image`, which is
//! instantiated before everything else. So core module and core instance indices shift by one.

use std::convert::Infallible;

use anyhow::{Context as _, Result, anyhow, ensure};
use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils, utils};
use wasm_encoder::{
    Component, ComponentImportSection, ComponentTypeRef, CoreTypeSection, EntityType, ImportSection,
    InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection, ModuleType,
};
use wasmparser::{Instance, Operator, Parser, Payload};

/// A component that imports its memory, and what that memory holds before any script is loaded.
pub(crate) struct Split {
    /// The component.
    pub(crate) component: Vec<u8>,
    /// The type of the memory.
    pub(crate) memory: MemoryType,
    /// Address and bytes of each data segment.
    pub(crate) segments: Vec<(u32, Vec<u8>)>,
}

/// Split the memory out of a component whose first core module is the main one, as wit-component makes them.
pub(crate) fn split(component: &[u8]) -> Result<Split> {
    let mut pass = SplitComponent::default();
    let mut out = Component::new();
    pass.parse_component(&mut out, Parser::new(0), component)
        .map_err(|error| anyhow!("cannot re-encode the component: {error}"))?;
    let core = pass.main.context("the component has no core module")?;
    ensure!(core.unsupported.is_none(), "{}", core.unsupported.unwrap_or_default());
    ensure!(pass.main_is_instantiated, "the component does not instantiate its first core module");
    Ok(Split { component: out.finish(), memory: core.memory, segments: core.segments })
}

/// The main core module.
struct SplitCore {
    memory: MemoryType,
    segments: Vec<(u32, Vec<u8>)>,
    unsupported: Option<&'static str>,
}

impl SplitCore {
    fn scan(module: &[u8]) -> Result<Option<Self>, wasmparser::BinaryReaderError> {
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::MemorySection(section) = payload?
                && let Some(memory) = section.into_iter().next()
            {
                let memory = memory?;
                let memory = MemoryType {
                    minimum: memory.initial,
                    maximum: memory.maximum,
                    memory64: memory.memory64,
                    shared: memory.shared,
                    page_size_log2: memory.page_size_log2,
                };
                return Ok(Some(Self { memory, segments: Vec::new(), unsupported: None }));
            }
        }
        Ok(None)
    }
}

impl Reencode for SplitCore {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_import_section(self, imports, section)?;
        imports.import("image", "memory", EntityType::Memory(self.memory));
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        _: &mut MemorySection,
        _: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error> {
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

/// The component around it.
#[derive(Default)]
struct SplitComponent {
    main: Option<SplitCore>,
    /// Core modules seen so far.
    modules: u32,
    /// Core types seen so far.
    core_types: u32,
    /// The index of the imported core module; none before it is there. Modules defined before it keep their index.
    image_module: Option<u32>,
    main_is_instantiated: bool,
}

impl SplitComponent {
    /// Import the core module `image` and instantiate it, as core instance 0.
    fn instantiate_image(&mut self, component: &mut Component) {
        let Some(core) = &self.main else { return };
        let mut module = ModuleType::new();
        module.export("memory", EntityType::Memory(core.memory));
        let mut types = CoreTypeSection::new();
        types.ty().module(&module);
        component.section(&types);

        let mut imports = ComponentImportSection::new();
        imports.import("image", ComponentTypeRef::Module(self.core_types));
        component.section(&imports);

        let mut instances = InstanceSection::new();
        instances.instantiate::<_, &str>(self.modules, []);
        component.section(&instances);
        self.image_module = Some(self.modules);
    }
}

impl Reencode for SplitComponent {
    type Error = Infallible;
}

impl ReencodeComponent for SplitComponent {
    fn instance_index(&mut self, index: u32) -> u32 {
        index + 1
    }

    fn module_index(&mut self, index: u32) -> u32 {
        if self.image_module.is_some_and(|image| index >= image) { index + 1 } else { index }
    }

    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<(), Error> {
        self.modules += 1;
        if self.modules > 1 {
            return component_utils::parse_component_submodule(self, component, parser, module);
        }
        let mut out = Module::new();
        self.main = SplitCore::scan(module)?;
        if let Some(core) = &mut self.main {
            utils::parse_core_module(core, &mut out, Parser::new(0), module)?;
        }
        component.section(&ModuleSection(&out));
        Ok(())
    }

    fn parse_component_payload(
        &mut self,
        component: &mut Component,
        payload: Payload<'_>,
        whole: &[u8],
    ) -> Result<(), Error> {
        match &payload {
            Payload::CoreTypeSection(section) => self.core_types += section.count(),
            Payload::InstanceSection(_) if self.image_module.is_none() => self.instantiate_image(component),
            _ => {}
        }
        component_utils::parse_component_payload(self, component, payload, whole)
    }

    fn parse_instance(
        &mut self,
        instances: &mut InstanceSection,
        instance: Instance<'_>,
    ) -> Result<(), Error> {
        let Instance::Instantiate { module_index: 0, args } = &instance else {
            return component_utils::parse_instance(self, instances, instance);
        };
        let args = args.iter().map(|arg| (arg.name, ModuleArg::Instance(arg.index + 1)));
        instances.instantiate(0, args.chain([("image", ModuleArg::Instance(0))]).collect::<Vec<_>>());
        self.main_is_instantiated = true;
        Ok(())
    }
}
