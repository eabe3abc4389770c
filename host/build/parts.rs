//! A component taken apart: what wit-component made of the guest, as far as it has to be put together again.

use anyhow::{Context as _, Result, bail, ensure};
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExport, ComponentExternalKind, ExternalKind,
    Instance, Parser, Payload,
};

/// The core modules of wit-component, in the order in which it writes them.
pub(crate) const MAIN: u32 = 0;
const FIXUP: u32 = 2;

/// A section as it stands in the file.
pub(crate) struct Raw<'a> {
    pub(crate) id: u8,
    pub(crate) data: &'a [u8],
}

/// A function that a component imports, as the canonical ABI makes it callable from core modules.
pub(crate) struct Lowered<'a> {
    /// The imported instance.
    pub(crate) instance: u32,
    pub(crate) name: &'a str,
    pub(crate) options: &'a [CanonicalOption],
}

/// The functions that the main module imports under one name.
pub(crate) struct Imports<'a> {
    pub(crate) module: &'a str,
    /// Each with the name under which it is imported.
    pub(crate) functions: Vec<(&'a str, Lowered<'a>)>,
}

/// What follows the core modules and instances.
pub(crate) enum Tail<'a> {
    Types(Raw<'a>),
    Lift {
        /// Index among the component's functions.
        function: u32,
        /// The core function that is lifted.
        core: u32,
        ty: u32,
        options: Box<[CanonicalOption]>,
    },
    Export {
        /// Index among the component's functions; that of what is exported.
        function: u32,
        name: &'a str,
    },
}

/// A component with one main module.
#[derive(Default)]
pub(crate) struct Parts<'a> {
    /// Everything before the first core module: types, and imports of instances.
    pub(crate) head: Vec<Raw<'a>>,
    modules: Vec<&'a [u8]>,
    core_instances: Vec<Instance<'a>>,
    core_functions: Vec<CoreFunction<'a>>,
    /// The component's functions; none for those that are not imported.
    functions: Vec<Option<(u32, &'a str)>>,
    pub(crate) tail: Vec<Tail<'a>>,
}

enum CoreFunction<'a> {
    Alias { instance: u32, name: &'a str },
    Lowered { function: u32, options: Box<[CanonicalOption]> },
}

impl<'a> Parts<'a> {
    /// Take a component apart.
    pub(crate) fn read(component: &'a [u8]) -> Result<Self> {
        let mut parts = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload?;
            match payload {
                Payload::ModuleSection { unchecked_range, .. } => {
                    depth += 1;
                    parts.modules.push(&component[unchecked_range]);
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                // Names of items by their index, and the like: the indices change.
                Payload::Version { .. } | Payload::CustomSection(_) => {}
                _ => parts.section(payload, component)?,
            }
        }
        Ok(parts)
    }

    /// The bytes of the main module.
    pub(crate) fn main_module(&self) -> Result<&'a [u8]> {
        self.modules.get(MAIN as usize).copied().context("the component has no core module")
    }

    /// What the main module imports.
    pub(crate) fn main_imports(&self) -> Result<Vec<Imports<'_>>> {
        let mut imports = Vec::new();
        for arg in self.arguments_of(MAIN)? {
            let functions = self.exports_of(arg.index)?.iter().map(|export| {
                ensure!(export.kind == ExternalKind::Func, "{} is no function", export.name);
                Ok((export.name, self.lowered(export.index)?))
            });
            imports.push(Imports { module: arg.name, functions: functions.collect::<Result<_>>()? });
        }
        Ok(imports)
    }

    /// The name under which the main module exports a core function.
    pub(crate) fn main_export(&self, core_function: u32) -> Result<&'a str> {
        match self.core_functions.get(core_function as usize) {
            Some(CoreFunction::Alias { instance, name }) => match self.core_instances.get(*instance as usize)
            {
                Some(Instance::Instantiate { module_index: MAIN, .. }) => Ok(name),
                _ => bail!("{name} is no export of the main module"),
            },
            _ => bail!("core function {core_function} is no export"),
        }
    }

    fn section(&mut self, payload: Payload<'a>, component: &'a [u8]) -> Result<()> {
        let raw = payload.as_section().map(|(id, range)| Raw { id, data: &component[range] });
        match payload {
            Payload::ComponentTypeSection(_) if !self.modules.is_empty() => {
                self.tail.extend(raw.map(Tail::Types));
            }
            Payload::ComponentTypeSection(_) | Payload::ComponentImportSection(_)
                if self.modules.is_empty() =>
            {
                self.head.extend(raw);
            }
            Payload::ComponentAliasSection(section) if self.modules.is_empty() => {
                for alias in section {
                    let is_type = matches!(
                        alias?,
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                    );
                    ensure!(is_type, "something other than a type is used before the first core module");
                }
                self.head.extend(raw);
            }
            Payload::ComponentAliasSection(section) => {
                section.into_iter().try_for_each(|alias| self.alias(alias?))?;
            }
            Payload::InstanceSection(section) => {
                self.core_instances.extend(section.into_iter().collect::<Result<Vec<_>, _>>()?);
            }
            Payload::ComponentCanonicalSection(section) => {
                section.into_iter().try_for_each(|function| self.canonical(function?))?;
            }
            Payload::ComponentExportSection(section) => {
                section.into_iter().try_for_each(|export| self.export(&export?))?;
            }
            other => bail!("the component has a section that was not expected: {other:?}"),
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<()> {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, instance_index, name } => {
                self.functions.push(Some((instance_index, name)));
            }
            ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, instance_index, name } => {
                self.core_functions.push(CoreFunction::Alias { instance: instance_index, name });
            }
            // The memory is the image's from now on, and the table the shim's, which goes.
            ComponentAlias::CoreInstanceExport {
                kind: ExternalKind::Memory | ExternalKind::Table, ..
            } => {}
            other => bail!("the component has an alias that was not expected: {other:?}"),
        }
        Ok(())
    }

    fn canonical(&mut self, function: CanonicalFunction) -> Result<()> {
        match function {
            CanonicalFunction::Lower { func_index, options } => {
                self.core_functions.push(CoreFunction::Lowered { function: func_index, options });
            }
            CanonicalFunction::Lift { core_func_index, type_index, options } => {
                let function = u32::try_from(self.functions.len())?;
                self.tail.push(Tail::Lift { function, core: core_func_index, ty: type_index, options });
                self.functions.push(None);
            }
            other => bail!("the component has a function that was not expected: {other:?}"),
        }
        Ok(())
    }

    fn export(&mut self, export: &ComponentExport<'a>) -> Result<()> {
        ensure!(
            export.kind == ComponentExternalKind::Func && export.ty.is_none(),
            "the export {:?} is not a plain function",
            export.name
        );
        self.tail.push(Tail::Export { function: export.index, name: export.name.name });
        // An export is an item of its own.
        self.functions.push(None);
        Ok(())
    }

    /// The arguments that a core module is instantiated with.
    fn arguments_of(&self, module: u32) -> Result<&[wasmparser::InstantiationArg<'a>]> {
        let arguments = self.core_instances.iter().find_map(|instance| match instance {
            Instance::Instantiate { module_index, args } if *module_index == module => Some(&**args),
            _ => None,
        });
        arguments.with_context(|| format!("core module {module} is not instantiated"))
    }

    fn exports_of(&self, core_instance: u32) -> Result<&[wasmparser::Export<'a>]> {
        match self.core_instances.get(core_instance as usize) {
            Some(Instance::FromExports(exports)) => Ok(exports),
            _ => bail!("core instance {core_instance} is not one of exports"),
        }
    }

    /// Follow a core function to the import behind it. An alias is one of the shim's exports: the function that the
    /// fix-up module, which knows it by the same name, puts into the shim's table.
    fn lowered(&self, core_function: u32) -> Result<Lowered<'_>> {
        match self.core_functions.get(core_function as usize) {
            Some(CoreFunction::Lowered { function, options }) => {
                let import = self.functions.get(*function as usize).copied().flatten();
                let (instance, name) = import.context("a function is lowered that is not imported")?;
                Ok(Lowered { instance, name, options })
            }
            Some(CoreFunction::Alias { name, .. }) => {
                let fixed = self.arguments_of(FIXUP)?.first().context("the fix-up module imports nothing")?;
                let exports = self.exports_of(fixed.index)?;
                let export = exports.iter().find(|export| export.name == *name);
                self.lowered(export.with_context(|| format!("nothing is behind the shim's {name}"))?.index)
            }
            None => bail!("there is no core function {core_function}"),
        }
    }
}
