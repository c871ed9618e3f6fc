//! The file: a POSIX ustar archive with one spelling for each content.
//!
//! A header holds a name and a length and nothing else that could differ: mode 0644, no owner, time
//! 0. A reader prints each header again and holds it against what it read.

use std::io::{self, Read, Write};

/// Bytes of a header, and of the unit that contents are filled up to.
const BLOCK: usize = 512;

/// The longest content: eleven octal digits.
const LONGEST: u64 = (1 << 33) - 1;

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read; that says nothing about it.
    #[error("cannot read the bundle: {0}")]
    Io(#[from] io::Error),
    /// It is not the one archive of any content.
    #[error("byte {at}: {detail}")]
    Shape {
        /// Where, in bytes from the start of the file.
        at: u64,
        /// What is wrong there.
        detail: String,
    },
}

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Reads an archive front to back.
pub struct Reader<R> {
    source: R,
    at: u64,
    /// An entry whose header was read, and whose content is next.
    next: Option<Entry>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of a bundle.
    pub fn new(source: R) -> Self {
        Self { source, at: 0, next: None, ended: false }
    }

    /// The next entry, whose content is still to be read; `None` at the end of the file.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn peek(&mut self) -> Result<Option<&Entry>, ArchiveError> {
        if self.next.is_none() && !self.ended {
            let start = self.at;
            let block = self.block()?;
            if block == [0; BLOCK] {
                if self.block()? != [0; BLOCK] {
                    return Err(shape(start, "one block of zeros stands alone"));
                }
                let end = self.at;
                if self.source.read(&mut [0; 1])? != 0 {
                    return Err(shape(end, "something follows the end of the archive"));
                }
                self.ended = true;
            } else {
                let entry = parse(&block)
                    .ok_or_else(|| shape(start, "not the one header of a name and a length"))?;
                self.next = Some(entry);
            }
        }
        Ok(self.next.as_ref())
    }

    /// Where the reader stands, in bytes from the start of the file.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// The whole content of the entry that [`Reader::peek`] gave, if it is no longer than `limit`.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn content(&mut self, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let size = self.next.as_ref().map_or(0, |entry| entry.size);
        if size > limit {
            return Err(shape(self.at, &format!("{size} bytes, where {limit} are the most")));
        }
        let mut bytes = Vec::new();
        self.stream(|piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// Hands the content of the entry that [`Reader::peek`] gave to `take`, piece by piece.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn stream(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), ArchiveError> {
        let Some(entry) = self.next.take() else { return Ok(()) };
        let mut rest = entry.size;
        let mut buffer = vec![0; 64 * 1024];
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            self.fill(piece)?;
            take(piece);
            rest -= u64::try_from(wanted).unwrap_or(rest);
        }
        let start = self.at;
        let mut padding = vec![0; padding(entry.size)];
        self.fill(&mut padding)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(shape(start, "the filling behind a content is not zero"));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(block)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        match self.source.read_exact(into) {
            Ok(()) => {
                self.at += u64::try_from(into.len()).unwrap_or_default();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(shape(self.at, "the file ends inside the archive"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes an archive.
pub struct Writer<W> {
    sink: W,
    /// What is left of the content under way, and the filling behind it.
    rest: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// Writes from the start of a file.
    pub fn new(sink: W) -> Self {
        Self { sink, rest: 0, padding: 0 }
    }

    /// Writes a whole entry.
    ///
    /// # Errors
    /// Those of the sink; a name or a length that no header can hold.
    pub fn entry(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        self.write(bytes)
    }

    /// Begins an entry of `size` bytes, which [`Writer::write`] brings.
    ///
    /// # Errors
    /// Those of the sink; a name or a length that no header can hold.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        if self.rest > 0 {
            return Err(io::Error::other("the entry before is not complete"));
        }
        let header = header(name, size);
        let header = header.ok_or_else(|| {
            io::Error::other(format!("{name} with {size} bytes does not fit an archive"))
        })?;
        self.sink.write_all(&header)?;
        (self.rest, self.padding) = (size, padding(size));
        Ok(())
    }

    /// Writes more of the entry's content.
    ///
    /// # Errors
    /// Those of the sink; more bytes than were announced.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let rest = self.rest.checked_sub(length);
        self.rest = rest.ok_or_else(|| io::Error::other("more bytes than were announced"))?;
        self.sink.write_all(bytes)?;
        if self.rest == 0 {
            let padding = std::mem::take(&mut self.padding);
            self.sink.write_all([0; BLOCK].get(..padding).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Ends the archive and gives the sink back.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&[0; 2 * BLOCK])?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

fn shape(at: u64, detail: &str) -> ArchiveError {
    ArchiveError::Shape { at, detail: detail.to_owned() }
}

/// Zeros behind a content of this length.
fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default()
}

/// The one header of a name and a length.
fn header(name: &str, size: u64) -> Option<[u8; BLOCK]> {
    if name.is_empty() || name.len() > 99 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    if size > LONGEST {
        return None;
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        for (to, from) in block.iter_mut().skip(at).zip(text) {
            *to = *from;
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (to, from) in block.iter_mut().skip(148).zip(sum.bytes()) {
        *to = from;
    }
    Some(block)
}

/// The name and length of a header that is spelled as [`header`] would.
fn parse(block: &[u8; BLOCK]) -> Option<Entry> {
    let name = block.get(..100)?.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?;
    let size = std::str::from_utf8(block.get(124..135)?).ok()?;
    let size = u64::from_str_radix(size, 8).ok()?;
    (header(name, size)? == *block).then(|| Entry { name: name.to_owned(), size })
}
