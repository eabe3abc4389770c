//! A loaded script: its engine, its syntax tree, and how it is called.

use std::collections::BTreeSet;
use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::outcome::{Failure, FailureKind, Loaded, Response};
use rhai::{AST, CallFnOptions, Dynamic, Engine, Module, Scope};

use crate::sdk::{event, request::Request, test};
use crate::{answer, engine, failure};

/// The function that answers HTTP requests.
const HANDLE: &str = "handle";
/// The function that handles events.
const ON_EVENT: &str = "on_event";

/// What the names of functions start with that test the script.
const TEST: &str = "test_";

/// An engine with one script in it.
pub(crate) struct Script {
    engine: Engine,
    ast: AST,
    form: Form,
}

/// How a script takes part in calls.
#[derive(Clone, Copy)]
enum Form {
    /// It has a function `handle` or `on_event` or both; given is the number of parameters, 0 or 1.
    Functions { handle: Option<usize>, on_event: Option<usize> },
    /// It has neither: the whole script is the handler.
    Whole,
}

impl Script {
    /// Compile a source and, if it defines handlers, run its top level once.
    pub(crate) fn load(source: String) -> Result<Self, Failure> {
        let mut engine = engine::build();
        let ast = engine.compile(&source).map_err(|error| failure::of_parse(&error))?;
        // Freed before the image is taken.
        drop(source);
        let form = form(&ast)?;
        if let Form::Functions { .. } = form {
            let mut scope = Scope::new();
            engine.run_ast_with_scope(&mut scope, &ast).map_err(|error| failure::of_eval(*error))?;
            publish_constants(&mut engine, &scope);
        }
        Ok(Self { engine, ast, form })
    }

    /// What the script can do.
    pub(crate) fn loaded(&self) -> Loaded {
        let (handles_requests, handles_events) = match self.form {
            Form::Functions { handle, on_event } => (handle.is_some(), on_event.is_some()),
            Form::Whole => (true, true),
        };
        Loaded { handles_requests, handles_events, tests: tests(&self.ast) }
    }

    /// Answer the current request.
    pub(crate) fn handle(&self) -> Result<Response, Failure> {
        let handler = match self.form {
            Form::Functions { handle, .. } => Some(handle.ok_or_else(|| missing(HANDLE))?),
            Form::Whole => None,
        };
        answer::from_value(self.call(HANDLE, handler, "req", || Dynamic::from(Rc::new(Request::default())))?)
    }

    /// Handle the current event. What the handler returns is not looked at.
    pub(crate) fn on_event(&self) -> Result<(), Failure> {
        let handler = match self.form {
            Form::Functions { on_event, .. } => Some(on_event.ok_or_else(|| missing(ON_EVENT))?),
            Form::Whole => None,
        };
        self.call(ON_EVENT, handler, "event", event::value).map(drop)
    }

    /// Run one of the tests. What it returns is not looked at.
    pub(crate) fn run_test(&mut self, function: &str) -> Result<(), Failure> {
        if self.ast.iter_functions().any(|found| found.name == function && !found.params.is_empty()) {
            let message = format!("the test `{function}` must have no parameters");
            return Err(failure::new(FailureKind::Handler, message));
        }
        test::register(&mut self.engine);
        self.call(function, Some(0), "", || Dynamic::UNIT).map(drop)
    }

    /// Call the function with as many parameters as it has, or run the whole script with `name` in scope.
    fn call(
        &self,
        function: &str,
        parameters: Option<usize>,
        name: &str,
        argument: impl FnOnce() -> Dynamic,
    ) -> Result<Dynamic, Failure> {
        let mut scope = Scope::new();
        let options = || CallFnOptions::new().eval_ast(false).rewind_scope(false);
        let result = match parameters {
            Some(0) => self.engine.call_fn_with_options(options(), &mut scope, &self.ast, function, ()),
            Some(_) => {
                self.engine.call_fn_with_options(options(), &mut scope, &self.ast, function, (argument(),))
            }
            None => {
                scope.push_constant_dynamic(name, argument());
                self.engine.eval_ast_with_scope(&mut scope, &self.ast)
            }
        };
        result.map_err(|error| failure::of_eval(*error))
    }
}

/// The functions of a script that test it.
fn tests(ast: &AST) -> Vec<String> {
    let names = ast.iter_functions().map(|function| function.name).filter(|name| name.starts_with(TEST));
    // A name may be there more than once, with other parameters.
    names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn form(ast: &AST) -> Result<Form, Failure> {
    let handle = parameters(ast, HANDLE)?;
    let on_event = parameters(ast, ON_EVENT)?;
    Ok(if handle.is_some() || on_event.is_some() {
        Form::Functions { handle, on_event }
    } else {
        Form::Whole
    })
}

/// The number of parameters of a handler, if there is one by that name.
fn parameters(ast: &AST, name: &str) -> Result<Option<usize>, Failure> {
    let mut counts = ast.iter_functions().filter(|function| function.name == name).map(|f| f.params.len());
    match (counts.next(), counts.next()) {
        (None, _) => Ok(None),
        (Some(count @ (0 | 1)), None) => Ok(Some(count)),
        (Some(_), None) => {
            Err(failure::new(FailureKind::Compile, format!("`{name}` must have one parameter or none")))
        }
        (Some(_), Some(_)) => Err(failure::new(
            FailureKind::Compile,
            format!("`{name}` is defined more than once, with different parameters"),
        )),
    }
}

fn missing(name: &str) -> Failure {
    failure::new(FailureKind::Handler, format!("the script has no function `{name}`"))
}

/// Make the constants of the top level visible in functions, where Rhai itself would hide them.
fn publish_constants(engine: &mut Engine, scope: &Scope<'_>) {
    let mut module = Module::new();
    for (name, is_constant, value) in scope.iter() {
        if is_constant {
            module.set_var(name, value);
        }
    }
    if !module.is_empty() {
        engine.register_global_module(module.into());
    }
}
