//! The commands about routes, and about who has to be there.

use clap::{Args, Subcommand};

use super::AppOnly;

/// `picloud routes`.
#[derive(Debug, Clone, Args)]
pub struct RoutesArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do; without it the routes are listed
    #[command(subcommand)]
    pub command: Option<RoutesCommand>,
}

/// What to do with routes.
#[derive(Debug, Clone, Subcommand)]
pub enum RoutesCommand {
    /// List the routes
    List,
    /// Print a route as JSON
    Show {
        /// The route
        name: String,
    },
    /// Make a route, or give it another form
    #[command(after_help = "\
Examples:
  picloud routes set users --path '/users/{id}' --script users
  picloud routes set files --host files.example.org --path '/{*rest}' --method GET --script files
  picloud routes set old --path '/old/{id}' --redirect '/new/{id}'
  picloud routes set robots --path /robots.txt --answer 'User-agent: *'
  picloud routes set orders --path /orders --script order --access token --cors https://shop.example.org
  picloud routes set users --json @route.json    everything that a route can say")]
    Set(Box<NewRoute>),
    /// Delete a route
    Rm {
        /// The route
        name: String,
    },
}

/// `picloud routes set`.
#[derive(Debug, Clone, Args)]
pub struct NewRoute {
    /// The route's name
    pub name: String,

    /// All of it as JSON: the text itself, `@FILE` for a file, or `-` for standard input
    #[arg(long, value_name = "JSON", conflicts_with_all = ["path", "host", "methods", "goal", "access", "cors"])]
    pub json: Option<String>,

    /// Which paths: `{name}` stands for any one part, `{*name}` at the end for one or more
    #[arg(long, required_unless_present = "json")]
    pub path: Option<String>,

    /// Which host, or `*.NAME` for every name below it; without it every host
    #[arg(long)]
    pub host: Option<String>,

    /// A method; may be repeated. Without it every method
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,

    /// What a request leads to.
    #[command(flatten)]
    pub goal: RouteGoal,

    /// The status of a redirect [default: 308] or of an answer [default: 200]
    #[arg(long, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: Option<u16>,

    /// Who has to be there: none, token, basic:SECRET or hmac:SECRET
    #[arg(long)]
    pub access: Option<String>,

    /// An origin whose pages may read the answers, or `*`; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub cors: Vec<String>,
}

/// What a request leads to: one of these.
#[derive(Debug, Clone, Args)]
#[group(id = "goal", multiple = false)]
pub struct RouteGoal {
    /// The script that answers
    #[arg(long)]
    pub script: Option<String>,

    /// Where clients are sent: a URL or a path, in which `{name}` stands for a parameter
    #[arg(long, value_name = "LOCATION")]
    pub redirect: Option<String>,

    /// An answer that is always the same: the text itself, `@FILE` for a file, or `-` for standard input
    #[arg(long, value_name = "TEXT")]
    pub answer: Option<String>,
}

/// `picloud access`.
#[derive(Debug, Clone, Args)]
pub struct AccessArgs {
    /// The script
    pub script: String,

    /// Who has to be there for a request to be taken: none, token, basic:SECRET or hmac:SECRET
    pub access: String,

    /// The app of the script.
    #[command(flatten)]
    pub app: AppOnly,
}
