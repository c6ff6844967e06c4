//! A new connection to a predictor: its name looked up, TCP, and TLS where it is asked for; or its Unix socket.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    address::{Address, Place},
    heard::{Heard, Listening},
    tls::Tls,
};

/// Longest that a connection may take, so that there is time left for something else.
const CONNECT: Duration = Duration::from_secs(1);

/// Pause before a Unix socket is tried again that has no room for one more connection.
const FULL: Duration = Duration::from_millis(2);

/// Makes connections to one address.
pub(super) enum Dialer {
    Tcp { host: String, port: u16, tls: Option<(TlsConnector, ServerName<'static>)> },
    Unix(PathBuf),
}

/// A connection, encrypted or not.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, as hyper takes it.
pub(super) type Stream = TokioIo<Listening<Box<dyn Duplex>>>;

impl Dialer {
    /// Connections to `address` that speak `protocol` (its ALPN name), through `tls` where it is given.
    ///
    /// # Errors
    /// The host's name can't stand in a certificate.
    pub(super) fn new(address: &Address, tls: Option<&Tls>, protocol: &[u8]) -> Result<Self, String> {
        let (host, port) = match &address.place {
            Place::Tcp { host, port } => (host.clone(), *port),
            Place::Unix(path) => return Ok(Self::Unix(path.clone())),
        };
        let tls = match tls {
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| format!("`{host}`: {error}"))?;
                Some((TlsConnector::from(tls.speaking(protocol)), name))
            }
            None => None,
        };
        Ok(Self::Tcp { host, port, tls })
    }

    /// A new connection, and what comes over it.
    ///
    /// # Errors
    /// There is none to be had, or not in time.
    pub(super) async fn dial(&self) -> io::Result<(Stream, Heard)> {
        let slow = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let stream = timeout(CONNECT, self.connect()).await.map_err(|_| slow())??;
        let heard = Heard::default();
        Ok((TokioIo::new(Listening::new(stream, heard.clone())), heard))
    }

    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let (host, port, tls) = match self {
            Self::Tcp { host, port, tls } => (host.as_str(), *port, tls),
            Self::Unix(path) => return Ok(Box::new(socket(path).await?)),
        };
        let mut addresses: Vec<_> = lookup_host((host, port)).await?.collect();
        // A headless service has an address a pod, and they come in the same order to everybody.
        fastrand::shuffle(&mut addresses);
        let tcp = first(&addresses).await?;
        tcp.set_nodelay(true)?;
        Ok(match tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), tcp).await?),
            None => Box::new(tcp),
        })
    }
}

/// A connection to a Unix socket. TCP waits where a server has yet to accept others; the kernel refuses at once here, so this waits.
async fn socket(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL).await,
            // By itself `No such file or directory` says nothing of a predictor.
            answer => return answer.map_err(|error| io::Error::new(error.kind(), format!("its socket: {error}"))),
        }
    }
}

/// The first address that answers. Each has its share of the time: one that is silent must not cost the others theirs.
async fn first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let share = CONNECT / u32::try_from(addresses.len().clamp(1, 4)).unwrap_or(1);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"),
        }
    }
    Err(failure)
}
