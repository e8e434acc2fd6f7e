//! TLS, with an authority of one's own and with client certificates.

use queue::{
    Address, Error, NewJob, Producer, Queue, Server, Tls,
    test_server::{Certificates, RedisServer, Sentinels},
};

use crate::{common::documented_rights, round::whole_way};

fn server(certificates: &Certificates, clients_need_certificates: bool) -> RedisServer {
    RedisServer::builder()
        .tls(certificates, clients_need_certificates)
        .unwrap()
        .start()
        .unwrap()
}

async fn submit(port: u16, tls: Tls) -> Result<(), Error> {
    let server = Server {
        tls: Some(tls),
        ..Server::new(Address {
            host: "localhost".to_owned(),
            port,
        })
    };
    let queue = Queue::new("queue".parse().unwrap());
    Producer::new(&server, queue)?
        .submit(NewJob::new("a", "b"))
        .await
        .map(drop)
}

#[tokio::test]
async fn a_server_signed_by_ones_own_authority_is_trusted_and_by_another_is_not() {
    let certificates = Certificates::new().unwrap();
    let redis = server(&certificates, false);
    submit(redis.port(), certificates.trust().unwrap()).await.unwrap();

    for tls in [Tls::default(), Certificates::new().unwrap().trust().unwrap()] {
        let refused = submit(redis.port(), tls).await;
        assert!(matches!(refused, Err(Error::Tls { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let certificates = Certificates::new().unwrap();
    let redis = server(&certificates, true);
    submit(redis.port(), certificates.trust_and_identity().unwrap())
        .await
        .unwrap();
    let refused = submit(redis.port(), certificates.trust().unwrap()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn every_face_shows_its_certificate_and_logs_in_as_the_user_that_the_docs_name() {
    let certificates = Certificates::new().unwrap();
    let rights = documented_rights();
    let rights: Vec<_> = rights.iter().map(String::as_str).collect();
    let redis = RedisServer::builder()
        .tls(&certificates, true)
        .unwrap()
        .user("workerpool", "secret", &rights)
        .start()
        .unwrap();
    whole_way(&redis.server()).await;
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_before_anything_is_sent() {
    let refused = submit(
        1,
        Tls {
            ca: Some("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n".to_owned()),
            ..Tls::default()
        },
    )
    .await;
    assert!(matches!(refused, Err(Error::Tls { .. })), "{refused:?}");
}

fn named(server: Server, name: &str) -> Server {
    let tls = server.tls.clone().unwrap();
    Server {
        tls: Some(Tls {
            server_name: Some(name.to_owned()),
            ..tls
        }),
        ..server
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_refused_with_that_name_and_the_setting() {
    let certificates = Certificates::new().unwrap();
    let redis = RedisServer::builder()
        .tls(&certificates, false)
        .unwrap()
        .settings(&["--bind", "127.0.0.2"])
        .start()
        .unwrap();
    // The certificate is good for `localhost` and 127.0.0.1.
    let mut elsewhere = redis.server();
    elsewhere.address.host = "127.0.0.2".to_owned();
    let ping = async |server: &Server| {
        let queue = Queue::new("queue".parse().unwrap());
        Producer::new(server, queue).unwrap().ping().await
    };
    for (server, checked) in [
        (elsewhere.clone(), "127.0.0.2"),
        (named(elsewhere.clone(), "redis.team.svc"), "redis.team.svc"),
    ] {
        let refused = ping(&server).await.unwrap_err();
        assert!(matches!(refused, Error::Tls { .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains(&format!("for the name {checked:?}")), "{text}");
        for setting in ["WORKERPOOL_REDIS_TLS_SERVER_NAME", "spec.redis.tls.serverName"] {
            assert!(text.contains(setting), "{text}");
        }
    }
    ping(&named(elsewhere, "localhost")).await.unwrap();
}

#[tokio::test]
async fn server_name_holds_for_sentinels_too() {
    let certificates = Certificates::new().unwrap();
    let builder = RedisServer::builder().tls(&certificates, false).unwrap();
    let trio = Sentinels::start_of(&builder).unwrap();
    let queue = Queue::new("queue".parse().unwrap());
    let good = named(trio.server(), "localhost");
    Producer::new(&good, queue.clone()).unwrap().ping().await.unwrap();
    let bad = named(trio.server(), "redis.team.svc");
    let refused = Producer::new(&bad, queue).unwrap().ping().await.unwrap_err();
    assert!(refused.to_string().contains("redis.team.svc"), "{refused}");
}
