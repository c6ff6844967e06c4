//! The page's own files and pictures, and the headers that keep the page safe.

use std::fs;

use crate::{
    shop::{INDEX, SCRIPT, Shop, client},
    transformer::Transformer,
};

const AWAY: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_the_one_page_and_others_are_not_found() {
    let shop = Shop::start(AWAY, &[]);
    for path in ["/", "/stylist", "/interactions", "/under-the-hood", "/stylist?request=x"] {
        let answer = shop.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, INDEX), "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
    let missing = shop.get("/nothing").await;
    assert_eq!((missing.status.as_u16(), missing.text()), (404, INDEX));
    let answer = shop.post("/", "{}").await;
    assert_eq!(answer.refusal(), (404, "unknown_route".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sent_as_callers_take_them_and_only_once() {
    let shop = Shop::start(AWAY, &[]);
    let script = "/assets/app-1a2b.js";
    for (accepted, encoding, expected) in [
        ("", "", SCRIPT),
        ("gzip, deflate, br", "br", "as brotli"),
        ("gzip", "gzip", "as gzip"),
        ("br;q=0", "", SCRIPT),
    ] {
        let answer = shop.get_with(script, &[("accept-encoding", accepted)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (200, encoding));
        assert_eq!((answer.text(), answer.header("vary")), (expected, "accept-encoding"));
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        let etag = answer.header("etag").to_owned();
        let again = shop.get_with(script, &[("accept-encoding", accepted), ("if-none-match", &etag)]).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
        let other = shop.get_with(script, &[("accept-encoding", accepted), ("if-none-match", "\"0\"")]).await;
        assert_eq!(other.status, 200);
    }
    assert_eq!(shop.get("/icon.svg").await.header("content-type"), "image/svg+xml");
    // What lies beside a file compressed is no file of its own.
    assert_eq!(shop.get("/assets/app-1a2b.js.br").await.status, 404);
    let head = client().head(format!("{}{script}", shop.url)).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &SCRIPT.len().to_string().parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_the_page_safe() {
    let transformer = Transformer::start().await.answers("/v1/rankers", 200, "{}");
    let shop = Shop::start(&transformer.url, &["--image-url=https://cdn.example.com:8443/{article_id}.jpg"]);
    for path in ["/", "/nothing", "/assets/nothing", "/images/1.jpg", "/api/rankers", "/api/nothing", "/healthz"] {
        let answer = shop.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'self'; img-src 'self' data: https://cdn.example.com:8443;"), "{policy}");
        assert!(policy.contains("style-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 36, "{path}");
    }
    assert!(shop.get("/").await.header("content-security-policy").contains("data: https"));
    let without = Shop::start(AWAY, &[]);
    assert!(without.get("/").await.header("content-security-policy").contains("img-src 'self' data:;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_from_the_folder_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("010")).unwrap();
    fs::write(folder.path().join("010/0108775015.jpg"), "a picture").unwrap();
    fs::write(folder.path().join("secret.jpg"), "a secret").unwrap();
    fs::create_dir(folder.path().join("010/0100000000.jpg")).unwrap();
    let shop = Shop::start(AWAY, &["--images", folder.path().to_str().unwrap()]);
    let answer = shop.get("/images/0108775015.jpg").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "a picture"));
    assert_eq!(answer.header("content-type"), "image/jpeg");
    assert_eq!(answer.header("cache-control"), "public, max-age=86400");
    for path in
        ["/images/0108775016.jpg", "/images/0100000000.jpg", "/images/secret.jpg", "/images/0108775015.png", "/images/"]
    {
        let answer = shop.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let without = Shop::start(AWAY, &[]);
    assert_eq!(without.get("/images/0108775015.jpg").await.refusal(), (404, "not_found".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leaves_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::start(AWAY, &["--images", folder.path().to_str().unwrap()]);
    fs::write(shop.folder.path().join("later.txt"), "s3cret").unwrap();
    for path in [
        "/images/../../../../etc/passwd",
        "/images/..%2f..%2fetc%2fpasswd",
        "/images/%2e%2e/%2e%2e/etc/passwd",
        "/images/%2e%2e%2f0108775015.jpg",
        "/images/0108775015%00.jpg",
        "/images/%ff.jpg",
        "/assets/../index.html",
        "/assets/..%2findex.html",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/app-1a2b.js%00",
        "/assets//app-1a2b.js",
        "/assets",
        "/../../etc/passwd",
        "/later.txt",
    ] {
        let answer = shop.raw(path);
        let status = answer.split(' ').nth(1).unwrap();
        assert!(matches!(status, "404" | "400"), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("s3cret"), "{path}: {answer}");
    }
}
