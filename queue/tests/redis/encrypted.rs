//! TLS, with an authority of one's own and with client certificates.

use queue::{
    Address, Error, NewJob, Producer, Queue, Server, Tls,
    test_server::{Certificates, RedisServer},
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
            identity: None,
        },
    )
    .await;
    assert!(matches!(refused, Err(Error::Tls { .. })), "{refused:?}");
}
