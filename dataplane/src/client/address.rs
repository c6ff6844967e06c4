//! Where a predictor is: host, port, and a path before the protocol's own.

use axum::http::Uri;

/// A predictor's address, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or IP address, IPv6 without its brackets.
    pub(super) host: String,
    /// 80, or 443 with TLS, where none is given.
    pub(super) port: u16,
    /// What goes into `host` headers.
    pub(super) authority: String,
    /// Before the protocol's own paths, without a slash at its end.
    pub(super) path: String,
    /// `https` or `http`, where the address says which.
    pub(super) scheme: Option<Scheme>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Address {
    /// Reads `host`, `host:port`, or a URL. `tls` is whether an address without a scheme is spoken to with TLS.
    ///
    /// # Errors
    /// It is none of them.
    pub(super) fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected host, host:port, http://host:port or https://host:port");
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
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(if encrypted { 443 } else { 80 }),
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
    use super::{Address, Scheme};

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
            assert_eq!((address.host.as_str(), address.port, address.scheme), (host, port, scheme), "{text}");
            assert_eq!(address.path, "", "{text}");
        }
    }

    #[test]
    fn segments_are_quoted_behind_the_addresss_own_path() {
        let address = Address::parse("http://a:1/behind/", false).unwrap();
        assert_eq!(address.path_to(&["v2", "models", "a/b?c é"]), "/behind/v2/models/a%2Fb%3Fc%20%C3%A9");
    }
}
