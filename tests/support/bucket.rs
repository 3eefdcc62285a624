//! A bucket of an S3 service, as far as a server that keeps files in one asks for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Objects = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Default)]
struct Kept {
    objects: Objects,
    /// Parts by number, of what comes in parts.
    parts: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    begun: usize,
    broken: bool,
}

/// The service, for as long as this is kept.
#[derive(Debug)]
pub struct Bucket {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bucket {
    /// Starts it, with nothing in it.
    pub async fn start() -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&kept), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Bucket { address, kept, serving }
    }

    /// As the setting has it.
    pub fn url(&self) -> String {
        format!("s3://a-key:a%2Fsecret@files/of-duet?endpoint=http://{}", self.address)
    }

    /// The keys of what is there.
    pub fn keys(&self) -> Vec<String> {
        self.kept.lock().expect("whole").objects.keys().cloned().collect()
    }

    /// From now on it answers everything with a fault of its own, or does not.
    pub fn break_down(&self, broken: bool) {
        self.kept.lock().expect("whole").broken = broken;
    }
}

async fn answer(kept: Arc<Mutex<Kept>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let signed = head.headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256"));
    let key = head.uri.path().trim_start_matches("/files").trim_start_matches('/').to_owned();
    let mut kept = kept.lock().expect("whole");
    let mut response = if kept.broken {
        told(StatusCode::SERVICE_UNAVAILABLE, "<Error/>")
    } else if !signed {
        told(StatusCode::FORBIDDEN, "<Error/>")
    } else {
        let range = head.headers.get(RANGE).and_then(|value| value.to_str().ok());
        kept.answer(&head.method, key, &query, range, &body)
    };
    response.headers_mut().insert(ETAG, "\"a-tag\"".parse().expect("a header"));
    response.headers_mut().insert(LAST_MODIFIED, "Thu, 26 Nov 2026 00:00:00 GMT".parse().expect("a header"));
    Ok(response)
}

fn told(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(text.to_owned())).expect("an answer")
}

impl Kept {
    fn answer(
        &mut self,
        method: &Method,
        key: String,
        query: &BTreeMap<String, String>,
        range: Option<&str>,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let (done, upload) = (told(StatusCode::OK, ""), query.get("uploadId").cloned());
        match (method.as_str(), upload) {
            ("POST", None) if query.contains_key("uploads") => {
                self.begun += 1;
                let id = self.begun.to_string();
                self.parts.insert(id.clone(), BTreeMap::new());
                let name = "InitiateMultipartUploadResult";
                told(StatusCode::OK, &format!("<{name}><UploadId>{id}</UploadId></{name}>"))
            }
            ("PUT", Some(upload)) => {
                let number = query["partNumber"].parse().expect("a number");
                self.parts.get_mut(&upload).expect("it was begun").insert(number, body.to_vec());
                done
            }
            ("POST", Some(upload)) => {
                let parts = self.parts.remove(&upload).expect("it was begun");
                self.objects.insert(key, parts.into_values().flatten().collect());
                let name = "CompleteMultipartUploadResult";
                told(StatusCode::OK, &format!("<{name}><ETag>\"a-tag\"</ETag></{name}>"))
            }
            ("DELETE", Some(upload)) => {
                self.parts.remove(&upload);
                done
            }
            ("POST", None) if query.contains_key("delete") => {
                let text = String::from_utf8_lossy(body).into_owned();
                let keys = text.split("<Key>").skip(1).map(|part| part.split("</Key>").next().unwrap_or_default());
                let one = |key: &str| format!("<Deleted><Key>{key}</Key></Deleted>");
                let deleted: String = keys.inspect(|key| drop(self.objects.remove(*key))).map(one).collect();
                told(StatusCode::OK, &format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            ("PUT", None) => {
                self.objects.insert(key, body.to_vec());
                done
            }
            ("DELETE", None) => {
                self.objects.remove(&key);
                done
            }
            ("GET", None) if query.contains_key("list-type") => told(StatusCode::OK, &self.list()),
            _ => match self.objects.get(&key) {
                Some(bytes) => part(bytes, range),
                None => told(StatusCode::NOT_FOUND, "<Error/>"),
            },
        }
    }

    fn list(&self) -> String {
        let one = |(key, bytes): (&String, &Vec<u8>)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-26T00:00:00.000Z</LastModified>\
                 <ETag>\"a-tag\"</ETag><Size>{}</Size></Contents>",
                bytes.len()
            )
        };
        let all: String = self.objects.iter().map(one).collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{all}</ListBucketResult>")
    }
}

fn part(bytes: &[u8], range: Option<&str>) -> Response<Full<Bytes>> {
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, to)) = wanted else {
        return Response::new(Full::from(bytes.to_vec()));
    };
    let from: usize = from.parse().expect("a number");
    let end = to.parse::<usize>().map_or(bytes.len(), |to| to + 1).min(bytes.len());
    let told = format!("bytes {from}-{}/{}", end - 1, bytes.len());
    let response = Response::builder().status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, told);
    response.body(Full::from(bytes[from..end].to_vec())).expect("an answer")
}
