//! Errors for people: with an excerpt of the source and the place marked.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::decode::is_secret;
use crate::error::Error;
use crate::source::Source;

/// Each of `errors` with the line that it is about, from `sources`, and a mark under what is meant; with colours
/// when `styled`.
///
/// A password on that line is shown as asterisks.
pub fn render(errors: &[Error], sources: &[Source], styled: bool) -> String {
    let renderer = if styled {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for error in errors {
        let source = sources.iter().find(|source| source.name == error.source);
        let line = error.line.and_then(|number| {
            let index = usize::try_from(number).ok()?.checked_sub(1)?;
            Some((number, source?.text.lines().nth(index)?))
        });
        match line {
            Some((number, line)) => text.push_str(&excerpt(&renderer, error, number, line)),
            None => text.push_str(&format!("error: {error}")),
        }
        text.push_str("\n\n");
    }
    text
}

fn excerpt(renderer: &Renderer, error: &Error, number: u32, line: &str) -> String {
    let line = masked(line);
    let start = error.column.map_or(0, |column| column.saturating_sub(1));
    let (start, end) = (
        byte(&line, start),
        byte(&line, start.saturating_add(error.width)),
    );
    let title = [&error.object, &error.field, &error.message];
    let title: Vec<&str> = title
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let report = [Level::ERROR.primary_title(title.join(": ")).element(
        Snippet::source(&line)
            .line_start(usize::try_from(number).unwrap_or(1))
            .path(&error.source)
            .annotation(AnnotationKind::Primary.span(start..end)),
    )];
    renderer.render(&report)
}

/// Where the character `index` of `line` begins, in bytes; its end for one that is not there.
fn byte(line: &str, index: u32) -> usize {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    line.char_indices()
        .nth(index)
        .map_or(line.len(), |(byte, _)| byte)
}

/// The line, with everything that follows a key `password` as asterisks. Columns stay what they are.
fn masked(line: &str) -> String {
    let mut words = line.char_indices().peekable();
    let mut start = 0;
    while let Some((index, c)) = words.next() {
        let boundary = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
        if boundary(c) {
            start = index + c.len_utf8();
        }
        let at_end = words.peek().is_none_or(|(_, next)| boundary(*next));
        let end = index + c.len_utf8();
        if at_end && line.get(start..end).is_some_and(is_secret) {
            let (shown, hidden) = line.split_at_checked(end).unwrap_or((line, ""));
            // Quotes and the colon stay.
            let value = hidden.trim_start_matches(['"', '\'', ' ', ':']);
            let mark = hidden.len() - value.len();
            let between = hidden.get(..mark).unwrap_or_default();
            let stars = "*".repeat(value.chars().count());
            return format!("{shown}{between}{stars}");
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, line: u32, column: u32, width: u32) -> String {
        let source = Source {
            name: "a.yaml".to_owned(),
            text: text.to_owned(),
        };
        let error = Error {
            line: Some(line),
            column: Some(column),
            object: "IPAddressPool/first".to_owned(),
            field: "spec.addresses[0]".to_owned(),
            width,
            ..Error::of_source("a.yaml", "\"x\" is no prefix")
        };
        render(&[error], &[source], false)
    }

    #[test]
    fn the_place_is_marked() {
        insta::assert_snapshot!(report("spec:\n  addresses: [x/24, y]\n", 2, 15, 4), @r#"
        error: IPAddressPool/first: spec.addresses[0]: "x" is no prefix
         --> a.yaml:2:15
          |
        2 |   addresses: [x/24, y]
          |               ^^^^
        "#);
    }

    #[test]
    fn a_place_after_letters_of_several_bytes_is_marked_where_it_is() {
        let shown = report("é: [ü, x/24]\n", 1, 8, 4);
        assert!(shown.contains("a.yaml:1:8"), "{shown}");
        assert!(shown.contains("       ^^^^"), "{shown}");
    }

    #[test]
    fn a_place_outside_of_the_text_does_no_harm() {
        report("a\n", 1, 500, 500);
        report("", 7, 1, 1);
        report("a\n", 0, 0, 0);
    }

    #[test]
    fn a_password_is_never_shown() {
        for line in [
            "  password: hunter2",
            "{\"password\": \"hunter2\", \"x\": 1}",
            "- password: 'hunter2'",
            "Password:hunter2",
        ] {
            let shown = report(line, 1, 1, 1);
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("*******"), "{shown}");
        }
        assert!(report("passwordSecret: {name: s}", 1, 1, 1).contains("name: s"));
    }
}
