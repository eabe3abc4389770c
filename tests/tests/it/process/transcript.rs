//! A page with blocks of commands and of what they print, and what of that is the same each time.

/// A part of a page.
pub(super) enum Block {
    /// Lines between blocks of code.
    Prose(String),
    /// What stands between fences.
    Code {
        /// What stands behind the opening fence.
        info: String,
        text: String,
    },
}

/// The parts of a page, in order.
pub(super) fn parse(page: &str) -> Vec<Block> {
    let mut blocks = vec![Block::Prose(String::new())];
    for line in page.split_inclusive('\n') {
        match (blocks.last_mut().unwrap(), line.strip_prefix("```")) {
            (Block::Prose(_), Some(info)) => {
                blocks.push(Block::Code { info: info.trim_end().to_owned(), text: String::new() });
            }
            (Block::Code { .. }, Some(_)) => blocks.push(Block::Prose(String::new())),
            (Block::Prose(text) | Block::Code { text, .. }, None) => text.push_str(line),
        }
    }
    blocks
}

/// The page of these parts.
pub(super) fn page(blocks: &[Block]) -> String {
    let text = |block: &Block| match block {
        Block::Prose(text) => text.clone(),
        Block::Code { info, text } => format!("```{info}\n{text}```\n"),
    };
    blocks.iter().map(text).collect()
}

/// The ids of executions in a text, in order.
pub(super) fn ids(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = matching(rest, ID).unwrap_or(first.len_utf8());
        if length == ID.len() {
            ids.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    ids
}

/// `x` stands for a hexadecimal digit, `d` for a decimal one, everything else for itself.
const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// The text with the same word for every id, every time, every duration and every number of thousands, and one space for many, since columns are as
/// wide as what is in them.
pub(super) fn in_common_form(text: &str) -> String {
    const TIMES: [&str; 3] = ["dddd-dd-dd dd:dd:dd.ddd", "dddd-dd-dd dd:dd:dd", "dddd-dd-ddTdd:dd:ddZ"];
    let mut form = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let id = matching(rest, ID).map(|length| (length, "ID"));
        let time = TIMES.iter().find_map(|time| matching(rest, time)).map(|length| (length, "TIME"));
        let is_token =
            rest.starts_with(TOKEN) && rest.get(TOKEN_SHOWN..).is_some_and(|end| end.starts_with(CUT));
        let token = is_token.then_some((TOKEN_SHOWN + CUT.len(), "TOKEN"));
        let found = id.or(time).or(token).or_else(|| duration(rest, &form).map(|length| (length, "N")));
        let found = found.or_else(|| thousands(rest, &form).map(|length| (length, "F")));
        let (length, word) = found.unwrap_or((first.len_utf8(), &rest[..first.len_utf8()]));
        if !(word == " " && (form.ends_with(' ') || form.ends_with('\n'))) {
            form.push_str(word);
        }
        rest = &rest[length..];
    }
    form.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// How a token begins, how much of it the server shows, and what stands for the rest on a page.
const TOKEN: &str = "picloud_";
const TOKEN_SHOWN: usize = TOKEN.len() + 6;
const CUT: &str = "...";

/// The text with what is secret of each token left out.
pub(super) fn without_tokens(text: &str) -> String {
    let is_rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut cut = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(TOKEN) {
        let token = rest[at..].find(|c| !is_rest(c)).unwrap_or(rest.len() - at);
        cut.push_str(&rest[..at + token.min(TOKEN_SHOWN)]);
        if token > TOKEN_SHOWN {
            cut.push_str(CUT);
        }
        rest = &rest[at + token..];
    }
    cut + rest
}

/// The text in [`in_common_form`] with the same word for each number that stands alone.
pub(super) fn without_counts(text: &str) -> String {
    let is_count =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let lines = text.lines().map(|line| {
        line.split(' ')
            .map(|word| if is_count(word) || word == "F" { "N" } else { word })
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The length of a number before ` ms` or ` s`, which is no part of another word.
fn duration(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '.') {
        return None;
    }
    let length = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|length| *length > 0)?;
    let unit = text[length..].strip_prefix(' ')?;
    let unit = unit.split(|c: char| !c.is_alphanumeric()).next()?;
    matches!(unit, "ms" | "s").then_some(length)
}

/// The length of a number in groups of three digits, as `1 000`. Fuel is written so, and differs from build to build: the
/// interpreter's hashes begin with something that is random when it is compiled.
fn thousands(text: &str, before: &str) -> Option<usize> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let first = digits(text);
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '.') || !(1..=3).contains(&first) {
        return None;
    }
    let mut length = first;
    while let Some(group) = text[length..].strip_prefix(' ')
        && digits(group) == 3
    {
        length += 4;
    }
    (length > first).then_some(length)
}

/// The length of the pattern if the text begins with it.
fn matching(text: &str, pattern: &str) -> Option<usize> {
    let begins = text.as_bytes().get(..pattern.len())?;
    let fits = |(byte, wanted): (&u8, u8)| match wanted {
        b'x' => byte.is_ascii_hexdigit(),
        b'd' => byte.is_ascii_digit(),
        other => *byte == other,
    };
    begins.iter().zip(pattern.bytes()).all(fits).then_some(pattern.len())
}

#[test]
fn what_differs_between_runs_has_the_same_form() {
    let check = |one: &str, other: &str| assert_eq!(in_common_form(one), in_common_form(other));
    check("at 2026-01-31 12:00:00.123  x", "at 2025-12-01 02:03:04.567 x");
    check("01a21255-52ec-7012-bd86-7f612865a8ed ok", "01931e2c-0000-7000-8000-000000000001 ok");
    check("fuel 1 000  12.30 ms", "fuel 1 000   0.01 ms");
    check("fuel 1 000", "fuel 27 000 001");
    assert_ne!(in_common_form("2  500  1 000"), in_common_form("2  200  1 000"));
    assert_ne!(in_common_form("version 1"), in_common_form("version 2"));
    let shown = without_tokens("made  picloud_h3Jk9wAbCdEf-_0 for\npicloud_h3Jk9w and picloud_");
    assert_eq!(shown, "made  picloud_h3Jk9w... for\npicloud_h3Jk9w and picloud_");
    check("made picloud_h3Jk9w...\n", "made picloud_000000...\n");
    let counts = |text: &str| without_counts(&in_common_form(text));
    assert_eq!(counts("2  canary  25  25"), counts("2  canary  7  1 000"));
    assert_ne!(counts("v1 2"), counts("v2 2"));
    assert_eq!(in_common_form("1 000 fuel in 3.1 ms, ü 5 s"), "F fuel in N ms, ü N s");
}

#[test]
fn a_page_survives_being_read() {
    let text = "# A\n\n```sh\nls\n```\nb\n```text\n```\n";
    assert_eq!(page(&parse(text)), text);
    assert_eq!(ids("a 01a21255-52ec-7012-bd86-7f612865a8ed b").len(), 1);
}
