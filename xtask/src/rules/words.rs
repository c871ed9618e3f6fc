//! Words that stand for unfinished work, or for the machine it was written on.

use std::path::Path;

use super::files::texts;

/// Each pattern in two halves, so that this file does not contain it.
const UNWANTED: [(&str, &str, &str); 9] = [
    ("TO", "DO", "finish it, or file an issue"),
    ("FIX", "ME", "fix it, or file an issue"),
    ("XX", "X", "say what is meant"),
    ("todo", "!(", "finish it"),
    ("unimple", "mented!(", "finish it"),
    ("#[ign", "ore", "a test that never runs tests nothing"),
    ("/ro", "ot/", "a path of one machine"),
    ("/wo", "rk/", "a path of one machine"),
    ("/tm", "p/", "a path of one machine"),
];

/// Names every place where one stands.
pub(super) fn check(root: &Path) -> Vec<String> {
    let texts = match texts(root) {
        Ok(texts) => texts,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    for file in &texts {
        for (index, line) in file.text.lines().enumerate() {
            for (start, end, why) in UNWANTED {
                let word = format!("{start}{end}");
                if holds(line, &word) {
                    wrong.push(format!("{}:{}: {word}: {why}", file.path, index + 1));
                }
            }
        }
    }
    wrong
}

/// Whether `word` stands in `line` and is not part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    let part = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_alphanumeric() || character == '+')
    };
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        let open_ended = word.ends_with(['(', '/']) || word.starts_with(['#', '/']);
        open_ended || !(part(before) || part(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_count() {
        assert!(holds("// AB: later", "AB"));
        assert!(!holds("base64 9ABx", "AB"));
        assert!(!holds("ABC", "AB"));
        assert!(holds("x/ro/y", "/ro/"));
        assert!(!holds("", "AB"));
    }
}
