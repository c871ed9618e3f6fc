//! Tails torn in every way, files damaged, removed and mixed up: each found and named.

use super::format::{BLOCK, BatchHeader, FileHeader, RECORD_HEADER};
use super::memory::Memory;
use super::open::file_name;
use super::*;

fn options() -> Options {
    Options { file_size: 64 * 1024, ..Options::new(Timeline::start(0)) }
}

fn open(disk: &Memory, boot: u8) -> Result<Opened, JournalError> {
    Journal::open_on(Arc::new(disk.clone()), [boot; 16], options())
}

/// Closes, and says how many records there had been.
fn close(opened: Opened) -> usize {
    let reader = std::thread::spawn(move || opened.batches.iter().count());
    opened.journal.close().unwrap();
    reader.join().unwrap();
    count(opened.recovered)
}

/// One batch for each length, each synced by itself.
fn write(opened: &Opened, lengths: &[usize]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (index, length) in lengths.iter().enumerate() {
        let byte = u8::try_from(index + 1).unwrap();
        let (_, position) = opened.journal.begin(1, &[&vec![byte; *length]]).unwrap();
        runtime.block_on(opened.journal.durable(position)).unwrap();
    }
}

fn count(mut recovered: Recovered) -> usize {
    let mut count = 0;
    while let Some(batch) = recovered.reader.next().unwrap() {
        count += batch.records().count();
    }
    count
}

/// A copy, so that each case starts from the same bytes.
fn copy(disk: &Memory) -> Memory {
    disk.lose_power()
}

#[test]
fn each_damaged_byte_is_found_or_is_a_torn_tail_or_means_nothing() {
    let lengths = [100, 5_000, 40, 9_000, 700];
    let source = Memory::new(1);
    let opened = open(&source, 1).unwrap();
    write(&opened, &lengths);
    close(opened);
    let name = file_name(1);
    let mut starts = Vec::new();
    let mut at = BLOCK;
    for length in lengths {
        let used = 64 + RECORD_HEADER + length;
        starts.push((at, used));
        at += used.next_multiple_of(BLOCK);
    }
    let disk = copy(&source);
    for offset in (0..at).filter(|offset| offset % BLOCK < 160 || offset % 61 == 0) {
        disk.edit(&name, |bytes| bytes[offset] ^= 0x10);
        let found = open(&disk, 2);
        let batch = starts.iter().position(|(at, used)| (*at..at + used).contains(&offset));
        match (batch, found) {
            (None, Err(JournalError::UnreadableHeader { path })) => {
                assert!(offset < BLOCK);
                assert!(path.ends_with(&name));
            }
            (None, Ok(opened)) => {
                assert!(offset > 100, "a header byte that means nothing: {offset}");
                assert_eq!(close(opened), lengths.len());
            }
            (Some(4), Ok(opened)) => {
                let torn = opened.recovered.torn.clone();
                assert_eq!(torn.len(), 1);
                assert_eq!(torn[0].offset, starts[4].0 as u64);
                let in_length = (40..44).contains(&(offset - starts[4].0));
                assert!(torn[0].bytes == 4096 || in_length, "{torn:?}");
                assert!(torn[0].path.ends_with(&name));
                assert_eq!(close(opened), 4);
            }
            (Some(index), Err(JournalError::Corrupt { path, offset: at, batch })) => {
                assert!(path.ends_with(&name));
                assert_eq!((at, batch), (starts[index].0 as u64, index as u64 + 1));
            }
            (batch, Ok(_)) => panic!("byte {offset} in {batch:?} was passed over"),
            (batch, Err(error)) => panic!("byte {offset} in {batch:?}: {error}"),
        }
        disk.edit(&name, |bytes| bytes[offset] ^= 0x10);
        for left in ["00000000000000000002.journal", "spare-1", "spare-2"] {
            disk.forget(left);
        }
    }
}

#[test]
fn a_tail_torn_at_any_blocks_is_named_and_remembered() {
    // The last batch takes four blocks; any of them may be missing.
    let lengths = [100, 3 * BLOCK];
    for lost in 1_u32..16 {
        let disk = Memory::new(u64::from(lost));
        let opened = open(&disk, 1).unwrap();
        write(&opened, &lengths);
        close(opened);
        disk.edit(&file_name(1), |bytes| {
            for block in (0..4).filter(|block| lost & (1 << block) != 0) {
                let from = BLOCK * (2 + block);
                bytes[from..from + BLOCK].fill(0);
            }
        });
        let opened = open(&disk, 2).unwrap();
        let torn = opened.recovered.torn.clone();
        // With all four gone nothing tells that there ever was a batch.
        assert_eq!(torn.is_empty(), lost == 15);
        if let Some(torn) = torn.first() {
            assert_eq!(torn.offset, 2 * BLOCK as u64);
            assert!((1..=4 * BLOCK as u64).contains(&torn.bytes), "{torn:?}");
        }
        assert_eq!(opened.recovered.boots, [[1; 16]]);
        write(&opened, &[50]);
        close(opened);
        // The next boot is told the same, and reads what the second one wrote.
        let opened = open(&disk, 3).unwrap();
        assert_eq!(opened.recovered.torn, torn);
        assert_eq!(count(opened.recovered), 2);
    }
}

#[test]
fn files_missing_shortened_or_mixed_up_are_named() {
    let source = Memory::new(1);
    for boot in 1..4 {
        let opened = open(&source, boot).unwrap();
        write(&opened, &[100, 200]);
        close(opened);
    }
    let disk = copy(&source);
    disk.forget(&file_name(2));
    assert!(matches!(open(&disk, 9), Err(JournalError::MissingFile { path })
        if path.ends_with(file_name(2))));

    let disk = copy(&source);
    disk.edit(&file_name(2), |bytes| bytes.truncate(2 * BLOCK));
    assert!(matches!(open(&disk, 9), Err(JournalError::Corrupt { path, offset: 8192, .. })
        if path.ends_with(file_name(2))));

    // A batch of an earlier file is gone: the later file says that it was there.
    let disk = copy(&source);
    disk.edit(&file_name(2), |bytes| bytes[2 * BLOCK..3 * BLOCK].fill(0));
    assert!(matches!(open(&disk, 9), Err(JournalError::Corrupt { path, offset: 8192, .. })
        if path.ends_with(file_name(2))));

    let disk = copy(&source);
    disk.edit(&file_name(3), |bytes| {
        let mut header = FileHeader::decode(bytes).unwrap();
        header.boot = [1; 16];
        bytes[..BLOCK].copy_from_slice(&header.encode());
    });
    assert!(matches!(open(&disk, 9), Err(JournalError::BootOrder { path })
        if path.ends_with(file_name(3))));

    // A whole file in the place of another.
    let disk = copy(&source);
    let mut other = Vec::new();
    disk.edit(&file_name(3), |bytes| other.clone_from(bytes));
    disk.edit(&file_name(2), |bytes| bytes.clone_from(&other));
    assert!(matches!(open(&disk, 9), Err(JournalError::UnreadableHeader { path })
        if path.ends_with(file_name(2))));

    // A batch that checks by itself, but does not follow from the one before.
    let disk = copy(&source);
    disk.edit(&file_name(2), |bytes| {
        let salt = FileHeader::decode(bytes).unwrap().salt;
        let mut batch = BatchHeader::decode(&bytes[BLOCK..]).unwrap();
        batch.previous_crc ^= 1;
        let end = BLOCK + 64 + usize::try_from(batch.length).unwrap();
        let (header, _) = batch.seal(&salt, &bytes[BLOCK + 64..end]);
        bytes[BLOCK..BLOCK + 64].copy_from_slice(&header);
    });
    assert!(matches!(open(&disk, 9), Err(JournalError::Corrupt { offset: 4096, .. })));

    let disk = copy(&source);
    assert!(matches!(open(&disk, 2), Err(JournalError::BootOrder { .. })), "a boot twice");

    let disk = copy(&source);
    disk.edit("reserve", |bytes| bytes.fill(0xff));
    assert!(matches!(open(&disk, 9), Err(JournalError::Reserve { .. })));

    // The oldest file may go: that is what taking files back does.
    let disk = copy(&source);
    disk.forget(&file_name(1));
    assert_eq!(count(open(&disk, 9).unwrap().recovered), 4);
}

#[test]
fn what_passes_through_cannot_pose_as_a_batch() {
    let disk = Memory::new(1);
    let opened = open(&disk, 1).unwrap();
    // All of the header can be known or guessed, but for the salt.
    let forged = BatchHeader {
        crc: 0,
        previous_crc: 0,
        file: 1,
        sequence: 2,
        settled: 1,
        length: 0,
        records: 0,
        boot: [1; 16],
    };
    let (bytes, _) = forged.seal(&[0; 16], &[]);
    let mut payload = vec![0; BLOCK - 64 - RECORD_HEADER];
    payload.extend_from_slice(&bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_, position) = opened.journal.begin(1, &[&payload]).unwrap();
    runtime.block_on(opened.journal.durable(position)).unwrap();
    close(opened);
    // The batch that carries it is torn: with the forgery taken for true, this would be damage.
    disk.edit(&file_name(1), |bytes| {
        assert!(BatchHeader::decode(&bytes[2 * BLOCK..]).is_some());
        bytes[BLOCK..2 * BLOCK].fill(0);
    });
    let opened = open(&disk, 2).unwrap();
    assert_eq!(opened.recovered.torn.len(), 1);
    assert_eq!(count(opened.recovered), 0);
}
