//! The bytes of a journal file: headers written and read, never a disk touched.
//!
//! Comes in: the values of a header, or a block that may hold one. Goes out: its bytes, or the
//! values when every field and the checksum agree. The layout is told at the head of the module.

/// The unit of writing, tearing and alignment, in bytes.
pub(super) const BLOCK: usize = 4096;
/// [`BLOCK`] as a file offset.
pub(super) const BLOCK_U64: u64 = 4096;
/// Bytes of a batch header.
pub(super) const BATCH_HEADER: usize = 64;
/// Bytes of a record header: length, kind, number.
pub(super) const RECORD_HEADER: usize = 13;

const FILE_MAGIC: [u8; 8] = *b"sealtapJ";
const BATCH_MAGIC: [u8; 8] = *b"sealtapB";
const VERSION: u32 = 1;
/// Bytes of a file header in front of its checksum.
const FILE_HEADER: usize = 98;
/// Where the checked part of a batch header starts: after the magic and the checksum itself.
const CHECKED_FROM: usize = 12;

/// Why a file was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The first file of a boot.
    Opened = 1,
    /// The file before was full.
    Rotated = 2,
    /// The file before failed and is abandoned from its last good batch on.
    Resumed = 3,
}

/// The first block of a journal file. Durable before the file gets its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// The file's own sequence: strictly increasing, never given twice.
    pub(super) sequence: u64,
    pub(super) boot: [u8; 16],
    /// Random, and part of every batch's checksum: what passes through the gateway cannot be
    /// shaped into a batch of this file, nor can what the file held in an earlier life.
    pub(super) salt: [u8; 16],
    /// Sequence of the first batch here. The file before ends with the batch before this one.
    pub(super) first_batch: u64,
    /// Checksum of the batch before the first.
    pub(super) previous_crc: u32,
    pub(super) origin: Origin,
    /// Whether the file was all zeros when it was begun; otherwise it holds an earlier life.
    pub(super) cleared: bool,
    /// Size of the file in bytes.
    pub(super) length: u64,
    /// Where the good part of the file before ends.
    pub(super) previous_end: u64,
    /// Bytes behind that end which were torn by a crash or not trusted after a failure.
    pub(super) abandoned: u64,
}

impl FileHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(&FILE_MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&self.sequence.to_le_bytes());
        block.extend_from_slice(&self.boot);
        block.extend_from_slice(&self.salt);
        block.extend_from_slice(&self.first_batch.to_le_bytes());
        block.extend_from_slice(&self.previous_crc.to_le_bytes());
        block.push(match self.origin {
            Origin::Opened => 1,
            Origin::Rotated => 2,
            Origin::Resumed => 3,
        });
        block.push(u8::from(self.cleared));
        block.extend_from_slice(&self.length.to_le_bytes());
        block.extend_from_slice(&self.previous_end.to_le_bytes());
        block.extend_from_slice(&self.abandoned.to_le_bytes());
        block.extend_from_slice(&[0; 8]);
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.resize(BLOCK, 0);
        block
    }

    /// The header in `block`, or `None` when it is not one.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let crc = crc32fast::hash(block.get(..FILE_HEADER)?);
        let mut fields = Fields(block);
        if fields.take::<8>()? != FILE_MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let header = Self {
            sequence: fields.u64()?,
            boot: fields.take()?,
            salt: fields.take()?,
            first_batch: fields.u64()?,
            previous_crc: fields.u32()?,
            origin: match fields.u8()? {
                1 => Origin::Opened,
                2 => Origin::Rotated,
                3 => Origin::Resumed,
                _ => return None,
            },
            cleared: fields.u8()? == 1,
            length: fields.u64()?,
            previous_end: fields.u64()?,
            abandoned: fields.u64()?,
        };
        let _zeros: [u8; 8] = fields.take()?;
        (fields.u32()? == crc).then_some(header)
    }
}

/// The first bytes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) crc: u32,
    pub(super) previous_crc: u32,
    /// Sequence of the file it was written for.
    pub(super) file: u64,
    pub(super) sequence: u64,
    /// The last batch that was known to be on disk when this one was written: all up to that one
    /// must be readable wherever this one is.
    pub(super) settled: u64,
    /// Bytes of records after the header, padding not counted.
    pub(super) length: u32,
    pub(super) records: u32,
    pub(super) boot: [u8; 16],
}

impl BatchHeader {
    /// The header's bytes with `crc` computed over salt, header and `payload`; the `crc` given in
    /// `self` does not matter. Returns the bytes and the checksum.
    pub(super) fn seal(&self, salt: &[u8; 16], payload: &[u8]) -> ([u8; BATCH_HEADER], u32) {
        let mut bytes = self.bytes(0);
        let crc = checksum(salt, &bytes, payload);
        if let Some(field) = bytes.get_mut(8..CHECKED_FROM) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
        (bytes, crc)
    }

    /// Whether `payload` under this header is what was written into the file salted `salt`.
    pub(super) fn matches(&self, salt: &[u8; 16], payload: &[u8]) -> bool {
        checksum(salt, &self.bytes(self.crc), payload) == self.crc
    }

    /// The header at the start of `bytes`, not yet checked against its payload.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take::<8>()? != BATCH_MAGIC {
            return None;
        }
        Some(Self {
            crc: fields.u32()?,
            previous_crc: fields.u32()?,
            file: fields.u64()?,
            sequence: fields.u64()?,
            settled: fields.u64()?,
            length: fields.u32()?,
            records: fields.u32()?,
            boot: fields.take()?,
        })
    }

    /// Bytes the batch takes in its file: header, records, padding.
    pub(super) fn padded(&self) -> u64 {
        padded(u64::from(self.length).saturating_add(64))
    }

    fn bytes(&self, crc: u32) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        let fields: [&[u8]; 9] = [
            &BATCH_MAGIC,
            &crc.to_le_bytes(),
            &self.previous_crc.to_le_bytes(),
            &self.file.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.settled.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.records.to_le_bytes(),
            &self.boot,
        ];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(field.len())
            {
                head.copy_from_slice(field);
                rest = tail;
            }
        }
        bytes
    }
}

/// `length` rounded up to whole blocks.
pub(super) fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK_U64).saturating_mul(BLOCK_U64)
}

fn checksum(salt: &[u8; 16], header: &[u8; BATCH_HEADER], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(header.get(CHECKED_FROM..).unwrap_or_default());
    hasher.update(payload);
    hasher.finalize()
}

/// Little-endian fields, taken one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
