//! Long texts in lines of the width of everything else that is printed.

use poet_runtime::report::text::WIDTH;

/// A text in lines that begin with `indent`, broken between words where they would be too long; its own lines stay apart.
pub(crate) fn wrapped(text: &str, indent: &str) -> String {
    let width = WIDTH.saturating_sub(indent.len());
    let mut lines = String::new();
    let mut end = |line: &str| {
        lines.push_str(format!("{indent}{line}").trim_end());
        lines.push('\n');
    };
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                end(&std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        end(&line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_between_words_and_its_own_lines_stay() {
        let word = "x".repeat(48);
        assert_eq!(wrapped(&format!("{word} {word} y\n\nz"), "  "), format!("  {word} {word}\n  y\n\n  z\n"));
        let long = "y".repeat(200);
        assert_eq!(wrapped(&long, ""), format!("{long}\n"), "what has no gap is not broken");
    }
}
