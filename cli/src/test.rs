//! `picloud test FILE|DIR`: runs the functions `test_*` of scripts, without a server, in the real sandbox. Each has keys,
//! events and a clock of its own in memory, and no request leaves the machine.

mod bench;
mod files;
mod report;

use crate::args::TestArgs;
use crate::env::Env;
use crate::exit::{CliError, Exit};
use crate::output::Terminal;
use crate::run;
use bench::Bench;
use files::Suite;
use report::{Report, Tested};

/// Run the tests and tell how they went.
///
/// # Errors
///
/// The arguments are wrong, a file cannot be read, a script does not compile, a test failed, or there is none.
pub async fn run(args: TestArgs, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let config = run::config(args.limits, args.fs)?;
    let suite = Suite::find(&args.path, &config.limits)?;
    let settings = run::settings::read(&args.given, terminal)?;
    let bench = Bench::new(config, settings, &suite, run::cache::open(env, terminal)).await?;
    let mut report = Report::new(args.format);
    let mut matched = 0;
    for script in suite.tested() {
        let tests = match bench.tests(script).await {
            Ok(tests) => tests,
            Err(failure) => {
                report.add(Tested::broken(script, failure), terminal)?;
                continue;
            }
        };
        for test in tests {
            let name = format!("{}::{test}", script.name);
            if args.filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
                continue;
            }
            matched += 1;
            report.add(bench.run(script, name, test).await, terminal)?;
        }
    }
    let failed = report.end(terminal)?;
    if failed {
        return Err(CliError::Reported(Exit::Failed));
    }
    if matched == 0 {
        let path = args.path.display();
        return Err(CliError::Failed(match args.filter {
            Some(filter) => format!("no test in {path} has `{filter}` in its name"),
            None => {
                format!("there are no tests in {path}: a test is a function whose name starts with `test_`")
            }
        }));
    }
    Ok(())
}
