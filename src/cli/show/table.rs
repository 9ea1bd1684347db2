//! A table for people and for pipes: header lines begin with `#`.

/// Columns of a terminal that tables of many columns keep to.
const WIDTH: usize = 100;

/// Rows of cells; the first columns are set to the left, the others to the right.
pub struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `left` columns are words.
    pub fn new(left: usize, header: &[&str]) -> Self {
        Self {
            left,
            rows: vec![header.iter().map(|title| title.to_string()).collect()],
        }
    }

    /// Adds a row, with a cell for every column of the header.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table in one.
    pub fn print(&self) -> String {
        self.print_columns(&(0..self.rows[0].len()).collect::<Vec<_>>())
    }

    /// Several tables one below the other where one is too wide; each begins with the columns that
    /// are set to the left.
    pub fn print_narrow(&self) -> String {
        let words = 0..self.left;
        let own: usize = words.clone().map(|column| self.width(column) + 2).sum();
        let (mut text, mut chosen) = (String::new(), words.clone().collect::<Vec<_>>());
        let mut wide = own;
        for column in self.left..self.rows[0].len() {
            let more = self.width(column) + 2;
            if chosen.len() > self.left && wide + more > WIDTH {
                text += &self.print_columns(&chosen);
                (chosen, wide) = (words.clone().collect(), own);
            }
            chosen.push(column);
            wide += more;
        }
        text + &self.print_columns(&chosen)
    }

    fn width(&self, column: usize) -> usize {
        let widths = self.rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    }

    fn print_columns(&self, columns: &[usize]) -> String {
        let line = |(index, row): (usize, &Vec<String>)| {
            let cells = columns.iter().map(|&column| {
                let (cell, width) = (&row[column], self.width(column));
                match column < self.left {
                    true => format!("{cell:<width$}"),
                    false => format!("{cell:>width$}"),
                }
            });
            let cells = cells.collect::<Vec<_>>().join("  ");
            let mark = if index == 0 { "# " } else { "  " };
            format!("{}\n", format!("{mark}{cells}").trim_end())
        };
        self.rows.iter().enumerate().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(1, &["node", "MMAC"]);
        table.row(vec!["é".into(), "1.50".into()]);
        table.row(vec!["conv_1".into(), "12.25".into()]);
        let wanted = "# node     MMAC\n  é        1.50\n  conv_1  12.25\n";
        assert_eq!(table.print(), wanted);
    }

    #[test]
    fn a_wide_table_goes_on_below() {
        let cell = "x".repeat(40);
        let mut table = Table::new(1, &["a", "b", "c", "d"]);
        table.row(vec!["1".into(), cell.clone(), cell.clone(), cell.clone()]);
        let text = table.print_narrow();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], format!("  1  {cell}  {cell}"));
        assert_eq!(lines[3], format!("  1  {cell}"));
        // A column that is too wide by itself stands alone.
        let mut table = Table::new(1, &["a", "b"]);
        table.row(vec!["1".into(), "x".repeat(200)]);
        assert_eq!(table.print_narrow().lines().count(), 2);
    }
}
