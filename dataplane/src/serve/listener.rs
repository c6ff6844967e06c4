//! Where callers connect: sockets that are bound, accepted from, and closed without losing who has connected already.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};

use super::{activity::Stream, connection::Endpoint};
use crate::config::ServerArgs;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// Who shares a machine's socket may speak on it: the server's user and group.
const SOCKET_MODE: u32 = 0o660;

/// A caller that is silent for so long is asked for a sign of life by the kernel, as often, and so many times: one that is gone frees
/// its requests' threads.
const SILENT: Duration = Duration::from_secs(20);
const ASKED_EVERY: Duration = Duration::from_secs(5);
const ASKED: u32 = 2;

/// Pause after a failed accept: what it lacked, a file descriptor most likely, must come back first.
const PAUSE: Duration = Duration::from_millis(100);

/// One place to connect to.
pub(super) struct Listener {
    socket: Socket,
    /// As the log tells it.
    pub(super) address: String,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Every place to connect to, by what it is for.
pub(super) struct Listeners {
    pub(super) rest: Listener,
    pub(super) grpc: Option<Listener>,
    pub(super) uds: Option<Listener>,
    pub(super) admin: Option<Listener>,
}

impl Listeners {
    /// Binds what the settings ask for.
    ///
    /// # Errors
    /// An address can't be had; the text names its flag.
    pub(super) async fn bind(args: &ServerArgs) -> Result<Self, String> {
        let tcp = async |flag: &str, port: Option<u16>| match port {
            Some(port) => Listener::tcp(flag, SocketAddr::new(args.host, port)).await.map(Some),
            None => Ok(None),
        };
        let rest = Listener::tcp("--http-port", SocketAddr::new(args.host, args.http_port)).await?;
        let grpc = tcp("--grpc-port", args.enable_grpc.then_some(args.grpc_port)).await?;
        let admin = tcp("--admin-port", args.admin_port).await?;
        let uds = args.uds.as_deref().map(Listener::unix).transpose()?;
        Ok(Self { rest, grpc, uds, admin })
    }
}

impl Listener {
    async fn tcp(flag: &str, address: SocketAddr) -> Result<Self, String> {
        let refused = |error| format!("{flag}: {address} can't be bound: {error}");
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        // What it accepts is as it is.
        let alive = TcpKeepalive::new().with_time(SILENT).with_interval(ASKED_EVERY).with_retries(ASKED);
        SockRef::from(&listener).set_tcp_keepalive(&alive).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?.to_string();
        Ok(Self { socket: Socket::Tcp(listener), address })
    }

    fn unix(path: &Path) -> Result<Self, String> {
        let address = path.display().to_string();
        let refused = |error| format!("--uds: {address} can't be bound: {error}");
        remove_stale(path).map_err(refused)?;
        let socket = UnixSocket::new_stream().map_err(refused)?;
        socket.bind(path).map_err(refused)?;
        let file = SocketFile::at(path).map_err(refused)?;
        // Nobody can connect before it listens, so nobody connects with another mode.
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        let listener = socket.listen(BACKLOG).map_err(refused)?;
        Ok(Self { socket: Socket::Unix(listener, file), address })
    }

    /// Accepts until the endpoint closes; then serves those who had connected by then, and closes. Every connection takes a
    /// permit; without one it waits.
    pub(super) async fn serve(self, endpoint: Arc<Endpoint>, permits: Arc<Semaphore>) {
        let (mut closing, mut told) = (endpoint.closing.clone(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let permit = permit(&permits, &mut closing, &mut told).await;
                    endpoint.spawn(stream, permit);
                }
                Err(error) if is_callers(&error) => {}
                Err(error) => {
                    if told.now() {
                        tracing::warn!(listener = endpoint.name, %error, "connections can't be accepted");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        if let Err(error) = self.socket.close(|stream| endpoint.spawn(stream, None)) {
            tracing::warn!(listener = endpoint.name, %error, "connections that waited to be accepted are lost");
        }
    }
}

/// A permit for one more connection. None as the server leaves: whoever has been accepted by then is served, whatever the limit.
async fn permit(
    permits: &Arc<Semaphore>,
    closing: &mut watch::Receiver<bool>,
    told: &mut Seldom,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = permits.clone().try_acquire_owned() {
        return Some(permit);
    }
    if told.now() {
        tracing::warn!("as many connections are open as --max-connections allows; further ones wait");
    }
    tokio::select! {
        permit = permits.clone().acquire_owned() => permit.ok(),
        _ = closing.wait_for(|closing| *closing) => None,
    }
}

/// Whether a connection failed before it was accepted: that one's loss, no trouble of the listener's.
fn is_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Socket {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => Ok(tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    /// Closes the socket. What the kernel had accepted already would be reset by that, so it is taken out first; asking the kernel
    /// itself, as the runtime may not have heard yet.
    fn close(self, mut served: impl FnMut(Box<dyn Stream>)) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let listener = listener.into_std()?;
                while let Some((stream, _)) = pending(|| listener.accept())? {
                    stream.set_nonblocking(true)?;
                    served(tcp(TcpStream::from_std(stream)?));
                }
            }
            Self::Unix(listener, file) => {
                drop(file);
                let listener = listener.into_std()?;
                while let Some((stream, _)) = pending(|| listener.accept())? {
                    stream.set_nonblocking(true)?;
                    served(Box::new(UnixStream::from_std(stream)?));
                }
            }
        }
        Ok(())
    }
}

fn tcp(stream: TcpStream) -> Box<dyn Stream> {
    // Small answers go out at once instead of waiting to be joined with more. Where that can't be had, they are late, not lost.
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}

/// What a listener that never blocks has accepted; none where nobody waits. One who left before does not stand in the others' way.
fn pending<T>(mut accept: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match accept() {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if is_callers(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The file of a Unix socket, removed with it.
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own there.
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes the socket of a server that crashed. One that somebody listens on, or a file that is no socket, is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(io::Error::other("it exists and is no socket")),
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::other("somebody listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Says yes once a second.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    fn now(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Listener, SILENT, Socket, pending};

    #[tokio::test]
    async fn a_caller_who_is_gone_without_a_word_is_found_out() {
        let Socket::Tcp(listener) = Listener::tcp("", ([127, 0, 0, 1], 0).into()).await.unwrap().socket else {
            panic!()
        };
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = TcpListener::accept(&listener).await.unwrap();
        let accepted = SockRef::from(&accepted);
        assert_eq!((accepted.keepalive().unwrap(), accepted.tcp_keepalive_time().unwrap()), (true, SILENT));
    }

    #[test]
    fn who_left_the_backlog_does_not_lose_the_others() {
        let waiting =
            [Err(ErrorKind::ConnectionAborted), Ok(1), Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)];
        let mut waiting = waiting.into_iter().map(|accepted| accepted.map_err(Error::from));
        let mut next = || pending(|| waiting.next().unwrap());
        assert_eq!((next().unwrap(), next().unwrap()), (Some(1), None));
        assert!(pending(|| Err::<(), _>(Error::other("no file descriptor"))).is_err());
    }
}
