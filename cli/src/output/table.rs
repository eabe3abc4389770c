//! Tables as aligned columns.

use super::text::clean;
use super::{Paint, Terminal};
use crate::exit::CliError;

/// The widest that a column is made for the sake of alignment; a longer cell pushes the rest of its row.
const MAX_WIDTH: usize = 60;

/// Rows under a head.
#[derive(Debug)]
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. The columns whose title starts with `>` are numbers, and stand to the right.
    #[must_use]
    pub fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Add a row of as many cells as there are columns. Control characters in them are made visible.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| clean(cell)).collect());
    }

    /// Print it, or say that there is nothing to show.
    ///
    /// # Errors
    ///
    /// It cannot be printed.
    pub fn print(&self, nothing: &str, terminal: &mut Terminal) -> Result<(), CliError> {
        if self.rows.is_empty() {
            terminal.note(&clean(nothing));
            return Ok(());
        }
        terminal.line(&self.render(terminal.out_paint()))
    }

    /// The lines of the table.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let right: Vec<bool> = self.head.iter().map(|title| title.starts_with('>')).collect();
        let head: Vec<String> =
            self.head.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&head).chain(&self.rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).filter(|width| *width <= MAX_WIDTH).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &[String]| {
            let cells = row.iter().zip(&widths).zip(&right).map(|((cell, width), right)| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines = vec![paint.bold(&line(&head))];
        lines.extend(self.rows.iter().map(|row| line(row)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", ">FUEL", "AT"]);
        table.row(vec!["é".into(), "12".into(), "now".into()]);
        table.row(vec!["hello".into(), "123456".into(), String::new()]);
        assert_eq!(table.render(Paint(false)), "NAME     FUEL  AT\né          12  now\nhello  123456");
    }

    #[test]
    fn a_hostile_cell_stays_in_its_row() {
        let mut table = Table::new(&["NAME", ">FUEL"]);
        table.row(vec!["a\nb\u{1b}[2J".into(), "1".into()]);
        table.row(vec!["x".repeat(1000), "2".into()]);
        let text = table.render(Paint(false));
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().next().unwrap().len() < 40 && !text.contains('\u{1b}'), "{text}");
    }
}
