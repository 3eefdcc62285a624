//! A TCP proxy that makes the trouble of a network: it stands between two programs, passes on what they say, and does
//! to it what the story asks for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::private::free_address;

/// Bytes passed on at once.
const CHUNK: usize = 16 * 1024;
/// How Postgres tells that a transaction was committed.
const COMMITTED: &[u8] = b"COMMIT\0";
/// How long a lost packet takes to be sent again.
const STALL: Duration = Duration::from_millis(200);

/// What the network is like, for all connections from now on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// New connections are reset at once.
    pub shut: bool,
    /// Connections are taken and stay, and nothing moves on any of them, in either direction.
    pub silent: bool,
    /// How much longer everything takes.
    pub delay: Duration,
    /// How much longer it may take besides, by chance.
    pub jitter: Duration,
    /// Bytes per second in each direction; 0 is as fast as it goes.
    pub bytes_per_s: u64,
    /// How often a chunk comes late, as after a packet that was lost.
    pub stalls: f64,
    /// How often a chunk ends its connection with a reset instead.
    pub resets: f64,
    /// After so many bytes of the client, its connection is reset in the middle of what it says; 0 is never.
    pub cut_after: u64,
    /// The answer of Postgres to a COMMIT never arrives: the connection is reset instead.
    pub loses_commits: bool,
}

/// What happens once, to all connections that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// Both sides see a reset.
    Reset,
    /// The server loses the connection, and the client never learns of it.
    ServerGone,
    /// The client loses the connection, and the server never learns of it.
    ClientGone,
    /// The server is told that the client will say no more, while it may go on itself.
    HalfClose,
}

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    blows: broadcast::Sender<Blow>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of this address, where nobody needs to listen yet.
    pub async fn start(to: SocketAddr) -> Proxy {
        let listener = loop {
            // Somebody else may take the port in between.
            if let Ok(listener) = TcpListener::bind(free_address()).await {
                break listener;
            }
        };
        let address = listener.local_addr().expect("its own address");
        let (weather, _) = watch::channel(Weather::default());
        let (blows, _) = broadcast::channel(16);
        let open = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, to, (weather.clone(), blows.clone(), Arc::clone(&open))));
        Proxy { address, weather, blows, open, accepting }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Everything is passed on at once again.
    pub fn heal(&self) {
        self.set(Weather::default());
    }

    /// Resets all connections and lets no new one through.
    pub fn cut(&self) {
        self.set(Weather { shut: true, ..Weather::default() });
        self.reset();
    }

    /// Resets all connections there are.
    pub fn reset(&self) {
        self.strike(Blow::Reset);
    }

    /// The server loses all connections there are, and no client learns of it.
    pub fn lose_server(&self) {
        self.strike(Blow::ServerGone);
    }

    /// The clients lose all connections there are, and the server does not learn of it.
    pub fn lose_clients(&self) {
        self.strike(Blow::ClientGone);
    }

    /// The server is told that the clients will say no more.
    pub fn half_close(&self) {
        self.strike(Blow::HalfClose);
    }

    /// How many connections it has.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn strike(&self, blow: Blow) {
        // Without a connection there is nobody to strike.
        let _ = self.blows.send(blow);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

type Sky = (watch::Sender<Weather>, broadcast::Sender<Blow>, Arc<AtomicUsize>);

async fn accept(listener: TcpListener, to: SocketAddr, (weather, blows, open): Sky) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Descriptors are short for a moment.
            tokio::time::sleep(STALL).await;
            continue;
        };
        if weather.borrow().shut {
            let _ = client.set_zero_linger();
            continue;
        }
        let (weather, blows, open) = (weather.subscribe(), blows.subscribe(), Arc::clone(&open));
        tokio::spawn(async move {
            open.fetch_add(1, Ordering::Relaxed);
            connection(client, to, weather, blows).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connection(
    mut client: TcpStream,
    to: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    mut blows: broadcast::Receiver<Blow>,
) {
    let onward = async {
        weather.wait_for(|weather| !weather.silent).await.map_err(io::Error::other)?;
        TcpStream::connect(to).await
    };
    let onward = tokio::select! {
        onward = onward => onward,
        _ = blows.recv() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    let Ok(mut server) = onward else {
        let _ = client.set_zero_linger();
        return;
    };
    // Neither is needed for what is passed on to be right.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (said, told) = client.split();
        let (answered, asked) = server.split();
        let up = pump(said, asked, weather.clone(), true);
        let down = pump(answered, told, weather.clone(), false);
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => both.map(drop).map_err(|_| Blow::Reset),
            blow = blows.recv() => Err(blow.unwrap_or(Blow::Reset)),
        }
    };
    // A stream that is dropped without lingering tells the other side of a reset.
    match ended {
        Ok(()) => {}
        Err(Blow::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Err(Blow::ServerGone) => {
            let _ = server.set_zero_linger();
            drop(server);
            swallow(client, blows).await;
        }
        Err(Blow::ClientGone) => {
            let _ = client.set_zero_linger();
            drop(client);
            swallow(server, blows).await;
        }
        Err(Blow::HalfClose) => {
            let _ = server.shutdown().await;
            let (answered, told) = (server.split().0, client.split().1);
            let _ = pump(answered, told, weather, false).await;
        }
    }
}

/// Keeps a connection whose other side is gone, until this side gives up too or is struck again.
async fn swallow(mut stream: TcpStream, mut blows: broadcast::Receiver<Blow>) {
    let mut buffer = vec![0; CHUNK];
    let listening = async { while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {} };
    tokio::select! {
        () = listening => {}
        _ = blows.recv() => {}
    }
}

/// Passes on one direction to its end, in the weather of the moment. An error is the end of both.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    of_client: bool,
) -> io::Result<()> {
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let mut buffer = vec![0; CHUNK];
    let mut passed = 0;
    loop {
        let count = from.read(&mut buffer).await?;
        let now = *weather.wait_for(|weather| !weather.silent).await.map_err(io::Error::other)?;
        if count == 0 {
            return to.shutdown().await;
        }
        let chunk = &buffer[..count];
        if rand::random_bool(now.resets) {
            return Err(reset());
        }
        if now.loses_commits && !of_client && chunk.windows(COMMITTED.len()).any(|part| part == COMMITTED) {
            return Err(reset());
        }
        let time = now.takes(count);
        if !time.is_zero() {
            // The trouble itself.
            tokio::time::sleep(time).await;
        }
        passed += count as u64;
        if of_client && now.cut_after > 0 && passed > now.cut_after {
            to.write_all(&chunk[..count / 2]).await?;
            return Err(reset());
        }
        to.write_all(chunk).await?;
    }
}

impl Weather {
    /// How long a chunk is held back.
    fn takes(&self, bytes: usize) -> Duration {
        let mut time = self.delay + self.jitter.mul_f64(rand::random());
        if rand::random_bool(self.stalls) {
            time += STALL;
        }
        if self.bytes_per_s > 0 {
            time += Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        }
        time
    }
}
