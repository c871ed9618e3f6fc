//! The database file: made, opened, its format and version checked.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::FromSql;
use rusqlite::{Connection, FileControl, OpenFlags, OptionalExtension as _, params};

use super::error::{Fault, Outcome, StoreError};
use super::place::{signed, unsigned};

/// `application_id` in the file's header: "stap".
const APPLICATION: i64 = 0x7374_6170;
/// `user_version` in the file's header: the format of the tables below.
const VERSION: i64 = 2;
/// Large enough for a 64 KiB segment in five pages, small enough for rows of a few bytes.
const PAGE_BYTES: i64 = 16 * 1024;
/// The log is folded into the database once it holds this many pages (16 MiB).
const CHECKPOINT_PAGES: i64 = 1024;
/// What the log may keep on disk after it was folded in, in bytes.
pub(super) const LOG_KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// With less than this left on the disk the log is folded after each batch, in bytes.
const SHORT_BYTES: u64 = 256 * 1024 * 1024;
/// The longest value of a row, in bytes: the recipe of a body of some ten million segments. What is
/// longer is not stored and stays in the journal.
const LONGEST_VALUE: i32 = 256 * 1024 * 1024;
/// How long to wait for a lock; writers hold theirs only while one batch commits.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long whoever reads may keep the log from being folded in: what waits there is compaction and retention.
pub(super) const READERS_PATIENCE: Duration = Duration::from_millis(100);

const TABLES: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE run(key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT) STRICT;
CREATE INDEX run_name ON run(name) WHERE name IS NOT NULL;
CREATE TABLE exchange(
  leaf INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, boot BLOB NOT NULL, number INTEGER NOT NULL,
  run INTEGER NOT NULL REFERENCES run(key), record BLOB NOT NULL, ttfb INTEGER,
  duration INTEGER NOT NULL, UNIQUE(boot, number)) STRICT;
CREATE INDEX exchange_run ON exchange(run);
CREATE TABLE unit(place INTEGER PRIMARY KEY, key BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE body(
  place INTEGER PRIMARY KEY, key BLOB NOT NULL, dialect TEXT NOT NULL, length INTEGER NOT NULL,
  segments INTEGER NOT NULL, sha256 BLOB NOT NULL, parent INTEGER REFERENCES body(place),
  shared INTEGER NOT NULL, depth INTEGER NOT NULL, recipe BLOB NOT NULL) STRICT;
CREATE INDEX body_parent ON body(parent) WHERE parent IS NOT NULL;
CREATE TABLE segment(
  tag BLOB PRIMARY KEY, content INTEGER NOT NULL, lists INTEGER NOT NULL, opens INTEGER)
  STRICT, WITHOUT ROWID;
CREATE TABLE content(key INTEGER PRIMARY KEY, form INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
";
/// Which leaves of the log state that what they name is destroyed, and under which limits: what
/// version 2 adds.
const RETENTION: &str = "
CREATE TABLE retention(
  leaf INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, sealed INTEGER NOT NULL,
  age INTEGER, bytes INTEGER, PRIMARY KEY(leaf, first)) STRICT, WITHOUT ROWID;
";

/// Made by the first pruning: contents are found by row there, and by tag everywhere else.
pub(super) const SEGMENT_CONTENT: &str =
    "CREATE INDEX IF NOT EXISTS segment_content ON segment(content)";

/// Made wherever it is missing: a store from before it is read and written all the same.
const RECORDS: &str = "
CREATE TABLE IF NOT EXISTS record(
  run INTEGER PRIMARY KEY REFERENCES run(key), closed INTEGER NOT NULL, leaf BLOB NOT NULL,
  record INTEGER NOT NULL, key TEXT NOT NULL, signature BLOB NOT NULL) STRICT;
";

/// The tables of what leaves bind that are none of exchanges; each has a column `leaf`.
pub(super) const ASIDE_TABLES: [&str; 3] = ["aside", "aside_time", "carried"];
/// Made likewise.
const ASIDES: &str = "
CREATE TABLE IF NOT EXISTS aside(
  leaf INTEGER PRIMARY KEY, key BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS carried(
  boot BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, leaf INTEGER NOT NULL,
  PRIMARY KEY(boot, first)) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS carried_leaf ON carried(leaf);
CREATE TABLE IF NOT EXISTS aside_time(leaf INTEGER PRIMARY KEY, sealed INTEGER NOT NULL) STRICT;
";

/// The database's file in the store's directory.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("exchanges.db")
}

/// Opens the database for the one writer, making it if it is not there.
pub(super) fn open_writer(directory: &Path) -> Result<Connection, StoreError> {
    let at = |source| StoreError::Directory { path: directory.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at)?;
    let path = file(directory);
    if let Err(error) = fs::symlink_metadata(&path) {
        match error.kind() {
            io::ErrorKind::NotFound => make(directory, &path)?,
            _ => return Err(at(error)),
        }
    }
    plain_files(&path)?;
    prepare_writer(&path).map_err(|fault| fault.at(&path))
}

/// Makes the database under another name, and gives it its own once all of it is on disk: so it is
/// synced once, not with each step, and a crash leaves none of it or all.
fn make(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let at = |source| StoreError::Directory { path: directory.to_path_buf(), source };
    let half = path.with_extension("db.new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = half.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
    }
    // Made here so that it is private from its first byte; its log takes over the same mode.
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half);
    let made = made.map_err(at)?;
    let laid_out = || -> Outcome<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&half, flags)?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        lay_out(&mut connection)?;
        Ok(connection.close().map_err(|(_, error)| error)?)
    };
    laid_out().map_err(|fault| fault.at(&half))?;
    made.sync_all().map_err(at)?;
    fs::rename(&half, path).map_err(at)?;
    fs::File::open(directory).and_then(|handle| handle.sync_all()).map_err(at)
}

/// Makes the tables of an empty database.
fn lay_out(connection: &mut Connection) -> Outcome<()> {
    // Pages that retention frees can go back to the file system.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(RETENTION)?;
    transaction.execute_batch(RECORDS)?;
    transaction.execute_batch(ASIDES)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn prepare_writer(path: &Path) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    guard(&connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let version = version(&connection, path)?;
    if version.is_some() {
        check_tables(&connection)?;
    }
    match version {
        Some(VERSION) => {}
        Some(_) => {
            let transaction = connection.transaction()?;
            transaction.execute_batch(RETENTION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        // A file that has nothing in it yet.
        None => lay_out(&mut connection)?,
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(RECORDS)?;
    connection.execute_batch(ASIDES)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", signed(LOG_KEPT_BYTES)?)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    // From the first row on: a page that is rearranged later leaves no copy of a row behind.
    connection.pragma_update(None, "secure_delete", "ON")?;
    // Foreign keys are declared for the reader's eye; checking them costs a lookup a row.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    // The log and its index stay on disk after a clean end, so that a reader without the right to
    // make files finds them.
    connection.file_control(None::<&str>, FileControl::PersistWal(&mut 1))?;
    Ok(connection)
}

/// Opens the database for reading beside a writer in another process.
pub(super) fn open_reader(directory: &Path) -> Result<Connection, StoreError> {
    let path = file(directory);
    plain_files(&path)?;
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing { path });
        }
        Err(source) => return Err(StoreError::Directory { path, source }),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match prepare_reader(&path, &path, flags).map_err(|fault| fault.at(&path)) {
        // A copy on a medium that nobody can write, and without a log: nothing can change under us.
        Err(StoreError::Denied { .. }) if log_length(&path) == 0 => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            prepare_reader(&immutable(&path), &path, flags).map_err(|fault| fault.at(&path))
        }
        opened => opened,
    }
}

fn prepare_reader(name: &Path, path: &Path, flags: OpenFlags) -> Outcome<Connection> {
    let connection = Connection::open_with_flags(name, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    guard(&connection)?;
    if version(&connection, path)?.is_none() {
        return Err(StoreError::Missing { path: path.to_path_buf() }.into());
    }
    check_tables(&connection)?;
    Ok(connection)
}

/// Refuses a database, or a file beside it that SQLite opens, which is there and is no plain file: a
/// pipe would keep us waiting for ever.
fn plain_files(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let name = PathBuf::from(name);
        if fs::metadata(&name).is_ok_and(|found| !found.is_file()) {
            return Err(StoreError::NotAStore { path: name });
        }
    }
    Ok(())
}

/// A store may come from anybody: nothing that its schema brings along may run, and no value may be
/// so large that reading it is an attack. The writer keeps to what readers take.
fn guard(connection: &Connection) -> Outcome<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST_VALUE)?;
    Ok(())
}

/// Refuses a schema that is not ours: a view in the place of a table can run without end, a trigger
/// can write what nobody sealed.
fn check_tables(connection: &Connection) -> Outcome<()> {
    let known: Vec<String> = [TABLES, RETENTION, RECORDS, ASIDES, SEGMENT_CONTENT]
        .iter()
        .flat_map(|text| text.split(';'))
        .map(plain)
        .filter(|text| !text.is_empty())
        .collect();
    // What SQLite makes by itself, such as the index behind UNIQUE, has no text.
    let mut statement = connection.prepare(
        "SELECT substr(name, 1, 64), type, substr(sql, 1, 4096) FROM sqlite_schema
         WHERE NOT (sql IS NULL AND type = 'index') LIMIT 64",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let kind: String = row.get(1)?;
        let text: Option<String> = row.get(2)?;
        let is_ours = text.is_some_and(|text| known.contains(&plain(&text)));
        if !is_ours {
            return Err(Fault::Corrupt(format!("its {kind} {name:?} is none of a store's")));
        }
    }
    Ok(())
}

/// A statement as it can be compared: how it is broken into lines does not matter, nor whether it
/// says that the thing may be there.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace(" IF NOT EXISTS ", " ")
}

/// A database without a file and without rows.
pub(super) fn in_memory() -> Outcome<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(RETENTION)?;
    connection.execute_batch(RECORDS)?;
    connection.execute_batch(ASIDES)?;
    Ok(connection)
}

/// How long the write-ahead log of the database at `path` is, in bytes.
pub(super) fn log_length(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(PathBuf::from(log)).map_or(0, |log| log.len())
}

/// Whether little room is left on the disk of the database at `path`.
pub(super) fn is_short_of_room(path: &Path) -> bool {
    let left = rustix::fs::statvfs(path).ok().filter(|found| found.f_blocks > 0);
    left.is_some_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < SHORT_BYTES)
}

/// The name by which SQLite opens a file without locks and without looking for its log.
fn immutable(path: &Path) -> PathBuf {
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => name.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(*byte)),
            byte => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name.push_str("?immutable=1");
    PathBuf::from(name)
}

/// The format's version, or `None` for a file with nothing in it yet.
fn version(connection: &Connection, path: &Path) -> Outcome<Option<i64>> {
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let path = || path.to_path_buf();
    let application = number("application_id")?;
    let found = number("user_version")?;
    if application == 0 && found == 0 {
        let first: Option<String> = connection
            .query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
            .optional()?;
        return match first {
            None => Ok(None),
            Some(_) => Err(StoreError::NotAStore { path: path() }.into()),
        };
    }
    match (application, found) {
        (APPLICATION, 1..=VERSION) => Ok(Some(found)),
        (APPLICATION, _) if found > VERSION => {
            Err(StoreError::Newer { path: path(), found, known: VERSION }.into())
        }
        (APPLICATION, _) => Err(Fault::Corrupt(format!("format {found} was never written"))),
        _ => Err(StoreError::NotAStore { path: path() }.into()),
    }
}

/// A value of the table `meta`.
pub(super) fn meta<T: FromSql>(connection: &Connection, name: &str) -> Outcome<Option<T>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?")?;
    Ok(statement.query_row(params![name], |row| row.get(0)).optional()?)
}

/// The index below which every exchange's leaf is in the store.
pub(super) fn watermark(connection: &Connection) -> Outcome<u64> {
    meta::<i64>(connection, "watermark")?.map_or(Ok(0), unsigned)
}

/// Moves the watermark up to `index`; it never moves down.
pub(super) fn advance(connection: &Connection, index: u64) -> Outcome<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta(name, value) VALUES ('watermark', ?)
             ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value)",
        )?
        .execute(params![signed(index)?])?;
    Ok(())
}
