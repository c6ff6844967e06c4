//! Where a predictor is: host, port and a path before the protocol's own, or a Unix socket.

use std::{os::unix::net::SocketAddr, path::PathBuf};

use axum::http::Uri;

/// A predictor's address, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Where connections go.
    pub(super) place: Place,
    /// What goes into `host` headers.
    pub(super) authority: String,
    /// Before the protocol's own paths, without a slash at its end.
    pub(super) path: String,
    /// `https` or `http`, where the address says which; a Unix socket is spoken to in plain.
    pub(super) scheme: Option<Scheme>,
}

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp {
        /// Name or IP address, IPv6 without its brackets.
        host: String,
        /// 80, or 443 with TLS, where none is given.
        port: u16,
    },
    /// A socket's file, by its whole path.
    Unix(PathBuf),
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Address {
    /// Reads `host`, `host:port`, a URL, or a Unix socket: `unix:/path`, or `unix:///path` as gRPC writes it. `tls` is whether an address
    /// without a scheme is spoken to with TLS.
    ///
    /// # Errors
    /// It is none of them.
    pub(super) fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let Some(path) = unix_socket(text)? else { return Self::tcp(text, tls) };
        Ok(Self {
            place: Place::Unix(path),
            authority: "localhost".to_owned(),
            path: String::new(),
            scheme: Some(Scheme::Http),
        })
    }

    fn tcp(text: &str, tls: bool) -> Result<Self, String> {
        let expected =
            || format!("`{text}`: expected host, host:port, http://host:port, https://host:port or unix:/path");
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return Err(expected()),
            None => (None, text),
        };
        if rest.contains(['?', '#']) {
            return Err(expected());
        }
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| expected())?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16();
        // What is left of host and port is a port that is no number, or a password, which belongs into no log.
        let whole = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if host.is_empty() || whole != authority {
            return Err(expected());
        }
        let encrypted = scheme.map_or(tls, |scheme| scheme == Scheme::Https);
        Ok(Self {
            place: Place::Tcp {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: port.unwrap_or(if encrypted { 443 } else { 80 }),
            },
            authority,
            path: uri.path().trim_end_matches('/').to_owned(),
            scheme,
        })
    }

    /// The path of these segments, each quoted.
    pub(super) fn path_to(&self, segments: &[&str]) -> String {
        segments.iter().fold(self.path.clone(), |path, segment| path + "/" + &quoted(segment))
    }
}

/// The path of the Unix socket that an address names, `unix:/path` or `unix:///path` as gRPC writes it; nothing where it names another
/// place.
///
/// # Errors
/// It begins so, and what follows can't be a socket's path.
pub fn unix_socket(address: &str) -> Result<Option<PathBuf>, String> {
    let Some(rest) = address.strip_prefix("unix:") else { return Ok(None) };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    // In a URL, what follows `?` or `#` is no part of the path: whoever writes one means something else.
    if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '\0']) {
        return Err(format!("`{address}`: expected a socket's absolute path, unix:/path or unix:///path"));
    }
    let long = |_| format!("`{address}`: a path of {} bytes is too long for a socket", path.len());
    SocketAddr::from_pathname(path).map_err(long)?;
    Ok(Some(path.into()))
}

fn quoted(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(&byte);
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Address, Place, Scheme, unix_socket};

    #[test]
    fn the_port_is_the_one_of_the_scheme_where_none_is_given() {
        for (text, tls, host, port, scheme) in [
            ("a.b", false, "a.b", 80, None),
            ("a.b", true, "a.b", 443, None),
            ("a.b:9000", true, "a.b", 9000, None),
            ("http://a.b", false, "a.b", 80, Some(Scheme::Http)),
            ("https://a.b/", false, "a.b", 443, Some(Scheme::Https)),
            ("[::1]:81", false, "::1", 81, None),
        ] {
            let address = Address::parse(text, tls).unwrap();
            let place = Place::Tcp { host: host.to_owned(), port };
            assert_eq!((address.place, address.scheme), (place, scheme), "{text}");
            assert_eq!(address.path, "", "{text}");
        }
    }

    #[test]
    fn segments_are_quoted_behind_the_addresss_own_path() {
        let address = Address::parse("http://a:1/behind/", false).unwrap();
        assert_eq!(address.path_to(&["v2", "models", "a/b?c é"]), "/behind/v2/models/a%2Fb%3Fc%20%C3%A9");
    }
    #[test]
    fn a_socket_is_spoken_to_as_localhost_and_in_plain() {
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            let address = Address::parse(text, false).unwrap();
            assert_eq!(address.place, Place::Unix("/run/a.sock".into()), "{text}");
            assert_eq!((address.authority.as_str(), address.scheme), ("localhost", Some(Scheme::Http)), "{text}");
            assert_eq!(address.path_to(&["v2"]), "/v2", "{text}");
        }
    }

    #[test]
    fn a_sockets_path_is_absolute_and_short_and_everything_else_is_no_socket() {
        for wrong in [
            "unix:",
            "unix:a.sock",
            "unix://host/a.sock",
            "unix:///",
            "unix:/run/",
            "unix:/a?b",
            "unix:/a#b",
            "unix:/a\0b",
        ] {
            assert!(unix_socket(wrong).unwrap_err().contains("absolute path"), "{wrong}");
        }
        let longest = format!("/{}", "a".repeat(106));
        assert_eq!(unix_socket(&format!("unix:{longest}")).unwrap().as_deref(), Some(Path::new(&longest)));
        assert!(unix_socket(&format!("unix:{longest}a")).unwrap_err().contains("108 bytes is too long"));
        assert_eq!(unix_socket("unix.host:80"), Ok(None));
        assert_eq!(unix_socket("http://host/unix:/a"), Ok(None));
    }
}
