//! Programs of the Python world that the tests use, each in a place of its own beside what cargo builds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The directory with the programs of an environment that has these packages, one requirement a line. Made once.
///
/// # Panics
/// When it cannot be made; the text says what is missing.
pub fn programs(name: &str, requirements: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().expect("nobody panics here");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let complete = place.join("complete");
    // Written last, so that one that was begun and not finished is made anew, as is one of other versions.
    if std::fs::read_to_string(&complete).ok().as_deref() != Some(requirements) {
        // It may not be there.
        let _ = std::fs::remove_dir_all(&place);
        run(Command::new("python3").args(["-m", "venv"]).arg(&place), "Debian has it in the package python3-venv");
        let wanted = place.join("requirements.txt");
        std::fs::write(&wanted, requirements).expect("write the requirements");
        let mut install = Command::new(place.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
        run(&mut install, "the packages come from PyPI");
        std::fs::write(&complete, requirements).expect("write what it has");
    }
    place.join("bin")
}

fn run(command: &mut Command, help: &str) {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|cause| panic!("{command:?}: {cause}; {help}"));
    assert!(done.status.success(), "{command:?}: {}; {help}", String::from_utf8_lossy(&done.stderr));
}
