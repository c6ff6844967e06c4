//! `examples/toy.rs` as a process of its own, on a free port.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

/// The running example.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts it, and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        // cargo puts examples beside the folder of test binaries.
        let path = env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join("toy");
        assert!(path.exists(), "{} is missing; `cargo test -p dataplane` builds it", path.display());
        let mut child = Command::new(path)
            .args(["--host", "127.0.0.1", "--http-port", "0", "--model-name", "toy"])
            .args(arguments)
            .env("INFERENCE_SERVICE_NAME", "shop")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let first = lines.recv().expect("it ended before it listened");
        let listening: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        assert_eq!(listening["message"], "listening", "{first}");
        let url = format!("http://{}", listening["rest"].as_str().unwrap());
        Self { child, url, lines }
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end: its exit code, and what it logged since it listened.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<Value>) {
        let status = self.child.wait().unwrap();
        let lines = self.lines.iter();
        (status.code(), lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that passed has waited for the end already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
