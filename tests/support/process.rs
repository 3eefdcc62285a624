//! A process that never outlives the tests: it ends with its owner, and where the test binary itself is killed, a guard
//! ends it.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::in_time;

/// Waits for the end of its standard input, which comes when the test binary is gone, however it went. Then ends the
/// process and removes what it kept, a disk of its own first. A stopped process must be continued to hear a signal.
const GUARD: &str = "read -r _; kill -\"$2\" \"$1\" 2>/dev/null && kill -CONT \"$1\"
    left=100
    while [ $left -gt 0 ] && [ -e \"/proc/$1/exe\" ]; do sleep 0.1; left=$((left - 1)); done
    [ -z \"$3\" ] || { umount -l \"$3/disk\" 2>/dev/null; rm -rf \"$3\"; }";

/// A process that was started here.
#[derive(Debug)]
pub struct Process {
    child: Child,
    guard: Child,
    end_by: &'static str,
}

impl Process {
    /// Starts it. It is ended by this signal; `leaves` is removed where nobody else is left to do it.
    pub fn start(command: &mut Command, end_by: &'static str, leaves: Option<&Path>) -> Process {
        let child = command.spawn().unwrap_or_else(|cause| panic!("start {command:?}: {cause}"));
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard", &child.id().to_string(), end_by]).arg(leaves.unwrap_or(Path::new("")));
        // In a group of its own, or Ctrl-C would end the guard before it has done its duty.
        std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start a guard");
        Process { child, guard, end_by }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says, where that is piped; once.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its complaints, where they are piped; once.
    pub fn errors(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Sends a signal, named as `kill` names it.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill a process");
        self.child.wait().expect("wait for a process");
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("look at a process")
    }

    /// Waits until it has ended by itself.
    pub async fn end(&mut self, what: &str) -> ExitStatus {
        in_time(what, async {
            loop {
                if let Some(status) = self.ended() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

/// Sends a signal, named as `kill` names it, to a process that was started here.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("run kill");
    assert!(sent.success(), "kill -{name} {pid}: {sent}");
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(self.end_by);
            self.signal("CONT");
        }
        // What is left undone here has no consequence: the process was told to end.
        let _ = self.child.wait();
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}
