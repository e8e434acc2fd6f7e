//! Servers that no package brings: each answers one command as it is told, and OK to all else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Answers INFO as a server of that version. Answers its port.
pub(crate) fn server_of_version(version: &str) -> u16 {
    let info = info(version);
    serve(Arc::default(), move |command| {
        Some(if command == "INFO" { &info } else { "+OK\r\n" }.to_owned())
    })
}

/// Welcomes everybody, and hangs up on the first script. Answers its port, and how many came so far.
pub(crate) fn server_that_hangs_up() -> (u16, Arc<AtomicU64>) {
    let (info, came) = (info("7.0.0"), Arc::default());
    let port = serve(Arc::clone(&came), move |command| match command {
        "INFO" => Some(info.clone()),
        "EVALSHA" => None,
        _ => Some("+OK\r\n".to_owned()),
    });
    (port, came)
}

/// Welcomes everybody, and answers each script with this much.
pub(crate) fn server_that_answers(script: String) -> u16 {
    let info = info("7.0.0");
    serve(Arc::default(), move |command| {
        Some(match command {
            "INFO" => info.clone(),
            "HELLO" => "%1\r\n$5\r\nproto\r\n:2\r\n".to_owned(),
            "EVALSHA" => script.clone(),
            _ => "+OK\r\n".to_owned(),
        })
    })
}

/// Answers INFO as that text, and a reading of a source of three jobs to each script.
pub(crate) fn proxy_that_tells(info: &str) -> u16 {
    let info = format!("${}\r\n{info}\r\n", info.len());
    serve(Arc::default(), move |command| {
        Some(match command {
            "INFO" => info.clone(),
            "HELLO" => "-ERR unknown command 'HELLO'\r\n".to_owned(),
            "EVALSHA" => "*5\r\n:3\r\n:0\r\n:1\r\n$0\r\n\r\n$0\r\n\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        })
    })
}

/// A sentinel that takes the server on that port of loopback for the master. Answers its own port.
pub(crate) fn sentinel_that_names(port: u16) -> u16 {
    let port = port.to_string();
    let address = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    let details = "%1\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n";
    serve(Arc::default(), move |command| {
        let reply = match command {
            "SENTINEL GET-MASTER-ADDR-BY-NAME" => &address,
            "SENTINEL MASTER" => details,
            "HELLO" => "%1\r\n$5\r\nproto\r\n:3\r\n",
            _ => "+OK\r\n",
        };
        Some(reply.to_owned())
    })
}

fn info(version: &str) -> String {
    let info = format!("# Server\r\nredis_version:{version}\r\n");
    format!("${}\r\n{info}\r\n", info.len())
}

/// Counts who comes in `came`. `reply` answers a command by its name; `None` hangs up.
fn serve(came: Arc<AtomicU64>, reply: impl Fn(&str) -> Option<String> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            came.fetch_add(1, Ordering::Relaxed);
            let reply = reply.clone();
            std::thread::spawn(move || answer(stream, reply));
        }
    });
    port
}

fn answer(stream: TcpStream, reply: impl Fn(&str) -> Option<String>) -> Option<()> {
    let mut requests = BufReader::new(stream.try_clone().ok()?);
    let mut answers = stream;
    loop {
        let mut line = String::new();
        requests.read_line(&mut line).ok()?;
        let words: usize = line.trim().strip_prefix('*')?.parse().ok()?;
        let mut request = Vec::new();
        for _ in 0..words {
            line.clear();
            requests.read_line(&mut line).ok()?;
            let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
            let mut word = vec![0; length + 2];
            requests.read_exact(&mut word).ok()?;
            request.push(String::from_utf8_lossy(&word[..length]).to_uppercase());
        }
        // Of a container's, the second word too.
        let words = if request[0] == "SENTINEL" { 2 } else { 1 };
        answers
            .write_all(reply(&request[..words].join(" "))?.as_bytes())
            .ok()?;
    }
}
