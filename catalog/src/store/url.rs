//! Which store, by a URL.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;

/// What a store's URL looks like.
const EXPECTED: &str = "expected sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// A store's URL: `sqlite://PATH`, or `postgres://…` as PostgreSQL's own clients take it. `Debug` shows no password.
#[derive(Clone)]
pub enum StoreUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server. `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `application_name`, `options` and `statement-cache-capacity` may follow
    /// as parameters.
    Postgres(Box<PgConnectOptions>),
}

impl FromStr for StoreUrl {
    type Err = String;

    /// # Errors
    /// It names no store. The text does not repeat what was given, which may hold a password.
    fn from_str(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => {
                url.parse().map(|options| Self::Postgres(Box::new(options))).map_err(|_| EXPECTED.to_owned())
            }
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite://{}", path.display()),
            Self::Postgres(options) => write!(formatter, "postgres://{}:{}", options.get_host(), options.get_port()),
        }
    }
}
