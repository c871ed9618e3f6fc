//! One section of the file: values taken by key, every fault noted with its place.
//!
//! Reading goes on after a fault, so that one run names all of them. A value that is missing or at
//! fault reads as `None`; the caller keeps its default, which is never used once a fault is noted.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Problem, ProblemKind};
use super::keys::{Keys, nearest};

/// Faults noted so far, each at a byte offset of the text.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t str,
    noted: RefCell<Vec<(usize, ProblemKind)>>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, noted: RefCell::default() }
    }

    pub(super) fn note(&self, at: &Range<usize>, kind: ProblemKind) {
        self.noted.borrow_mut().push((at.start, kind));
    }

    /// The problems in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut noted = self.noted.into_inner();
        noted.sort_by_key(|(offset, _)| *offset);
        let place = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, column)
        };
        noted
            .into_iter()
            .map(|(offset, kind)| {
                let (line, column) = place(offset);
                Problem { line, column, kind }
            })
            .collect()
    }
}

/// A string of the file, with its place and the key it stands under.
#[derive(Clone, Debug)]
pub(super) struct Text<'d> {
    pub(super) key: String,
    pub(super) text: &'d str,
    pub(super) at: Range<usize>,
}

/// One table of the file under its name.
#[derive(Debug)]
pub(super) struct Section<'d> {
    table: &'d DeTable<'d>,
    name: String,
    at: Range<usize>,
    faults: &'d Faults<'d>,
}

impl<'d> Section<'d> {
    /// Opens `table`, and notes every key in it that `keys` does not list.
    pub(super) fn open(
        table: &'d DeTable<'d>,
        name: String,
        at: Range<usize>,
        keys: &Keys,
        faults: &'d Faults<'d>,
    ) -> Self {
        let section = Self { table, name, at, faults };
        for key in section.table.keys() {
            let written: &str = key.get_ref();
            if !keys.keys.contains(&written) {
                let kind = ProblemKind::UnknownKey {
                    key: section.dotted(written),
                    nearest: nearest(keys, written),
                };
                faults.note(&key.span(), kind);
            }
        }
        section
    }

    /// `key` with the section's name in front.
    pub(super) fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The sub-section `key`, opened against `keys`.
    pub(super) fn section(&self, key: &str, keys: &Keys) -> Option<Section<'d>> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table");
            return None;
        };
        Some(Section::open(table, self.dotted(key), value.span(), keys, self.faults))
    }

    /// The tables of the sub-section `key` by the name they were given there.
    pub(super) fn sections(&self, key: &str, keys: &Keys) -> Vec<(Text<'d>, Section<'d>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a table of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, value) in table {
            let written: &str = name.get_ref();
            let dotted = format!("{}.{written}", self.dotted(key));
            let Some(inner) = value.get_ref().as_table() else {
                let found = value.get_ref().type_str();
                let expected = "a table such as { url = \"https://...\" }";
                let kind = ProblemKind::WrongType { key: dotted, expected, found };
                self.faults.note(&value.span(), kind);
                continue;
            };
            let text = Text { key: dotted.clone(), text: written, at: name.span() };
            sections.push((text, Section::open(inner, dotted, name.span(), keys, self.faults)));
        }
        sections
    }

    /// The string under `key`.
    pub(super) fn text(&self, key: &str, expected: &'static str) -> Option<Text<'d>> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        Some(Text { key: self.dotted(key), text, at: value.span() })
    }

    /// The string under `key`, turned into a `T`; `expected` names what it takes.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key, expected)?;
        self.parse(&text, parse)
    }

    /// `text` turned into a `T`; a refusal is noted at its place.
    pub(super) fn parse<T>(
        &self,
        text: &Text<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(text.text) {
            Ok(value) => Some(value),
            Err(why) => {
                let (key, value) = (text.key.clone(), text.text.to_owned());
                self.faults.note(&text.at, ProblemKind::Invalid { key, value, why });
                None
            }
        }
    }

    /// The strings of the array under `key`.
    pub(super) fn texts(&self, key: &str, expected: &'static str) -> Option<Vec<Text<'d>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        let mut texts = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Text { key: self.dotted(key), text, at: item.span() }),
                None => self.wrong_type(key, item, expected),
            }
        }
        Some(texts)
    }

    /// `true` or `false` under `key`.
    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        found
    }

    /// A whole number of `range` under `key`.
    pub(super) fn number(&self, key: &str, range: &RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let Some(written) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let number = u32::from_str_radix(written.as_str(), written.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let kind = ProblemKind::Invalid {
                key: self.dotted(key),
                value: written.as_str().to_owned(),
                why: format!("wants a number from {} to {}", range.start(), range.end()),
            };
            self.faults.note(&value.span(), kind);
        }
        number
    }

    /// Notes that `key` must be in this section, if it is not there under any type.
    pub(super) fn demand(&self, key: &str, why: &'static str) {
        if self.value(key).is_some() {
            return;
        }
        self.faults.note(&self.at, ProblemKind::Missing { key: self.dotted(key), why });
    }

    fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.table.get(key)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &'static str) {
        let found = value.get_ref().type_str();
        self.faults
            .note(&value.span(), ProblemKind::WrongType { key: self.dotted(key), expected, found });
    }
}
