//! Third pass: the component is put together again, so that every script can have an image, and without detours.
//!
//! wit-component has to give imported functions a memory and an allocator that exist only once the main module does, which
//! imports those functions. So it puts a module of stubs before it (the shim) and another one behind it that fills them
//! in (the fix-up). Here the memory is there first: it is the image's. What remains is the allocator, and for that one
//! module with one function is enough, which calls what the main module puts into its table. Each instance less is about
//! a microsecond less for every call.
//!
//! Core instances afterwards: the image (imported as a core module), the allocator, the main module.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentTypeRef, CoreTypeSection,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, InstanceSection, MemoryType, Module,
    ModuleArg, ModuleSection, ModuleType, RawSection, RefType, TableSection, TableType, TypeSection, ValType,
};

use crate::parts::{Imports, Lowered, MAIN, Parts, Raw, Tail};

/// The module name under which the main module imports the image's memory.
pub(crate) const IMAGE: &str = "image";
/// The module name under which the main module imports the table that its allocator belongs into.
pub(crate) const ALLOCATOR: &str = "allocator";
/// The name of that table.
pub(crate) const TABLE: &str = "table";

/// The type of that table: one function.
pub(crate) const TABLE_TYPE: TableType =
    TableType { element_type: RefType::FUNCREF, table64: false, minimum: 1, maximum: Some(1), shared: false };

/// Index of the allocator's module, after the main one.
const ALLOCATOR_MODULE: u32 = 1;
/// Index of the imported module.
const IMAGE_MODULE: u32 = 2;

/// Indices of the first core instances, the only core memory, and the first core function.
const IMAGE_INSTANCE: u32 = 0;
const ALLOCATOR_INSTANCE: u32 = 1;
const MEMORY: u32 = 0;
const REALLOC: u32 = 0;

/// Put the parts together, with `main` in the place of the main module.
pub(crate) fn link(parts: &Parts<'_>, main: &Module, memory: MemoryType) -> Result<Vec<u8>> {
    let mut component = Component::new();
    for section in &parts.head {
        copy(&mut component, section);
    }
    component.section(&ModuleSection(main));
    component.section(&ModuleSection(&allocator()));
    import_image(&mut component, memory);

    let mut instances = InstanceSection::new();
    instances.instantiate::<_, &str>(IMAGE_MODULE, []);
    instances.instantiate::<_, &str>(ALLOCATOR_MODULE, []);
    component.section(&instances);
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(core_export(IMAGE_INSTANCE, ExportKind::Memory, "memory"));
    aliases.alias(core_export(ALLOCATOR_INSTANCE, ExportKind::Func, "realloc"));
    component.section(&aliases);

    let mut linked = Linked { component, functions: 0, core_functions: REALLOC + 1, main_instance: 0 };
    linked.main(parts)?;
    linked.tail(parts)?;
    Ok(linked.component.finish())
}

/// A module whose `realloc` calls the function that the main module has put into the table.
fn allocator() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut tables = TableSection::new();
    tables.table(TABLE_TYPE);
    let mut exports = ExportSection::new();
    exports.export(TABLE, ExportKind::Table, 0).export("realloc", ExportKind::Func, 0);
    let mut realloc = Function::new([]);
    let mut body = realloc.instructions();
    body.local_get(0).local_get(1).local_get(2).local_get(3).i32_const(0).call_indirect(0, 0).end();
    let mut code = CodeSection::new();
    code.function(&realloc);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&exports).section(&code);
    module
}

fn import_image(component: &mut Component, memory: MemoryType) {
    let mut module = ModuleType::new();
    module.export("memory", EntityType::Memory(memory));
    let mut types = CoreTypeSection::new();
    types.ty().module(&module);
    component.section(&types);
    let mut imports = ComponentImportSection::new();
    imports.import(IMAGE, ComponentTypeRef::Module(0));
    component.section(&imports);
}

/// A component under construction, and how many items of each kind it has.
struct Linked {
    component: Component,
    functions: u32,
    core_functions: u32,
    main_instance: u32,
}

impl Linked {
    /// Lower what the main module imports, and instantiate it.
    fn main(&mut self, parts: &Parts<'_>) -> Result<()> {
        let mut aliases = ComponentAliasSection::new();
        let mut functions = CanonicalFunctionSection::new();
        let mut instances = InstanceSection::new();
        let mut arguments = vec![
            (IMAGE, ModuleArg::Instance(IMAGE_INSTANCE)),
            (ALLOCATOR, ModuleArg::Instance(ALLOCATOR_INSTANCE)),
        ];
        let mut instance = ALLOCATOR_INSTANCE;
        for Imports { module, functions: imported } in parts.main_imports()? {
            let mut exports = Vec::new();
            for (name, Lowered { instance, name: function, options }) in imported {
                let kind = ComponentExportKind::Func;
                aliases.alias(Alias::InstanceExport { instance, kind, name: function });
                functions.lower(next(&mut self.functions), common_options(options)?);
                exports.push((name, ExportKind::Func, next(&mut self.core_functions)));
            }
            instances.export_items(exports);
            instance += 1;
            arguments.push((module, ModuleArg::Instance(instance)));
        }
        instances.instantiate(MAIN, arguments);
        self.main_instance = instance + 1;
        self.component.section(&aliases).section(&functions).section(&instances);
        Ok(())
    }

    /// Lift and export what the main module exports.
    fn tail(&mut self, parts: &Parts<'_>) -> Result<()> {
        // Where the component's functions are now.
        let mut moved = HashMap::new();
        for item in &parts.tail {
            match item {
                Tail::Types(section) => copy(&mut self.component, section),
                Tail::Lift { function, core, ty, options } => {
                    let core = self.main_export(parts, *core)?;
                    let mut lifted = common_options(options)?;
                    for option in options {
                        if let wasmparser::CanonicalOption::PostReturn(index) = option {
                            lifted.push(CanonicalOption::PostReturn(self.main_export(parts, *index)?));
                        }
                    }
                    let mut functions = CanonicalFunctionSection::new();
                    functions.lift(core, *ty, lifted);
                    self.component.section(&functions);
                    moved.insert(*function, next(&mut self.functions));
                }
                Tail::Export { function, name } => {
                    let index = *moved.get(function).context("something is exported that is not lifted")?;
                    let mut exports = ComponentExportSection::new();
                    exports.export(*name, ComponentExportKind::Func, index, None);
                    self.component.section(&exports);
                    // The export is an item of its own.
                    self.functions += 1;
                }
            }
        }
        Ok(())
    }

    /// The index of one of the main module's exported functions.
    fn main_export(&mut self, parts: &Parts<'_>, core_function: u32) -> Result<u32> {
        let mut aliases = ComponentAliasSection::new();
        let name = parts.main_export(core_function)?;
        aliases.alias(core_export(self.main_instance, ExportKind::Func, name));
        self.component.section(&aliases);
        Ok(next(&mut self.core_functions))
    }
}

/// Options of the canonical ABI with the memory and the allocator as they are now, and without those that only a lift has.
fn common_options(options: &[wasmparser::CanonicalOption]) -> Result<Vec<CanonicalOption>> {
    use wasmparser::CanonicalOption as Old;
    let mut common = Vec::new();
    for option in options {
        common.push(match option {
            Old::UTF8 => CanonicalOption::UTF8,
            Old::Memory(_) => CanonicalOption::Memory(MEMORY),
            Old::Realloc(_) => CanonicalOption::Realloc(REALLOC),
            Old::PostReturn(_) => continue,
            other => bail!("an option of the canonical ABI was not expected: {other:?}"),
        });
    }
    Ok(common)
}

fn core_export(instance: u32, kind: ExportKind, name: &str) -> Alias<'_> {
    Alias::CoreInstanceExport { instance, kind, name }
}

fn copy(component: &mut Component, section: &Raw<'_>) {
    component.section(&RawSection { id: section.id, data: section.data });
}

fn next(index: &mut u32) -> u32 {
    *index += 1;
    *index - 1
}
