//! A way to Redis on which an answer is lost: Redis has done what it was asked, and who asked does not know.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use queue::test_server::RedisServer;

use crate::common::wait_until;

/// Passes on all that is said, until it is told otherwise.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Words by which the request is known whose answer is to be lost.
    wanted: Mutex<Vec<String>>,
    met: AtomicBool,
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Way {
    pub(crate) fn to(redis: &RedisServer) -> Self {
        let upstream = redis.server().address.to_string();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&upstream) else {
                    continue;
                };
                connect(&shared, client, server);
            }
        });
        Self { address, state }
    }

    /// From now on nothing is answered any more to who asks something with all of these words, once.
    pub(crate) fn lose_answer_to(&self, words: &[&str]) {
        *self.state.wanted.lock().unwrap() = words.iter().map(|&word| word.to_owned()).collect();
    }

    /// Waits until that was asked.
    pub(crate) fn has_lost(&self) {
        wait_until("the answer is lost", || self.state.met.load(Ordering::SeqCst));
    }

    /// Ends every connection, and lets nobody in.
    pub(crate) fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().drain(..) {
            // Fails if it has ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn open(&self) {
        self.state.closed.store(false, Ordering::SeqCst);
    }
}

fn connect(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    state
        .streams
        .lock()
        .unwrap()
        .extend([copy(&client), copy(&server)]);
    let silent = Arc::new(AtomicBool::new(false));
    let (asking, answering) = ((copy(&client), copy(&server)), (server, client));
    let (state, hushed) = (Arc::clone(state), Arc::clone(&silent));
    thread::spawn(move || {
        pass(asking, |request| {
            if state.meets(request) {
                hushed.store(true, Ordering::SeqCst);
                state.met.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    thread::spawn(move || pass(answering, |_| !silent.load(Ordering::SeqCst)));
}

impl State {
    /// Once: then nothing is wanted any more. The check at start, which tries every script, is let through.
    fn meets(&self, request: &[u8]) -> bool {
        let mut wanted = self.wanted.lock().unwrap();
        let request = String::from_utf8_lossy(request);
        let asked = !wanted.is_empty() && !request.contains(":check:");
        let met = asked && wanted.iter().all(|word| request.contains(word));
        if met {
            wanted.clear();
        }
        met
    }
}

/// Until one side ends: then both do.
fn pass((mut from, mut to): (TcpStream, TcpStream), mut look: impl FnMut(&[u8]) -> bool) {
    let mut chunk = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        if look(&chunk[..length]) && to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
