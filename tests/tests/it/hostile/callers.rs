//! Requests that are unusual, huge, or made to confuse.

use picloud_tests::Reply;

use super::raw::{connect, exchange, get, rest, statuses};
use super::target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_the_target() {
    let app = target().await;
    let absolute = get(&app, &format!("http://{}/default/neighbour", app.address));
    let answer = exchange(&app, format!("{absolute}connection: close\r\n\r\n").as_bytes()).await;
    assert!(statuses(&answer) == [200] && answer.ends_with("\r\n\r\n42"), "{answer}");
    for (line, status) in [
        ("OPTIONS * HTTP/1.1", 404),
        ("CONNECT example.org:443 HTTP/1.1", 421),
        ("GET /default/neighbour/../../../etc/passwd HTTP/1.1", 200),
        ("GET //default/neighbour HTTP/1.1", 404),
        ("GET /default//neighbour HTTP/1.1", 404),
        ("BREW /default/neighbour HTTP/1.1", 200),
        ("GET /default/neighbour#fragment HTTP/1.1", 200),
        ("TRACE / HTTP/1.1", 404),
    ] {
        let request = format!("{line}\r\nhost: {}\r\nconnection: close\r\n\r\n", app.address);
        let answer = exchange(&app, request.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{line}: {answer}");
        assert_eq!(answer.contains("\"route-not-found\""), status == 404, "{line}: {answer}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads() {
    let app = target().await;
    app.deploy("count", "fn handle(req) { [req.path.len, req.query.len(), req.headers.len()] }").await;
    let query = (0..10_000).map(|n| format!("{n}=")).collect::<Vec<_>>().join("&");
    let reply = app.get(&format!("/default/count?{query}")).await;
    assert_eq!((reply.status, &reply.json()[1]), (200, &10_000.into()), "{}", reply.status);
    let reply = app.get(&format!("/default/count?{}", "a=1&".repeat(15_000))).await;
    assert_eq!((reply.status, &reply.json()[1]), (200, &1.into()));
    let reply = app.get(&format!("/default/count/{}", "a".repeat(60_000))).await;
    assert_eq!((reply.status, &reply.json()[0]), (200, &60_001.into()));

    let long = format!("/default/count/{}", "a".repeat(70_000));
    let answer = exchange(&app, format!("{}\r\n", get(&app, &long)).as_bytes()).await;
    assert_eq!(statuses(&answer), [414], "{answer}");
    for headers in ["x: y\r\n".repeat(200), format!("x: {}\r\n", "y".repeat(1 << 20))] {
        let request = format!("{}{headers}\r\n", get(&app, "/default/count"));
        let answer = exchange(&app, request.as_bytes()).await;
        assert!(statuses(&answer).iter().all(|status| *status == 431), "{answer}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_limit() {
    let app = target().await;
    app.deploy("length", "fn handle(req) { req.blob.len }").await;
    assert_eq!(app.post("/default/length", vec![0; 1 << 20]).await.text(), "1048576");
    app.post("/default/length", vec![0; (1 << 20) + 1]).await.assert_problem(413, "body-too-large");
    let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 32 << 10]));
    let endless = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let reply = Reply::try_of(app.request("POST", "/default/length").body(endless)).await;
    if let Ok(reply) = reply {
        reply.assert_problem(413, "body-too-large");
    }
    // A length alone is enough to be refused, and to be no reason to wait.
    let request = format!(
        "POST /default/length HTTP/1.1\r\nhost: {}\r\ncontent-length: 9999999999\r\n\r\n",
        app.address
    );
    let answer = exchange(&app, request.as_bytes()).await;
    assert!(statuses(&answer) == [413] && answer.contains("\"body-too-large\""), "{answer}");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_contradict_each_other() {
    let app = target().await;
    app.deploy("length", "fn handle(req) { req.blob.len }").await;
    let head = format!("POST /default/length HTTP/1.1\r\nhost: {}\r\n", app.address);
    for (rest, expected) in [
        ("content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef", 400),
        ("content-length: -1\r\n\r\n", 400),
        ("content-length: +5\r\n\r\nabcde", 400),
        ("content-length: 99999999999999999999999\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\n5\r\nabc", 400),
        ("transfer-encoding: gzip, identity\r\n\r\n5\r\nabcde", 400),
        ("content-length: 10\r\n\r\nabc", 400),
    ] {
        let answer = exchange(&app, format!("{head}{rest}").as_bytes()).await;
        assert_eq!(statuses(&answer), [expected], "{rest:?}: {answer}");
    }
    // The chunks count; what a proxy in front may have taken for the body by its length is no second request.
    let both = format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    let answer =
        exchange(&app, format!("{both}GET /default/neighbour HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    assert!(statuses(&answer).len() <= 1, "{answer}");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let app = target().await;
    app.deploy("number", "fn handle(req) { `<${req.path}>` }").await;
    app.deploy("odd", "fn handle(req) { response(req.query.s.parse_int(), \"a body where none may be\") }")
        .await;
    let mut requests = String::new();
    let mut expected = Vec::new();
    for n in 0..50 {
        requests += &format!("{}\r\n", get(&app, &format!("/default/number/{n}")));
        expected.push(200);
    }
    for status in [204, 205, 304] {
        requests += &format!("{}\r\n", get(&app, &format!("/default/odd?s={status}")));
        requests += &format!("HEAD /default/number/h HTTP/1.1\r\nhost: {}\r\n\r\n", app.address);
        requests += &format!("{}\r\n", get(&app, &format!("/default/number/after-{status}")));
        expected.extend([status, 200, 200]);
    }
    requests += &format!("{}connection: close\r\n\r\n", get(&app, "/default/number/last"));
    expected.push(200);
    let mut stream = connect(&app).await;
    stream.write_all(requests.as_bytes()).await.unwrap();
    let answer = rest(stream).await;
    assert_eq!(statuses(&answer), expected, "{answer}");
    let order: Vec<_> = answer.match_indices("</").map(|(at, _)| at).collect();
    assert_eq!(order.len(), 50 + 3 + 1);
    assert!(answer.find("</7>") < answer.find("</8>") && answer.ends_with("</last>"), "{answer}");
    app.assert_healthy().await;
}

/// One request in HTTP/2 as it is on the wire, with no upgrade before it.
#[tokio::test(flavor = "multi_thread")]
async fn http_2_with_prior_knowledge() {
    let app = target().await;
    let authority = app.address.to_string();
    // HPACK: `:method GET` and `:scheme http` from the static table, `:path` and `:authority` as literals.
    let mut headers = vec![0x82, 0x86, 0x04, 18];
    headers.extend(b"/default/neighbour");
    headers.extend([0x01, u8::try_from(authority.len()).unwrap()]);
    headers.extend(authority.as_bytes());
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend([0, 0, u8::try_from(headers.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend(headers);
    let mut stream = connect(&app).await;
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(11).any(|frame| frame == b"\0\0\x02\0\x01\0\0\0\x0142") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "closed after {answer:?}");
        answer.extend_from_slice(&buffer[..count]);
    }
    // A frame that is larger than agreed, and nonsense, end this connection and no other.
    stream.write_all(&[0xff; 4096]).await.unwrap();
    rest(stream).await;
    app.assert_healthy().await;
}
