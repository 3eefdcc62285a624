//! An authority of one's own, and a certificate from it for servers on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::private::directory;

/// An authority. What it made lies in a directory that goes with it.
#[derive(Debug)]
pub struct Authority {
    home: TempDir,
}

impl Authority {
    /// Makes one, with a key and a certificate for 127.0.0.1.
    pub fn make() -> Authority {
        let authority = Authority { home: directory("certificates") };
        authority.issue("root", &["-subj", "/CN=an authority of the tests"]);
        let (root, key) = (authority.text("root.pem"), authority.text("root.key"));
        authority.issue(
            "server",
            &[
                ["-CA", &root, "-CAkey", &key],
                ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
                ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"],
            ]
            .concat(),
        );
        authority
    }

    fn issue(&self, name: &str, more: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.arg("-keyout").arg(self.file(&format!("{name}.key")));
        openssl.arg("-out").arg(self.file(&format!("{name}.pem"))).args(more);
        let output = openssl.stdin(Stdio::null()).output().expect("run openssl");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What those read who are to trust the authority.
    pub fn root(&self) -> PathBuf {
        self.file("root.pem")
    }

    /// The certificate of a server, and its key.
    pub fn certificate(&self) -> [PathBuf; 2] {
        [self.file("server.pem"), self.file("server.key")]
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).to_string_lossy().into_owned()
    }
}
