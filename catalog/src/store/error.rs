//! Why a store has no answer.

use std::fmt::{self, Display};

/// A store failed. Its text is for logs: it may name hosts and files.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{failure}: {detail}")]
pub struct StoreError {
    /// The class of the failure.
    pub failure: Failure,
    detail: String,
}

/// How a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It can't be reached, or the connection broke.
    Away,
    /// It had no answer in time.
    Slow,
    /// It has too much to do, or somebody holds a lock.
    Busy,
    /// It can be read only.
    ReadOnly,
    /// It has no room.
    Full,
    /// It refuses what it was given.
    Refused,
    /// It is not one to serve from: no such file or database, no schema, another schema, no rights.
    Setup,
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Away => "store is away",
            Self::Slow => "store is too slow",
            Self::Busy => "store is busy",
            Self::ReadOnly => "store is read-only",
            Self::Full => "store is full",
            Self::Refused => "store refuses it",
            Self::Setup => "store can't be served from",
        })
    }
}

impl StoreError {
    /// A failure with what is to be said of it in logs.
    pub fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }

    /// Another schema than this server's.
    pub(super) fn schema(found: i64, wanted: i64) -> Self {
        let remedy = if found < wanted { "run `hemline migrate` of this release" } else { "the server is older" };
        let detail = format!("schema version {found}, this server needs {wanted}; {remedy}");
        Self::new(Failure::Setup, detail)
    }

    /// No answer in time.
    pub(super) fn slow() -> Self {
        Self::new(Failure::Slow, "no answer in time")
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let failure = match &error {
            sqlx::Error::PoolTimedOut => Failure::Slow,
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                    of_sqlstate(&code)
                } else {
                    of_sqlite(&code)
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::Configuration(_) => Failure::Setup,
            _ => Failure::Away,
        };
        let is_missing = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42P01"));
        let remedy = if is_missing { "; `hemline load` makes a store" } else { "" };
        Self::new(failure, format!("{error}{remedy}"))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let failure = match &error {
            rusqlite::Error::SqliteFailure(sqlite, _) => of_sqlite(&sqlite.extended_code.to_string()),
            _ => Failure::Setup,
        };
        Self::new(failure, error.to_string())
    }
}

/// By PostgreSQL's table of codes: the first two letters are the class.
fn of_sqlstate(code: &str) -> Failure {
    match code {
        "57014" => Failure::Slow,
        "25006" => Failure::ReadOnly,
        "53100" | "53200" | "54000" => Failure::Full,
        "53300" | "55P03" => Failure::Busy,
        "28000" | "28P01" => Failure::Setup,
        _ => match code.get(..2) {
            Some("08" | "57" | "58" | "XX") => Failure::Away,
            Some("40" | "53" | "55") => Failure::Busy,
            Some("22" | "23") => Failure::Refused,
            _ => Failure::Setup,
        },
    }
}

/// By SQLite's result codes: the low byte is the class.
fn of_sqlite(code: &str) -> Failure {
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(5 | 6) => Failure::Busy,
        Ok(8) => Failure::ReadOnly,
        Ok(13) => Failure::Full,
        Ok(18..=20) => Failure::Refused,
        Ok(9) => Failure::Slow,
        Ok(10 | 14) => Failure::Away,
        _ => Failure::Setup,
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, of_sqlite, of_sqlstate};

    #[test]
    fn what_a_server_says_has_a_class() {
        for (code, failure) in [
            ("57P01", Failure::Away),     // it is being shut down
            ("57P03", Failure::Away),     // it is starting up
            ("08006", Failure::Away),     // the connection failed
            ("57014", Failure::Slow),     // statement_timeout
            ("53300", Failure::Busy),     // too many connections
            ("40P01", Failure::Busy),     // deadlock
            ("25006", Failure::ReadOnly), // it is a replica
            ("53100", Failure::Full),     // no room on its disk
            ("22021", Failure::Refused),  // a NUL in a text
            ("23514", Failure::Refused),  // a constraint
            ("42501", Failure::Setup),    // no rights
            ("42P01", Failure::Setup),    // no such table
            ("28P01", Failure::Setup),    // another password
            ("3D000", Failure::Setup),    // no such database
        ] {
            assert_eq!(of_sqlstate(code), failure, "{code}");
        }
    }

    #[test]
    fn what_a_file_says_has_one_too() {
        for (code, failure) in [
            ("5", Failure::Busy),
            ("517", Failure::Busy),      // SQLITE_BUSY_SNAPSHOT
            ("1032", Failure::ReadOnly), // SQLITE_READONLY_DBMOVED
            ("13", Failure::Full),
            ("19", Failure::Refused),
            ("1555", Failure::Refused), // SQLITE_CONSTRAINT_PRIMARYKEY
            ("778", Failure::Away),     // SQLITE_IOERR_WRITE
            ("26", Failure::Setup),     // no database
        ] {
            assert_eq!(of_sqlite(code), failure, "{code}");
        }
    }
}
