//! The settings that the API and the worker share.

use std::path::PathBuf;

use crate::{
    Address, Error, ForeignStatus, LoginFiles, Queue, Result, Secret, Sentinel, Serializer, Server,
    SettingFile, Tls, TlsFiles,
};

/// Which Redis, which queue: flatten it into a program's arguments with `#[command(flatten)]`.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisArgs {
    /// Where Redis is: host or host:port
    #[arg(long, env = "WORKERPOOL_REDIS_ADDRESS", value_name = "HOST[:PORT]")]
    redis_address: Option<Address>,

    /// The original's name for the same; used when --redis-address is absent
    #[arg(long = "redis-ip", env = "REDIS_IP", hide = true)]
    redis_ip: Option<Address>,

    /// Redis ACL user
    #[arg(long, env = "WORKERPOOL_REDIS_USERNAME", value_name = "NAME")]
    redis_username: Option<String>,

    /// A file that holds the ACL user's name, read again for each connection; if there is no such file, there is no name
    #[arg(long, env = "WORKERPOOL_REDIS_USERNAME_FILE", value_name = "FILE")]
    redis_username_file: Option<PathBuf>,

    /// A file that holds the password, read again for each connection (or put it into WORKERPOOL_REDIS_PASSWORD)
    #[arg(long, env = "WORKERPOOL_REDIS_PASSWORD_FILE", value_name = "FILE")]
    redis_password_file: Option<PathBuf>,

    /// Ask these sentinels where Redis is, instead of --redis-address: host or host:port, with commas between
    #[arg(
        long,
        env = "WORKERPOOL_REDIS_SENTINELS",
        value_name = "HOST[:PORT],…",
        value_delimiter = ',',
        value_parser = sentinel_address,
        requires = "redis_master_name"
    )]
    redis_sentinels: Vec<Address>,

    /// The name that the sentinels have for the master
    #[arg(long, env = "WORKERPOOL_REDIS_MASTER_NAME", value_name = "NAME")]
    redis_master_name: Option<String>,

    /// ACL user on the sentinels
    #[arg(long, env = "WORKERPOOL_REDIS_SENTINEL_USERNAME", value_name = "NAME")]
    redis_sentinel_username: Option<String>,

    /// A file that holds the name of the ACL user on the sentinels; if there is no such file, there is no name
    #[arg(long, env = "WORKERPOOL_REDIS_SENTINEL_USERNAME_FILE", value_name = "FILE")]
    redis_sentinel_username_file: Option<PathBuf>,

    /// A file that holds the sentinels' password (or put it into WORKERPOOL_REDIS_SENTINEL_PASSWORD)
    #[arg(long, env = "WORKERPOOL_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE")]
    redis_sentinel_password_file: Option<PathBuf>,

    /// Speak TLS to Redis
    #[arg(long, env = "WORKERPOOL_REDIS_TLS")]
    redis_tls: bool,

    /// PEM file of the authority that signed Redis' certificate; the system's if absent
    #[arg(
        long,
        env = "WORKERPOOL_REDIS_CA_FILE",
        value_name = "FILE",
        requires = "redis_tls"
    )]
    redis_ca_file: Option<PathBuf>,

    /// PEM file of the client certificate
    #[arg(
        long,
        env = "WORKERPOOL_REDIS_CERT_FILE",
        value_name = "FILE",
        requires = "redis_key_file"
    )]
    redis_cert_file: Option<PathBuf>,

    /// PEM file of the client certificate's key
    #[arg(
        long,
        env = "WORKERPOOL_REDIS_KEY_FILE",
        value_name = "FILE",
        requires = "redis_cert_file"
    )]
    redis_key_file: Option<PathBuf>,

    /// The name that Redis' certificate must be good for, if that is not the host that is connected to
    #[arg(
        long,
        env = "WORKERPOOL_REDIS_TLS_SERVER_NAME",
        value_name = "NAME",
        requires = "redis_tls"
    )]
    redis_tls_server_name: Option<String>,

    /// The queue's name
    #[arg(long, env = "WORKERPOOL_QUEUE", default_value = "queue")]
    queue: crate::QueueName,

    /// The database that holds the queue
    #[arg(long, env = "WORKERPOOL_QUEUE_DB", default_value_t = Queue::DEFAULT_QUEUE_DB)]
    queue_db: u32,

    /// The database that holds the jobs
    #[arg(long, env = "WORKERPOOL_JOBS_DB", default_value_t = Queue::DEFAULT_JOBS_DB)]
    jobs_db: u32,

    /// How items are written to the queue, as its HotQueue programs have it (`serializer=`): pickle, json or none. Read are
    /// all three
    #[arg(
        long,
        env = "WORKERPOOL_QUEUE_SERIALIZER",
        value_name = "SERIALIZER",
        default_value_t = Serializer::Pickle
    )]
    queue_serializer: Serializer,

    /// Words with which other programs' workers end jobs, with commas between, besides complete, failed and cancelled
    #[arg(
        long,
        env = "WORKERPOOL_FOREIGN_FINAL_STATUSES",
        value_name = "WORD,…",
        value_delimiter = ',',
        value_parser = final_status
    )]
    foreign_final_statuses: Vec<ForeignStatus>,
}

impl RedisArgs {
    /// Reads the files that the settings name and puts everything together.
    ///
    /// # Errors
    /// [`Error::Config`] with what is missing and how to give it.
    pub fn resolve(&self) -> Result<(Server, Queue)> {
        let server = Server {
            username: present(self.redis_username.as_ref()),
            password: password("WORKERPOOL_REDIS_PASSWORD"),
            login_files: LoginFiles {
                username: file(
                    self.redis_username_file.as_ref(),
                    "WORKERPOOL_REDIS_USERNAME_FILE",
                ),
                password: file(
                    self.redis_password_file.as_ref(),
                    "WORKERPOOL_REDIS_PASSWORD_FILE",
                ),
            },
            tls: self.tls(),
            ..self.place()?
        };
        check_files(&server)?;
        let queue = Queue {
            name: self.queue.clone(),
            queue_db: self.queue_db,
            jobs_db: self.jobs_db,
            serializer: self.queue_serializer,
            final_statuses: self.final_statuses()?,
        };
        Ok((server, queue))
    }

    fn final_statuses(&self) -> Result<Vec<ForeignStatus>> {
        let mut words = self.foreign_final_statuses.clone();
        words.sort();
        words.dedup();
        if words.len() > ForeignStatus::MAX {
            return Err(Error::Config(format!(
                "{} final statuses of other programs: name {} at most in WORKERPOOL_FOREIGN_FINAL_STATUSES",
                words.len(),
                ForeignStatus::MAX
            )));
        }
        Ok(words)
    }

    /// Where Redis is, or who knows.
    fn place(&self) -> Result<Server> {
        // Without sentinels their master's name means nothing.
        if let (Some(master), false) = (&self.redis_master_name, self.redis_sentinels.is_empty()) {
            return Server::behind(Sentinel {
                master: master.clone(),
                addresses: self.redis_sentinels.clone(),
                username: present(self.redis_sentinel_username.as_ref()),
                password: password("WORKERPOOL_REDIS_SENTINEL_PASSWORD"),
                login_files: LoginFiles {
                    username: file(
                        self.redis_sentinel_username_file.as_ref(),
                        "WORKERPOOL_REDIS_SENTINEL_USERNAME_FILE",
                    ),
                    password: file(
                        self.redis_sentinel_password_file.as_ref(),
                        "WORKERPOOL_REDIS_SENTINEL_PASSWORD_FILE",
                    ),
                },
            });
        }
        let address = self.redis_address.as_ref().or(self.redis_ip.as_ref());
        address.cloned().map(Server::new).ok_or_else(|| {
            Error::Config(
                "where is Redis? Set WORKERPOOL_REDIS_ADDRESS (or REDIS_IP), or give --redis-address; with \
                 Sentinel, WORKERPOOL_REDIS_SENTINELS and WORKERPOOL_REDIS_MASTER_NAME"
                    .to_owned(),
            )
        })
    }

    fn tls(&self) -> Option<Tls> {
        if !self.redis_tls {
            return None;
        }
        let certificate = file(self.redis_cert_file.as_ref(), "WORKERPOOL_REDIS_CERT_FILE");
        let key = file(self.redis_key_file.as_ref(), "WORKERPOOL_REDIS_KEY_FILE");
        Some(Tls {
            server_name: present(self.redis_tls_server_name.as_ref()),
            files: TlsFiles {
                ca: file(self.redis_ca_file.as_ref(), "WORKERPOOL_REDIS_CA_FILE"),
                identity: certificate.zip(key).map(|(certificate, key)| [certificate, key]),
            },
            ..Tls::default()
        })
    }
}

fn final_status(text: &str) -> Result<ForeignStatus> {
    text.trim().parse()
}

fn sentinel_address(text: &str) -> Result<Address> {
    Address::parse_with_default_port(text.trim(), Address::DEFAULT_SENTINEL_PORT)
}

/// Empty is absent.
fn present(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn file(path: Option<&PathBuf>, setting: &'static str) -> Option<SettingFile> {
    path.filter(|path| !path.as_os_str().is_empty())
        .map(|path| SettingFile {
            path: path.clone(),
            setting,
        })
}

/// From the environment: read here and not by clap, which would print it in --help.
fn password(variable: &str) -> Option<Secret> {
    let password = std::env::var(variable).ok();
    password.filter(|password| !password.is_empty()).map(Secret::new)
}

/// Reads each file once, so that one that cannot be read is refused at the start and not at the first job.
fn check_files(server: &Server) -> Result<()> {
    let sentinel = server.sentinel.as_ref().map(|sentinel| &sentinel.login_files);
    for files in [Some(&server.login_files), sentinel].into_iter().flatten() {
        if let Some(username) = &files.username {
            username.read_line_if_exists()?;
        }
        if let Some(password) = &files.password {
            password.read_line()?;
        }
    }
    let tls = server.tls.iter().flat_map(|tls| &tls.files.ca);
    let identity = server
        .tls
        .iter()
        .flat_map(|tls| tls.files.identity.iter().flatten());
    tls.chain(identity).try_for_each(|file| file.read().map(drop))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        redis: RedisArgs,
    }

    fn resolve(arguments: &[&str]) -> Result<(Server, Queue)> {
        Program::try_parse_from([&["program"], arguments].concat())
            .map_err(|err| Error::Config(err.to_string()))?
            .redis
            .resolve()
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Program as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_queue_is_the_originals_unless_told_otherwise() {
        let (server, queue) = resolve(&["--redis-address", "redis"]).unwrap();
        assert_eq!(server.address.to_string(), "redis:6379");
        assert_eq!(queue, Queue::new("queue".parse().unwrap()));
        let other = [
            "--redis-address",
            "redis",
            "--queue",
            "other",
            "--queue-db",
            "0",
            "--jobs-db",
            "0",
        ];
        let (_, queue) = resolve(&other).unwrap();
        assert_eq!(
            (queue.name.as_str(), queue.queue_db, queue.jobs_db),
            ("other", 0, 0)
        );
    }

    #[test]
    fn queue_is_told_how_other_programs_speak_on_it() {
        let resolved = |words: &str| {
            let told = ["--redis-address", "redis", "--queue-serializer", "json"];
            resolve(&[&told[..], &["--foreign-final-statuses", words]].concat())
        };
        let (_, queue) = resolved("finished, done,finished").unwrap();
        assert_eq!(queue.serializer, Serializer::Json);
        let words: Vec<_> = queue.final_statuses.iter().map(ForeignStatus::as_str).collect();
        assert_eq!(words, ["done", "finished"]);
        for ours in ["complete", "failed", "submitted", "in progress", "cancelled"] {
            let refused = resolved(ours).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{ours:?} is a status of workerpool's own")),
                "{refused}"
            );
        }
        for bad in [&"x".repeat(65), "a\nb"] {
            assert!(resolved(bad).unwrap_err().to_string().contains("is no status"));
        }
        let many: Vec<_> = (0..17).map(|n| format!("w{n}")).collect();
        assert!(
            resolved(&many.join(","))
                .unwrap_err()
                .to_string()
                .contains("16 at most")
        );
        let refused = resolve(&["--redis-address", "redis", "--queue-serializer", "yaml"]);
        assert!(refused.unwrap_err().to_string().contains("pickle, json or none"));
    }

    #[test]
    fn the_originals_name_for_the_address_still_works() {
        assert_eq!(
            resolve(&["--redis-ip", "10.0.0.1"]).unwrap().0.address.host,
            "10.0.0.1"
        );
        let both = ["--redis-ip", "10.0.0.1", "--redis-address", "redis"];
        assert_eq!(resolve(&both).unwrap().0.address.host, "redis");
    }

    #[test]
    fn sentinels_take_the_addresss_place() {
        let sentinels = [
            "--redis-address",
            "redis",
            "--redis-sentinels",
            "a,b:26380",
            "--redis-master-name",
            "jobs",
            "--redis-sentinel-username",
            "watcher",
        ];
        let sentinel = resolve(&sentinels).unwrap().0.sentinel.unwrap();
        let addresses: Vec<_> = sentinel.addresses.iter().map(Address::to_string).collect();
        assert_eq!(addresses, ["a:26379", "b:26380"]);
        assert_eq!(
            (sentinel.master.as_str(), sentinel.username.as_deref()),
            ("jobs", Some("watcher"))
        );
    }

    #[test]
    fn sentinels_come_with_their_masters_name() {
        let refused = resolve(&["--redis-sentinels", "a:26379"])
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--redis-master-name"), "{refused}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let refused = resolve(&[
            "--redis-address",
            "redis",
            "--redis-password-file",
            "/no/such/file",
        ]);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("/no/such/file"), "{refused}");
        assert!(refused.contains("WORKERPOOL_REDIS_PASSWORD_FILE"), "{refused}");
    }

    #[test]
    fn username_file_that_does_not_exist_means_no_name() {
        let arguments = [
            "--redis-address",
            "redis",
            "--redis-username-file",
            "/no/such/file",
        ];
        let (server, _) = resolve(&arguments).unwrap();
        let file = server.login_files.username.unwrap();
        assert_eq!(file.read_line_if_exists(), Ok(None));
    }

    #[test]
    fn empty_username_is_absent() {
        let (server, _) = resolve(&["--redis-address", "redis", "--redis-username", ""]).unwrap();
        assert_eq!(server.username, None);
    }

    #[test]
    fn server_name_comes_with_tls() {
        let named = ["--redis-address", "redis", "--redis-tls-server-name", "cache"];
        let refused = resolve(&named).unwrap_err().to_string();
        assert!(refused.contains("--redis-tls"), "{refused}");
        let (server, _) = resolve(&[&named[..], &["--redis-tls"]].concat()).unwrap();
        assert_eq!(server.tls.unwrap().server_name.as_deref(), Some("cache"));
    }

    #[test]
    fn empty_password_file_is_absent() {
        let file = std::env::temp_dir().join(format!("empty-password-{}", std::process::id()));
        std::fs::write(&file, "\n").unwrap();
        let path = file.to_str().unwrap();
        let settings = ["--redis-address", "redis", "--redis-password-file", path];
        let password = resolve(&settings).map(|(server, _)| server.login_files.password);
        let line = password.unwrap().unwrap().read_line();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(line, Ok(None));
    }

    #[test]
    fn a_client_certificate_comes_with_its_key() {
        let half = [
            "--redis-address",
            "redis",
            "--redis-tls",
            "--redis-cert-file",
            "/no/such/file",
        ];
        assert!(
            resolve(&half)
                .unwrap_err()
                .to_string()
                .contains("--redis-key-file")
        );
    }
}
