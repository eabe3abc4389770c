//! `picloud explain CODE`: the page of an error code, which every server has, too.

use picloud_host::problem::Code;
use serde_json::json;

use crate::args::ExplainArgs;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::clean;

/// Print the page of a code, or all codes.
///
/// # Errors
///
/// There is no such code.
pub fn run(args: &ExplainArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let Some(wanted) = &args.code else { return list(terminal) };
    let Some(code) = Code::ALL.iter().find(|code| code.as_str() == wanted) else {
        let wanted = clean(wanted);
        return Err(CliError::Failed(format!(
            "there is no error code `{wanted}`: `picloud explain` lists all"
        )));
    };
    if terminal.json_wanted() {
        return terminal.json(&json!({
            "code": code.as_str(), "status": code.status().as_u16(), "title": code.title(), "page": code.page(),
        }));
    }
    terminal.raw(code.page().as_bytes())
}

fn list(terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        let items = Code::ALL.iter().map(
            |code| json!({ "code": code.as_str(), "status": code.status().as_u16(), "title": code.title() }),
        );
        return terminal.json(&json!({ "items": items.collect::<Vec<_>>() }));
    }
    let mut table = Table::new(&["CODE", ">STATUS", "MEANING"]);
    for code in Code::ALL {
        table.row(vec![code.as_str().into(), code.status().as_u16().to_string(), code.title().into()]);
    }
    terminal.line(&table.render(terminal.out_paint()))
}

#[cfg(test)]
mod tests {
    use picloud_host::problem::Code;

    use crate::commands::tests::picloud_in;
    use crate::exit::Exit;

    #[tokio::test]
    async fn every_code_has_a_page_and_a_line() {
        let all = picloud_in(&[], &["explain"]).await.expect(Exit::Ok).out;
        for code in Code::ALL {
            let ran = picloud_in(&[], &["explain", code.as_str()]).await.expect(Exit::Ok);
            assert!(ran.out.starts_with(&format!("# {}\n", code.as_str())), "{}", ran.out);
            assert!(all.lines().any(|line| line.starts_with(code.as_str())), "{all}");
        }
        let ran = picloud_in(&[], &["explain", "script-error", "-o", "json"]).await.expect(Exit::Ok);
        assert_eq!(ran.json()["status"], 500);
        let ran = picloud_in(&[], &["explain", "no-such-code"]).await.expect(Exit::Failed);
        assert!(ran.err.contains("`no-such-code`"), "{}", ran.err);
    }
}
