//! The examples, each as a process of its own, on free ports; `toy` is the one that most tests take.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use serde_json::Value;

const FREE_PORTS: [&str; 4] = ["--host", "127.0.0.1", "--http-port", "0"];
const TOY: [&str; 6] = ["--host", "127.0.0.1", "--http-port", "0", "--model-name", "toy"];

/// An HTTP client. Another crate of the workspace may ask reqwest for TLS, and then a client is not to be had without cryptography.
pub(crate) fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

fn program(example: &str) -> PathBuf {
    // cargo puts examples beside the folder of test binaries.
    let path = env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join(example);
    assert!(path.exists(), "{} is missing; `cargo test -p dataplane` builds it", path.display());
    path
}

/// The running example.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    /// What it logged before it listened.
    pub(crate) before: Vec<Value>,
    listening: Value,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts it, and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(Command::new(program("toy")).args(TOY).args(arguments))
    }

    /// Starts it, and waits only until it loads its model.
    pub(crate) fn loading(arguments: &[&str]) -> Self {
        let starting = Self::spawn(Command::new(program("toy")).args(TOY).args(arguments));
        starting.until_logged("loading");
        starting
    }

    /// As [`Process::start`], with these variables in its environment.
    pub(crate) fn start_among(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::of(Command::new(program("toy")).args(TOY).args(arguments).envs(variables.iter().copied()))
    }

    /// Starts another example, and waits until it says where it listens.
    pub(crate) fn example(name: &str, arguments: &[&str]) -> Self {
        Self::of(Command::new(program(name)).args(FREE_PORTS).args(arguments))
    }

    /// As [`Process::start`], with so many file descriptors.
    pub(crate) fn start_with_descriptors(count: u32, arguments: &[&str]) -> Self {
        let limited = format!("ulimit -n {count}; exec \"$0\" \"$@\"");
        Self::of(Command::new("sh").args(["-c", &limited]).arg(program("toy")).args(TOY).args(arguments))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env("INFERENCE_SERVICE_NAME", "shop")
            .env("HEMLINE_GRPC_PORT", "0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, url: String::new(), before: Vec::new(), listening: Value::Null, lines }
    }

    fn of(command: &mut Command) -> Self {
        let mut process = Self::spawn(command);
        loop {
            let line = process.lines.recv().expect("it ended before it listened");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if line["message"] == "listening" {
                process.url = format!("http://{}", line["rest"].as_str().unwrap());
                process.listening = line;
                return process;
            }
            process.before.push(line);
        }
    }

    /// How it refuses to start: its exit code and its one line.
    pub(crate) fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
        let ended =
            Command::new(program("toy")).args(TOY).args(arguments).env("HEMLINE_GRPC_PORT", "0").output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }

    /// How another example refuses to start.
    pub(crate) fn refusal_of(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let ended = Command::new(program(name)).args(FREE_PORTS).args(arguments).output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }

    /// Where it listens with this listener: `rest`, `grpc`, `uds` or `admin`.
    pub(crate) fn address(&self, listener: &str) -> Option<&str> {
        self.listening.get(listener)?.as_str()
    }

    /// Waits until it logs this message; that line.
    pub(crate) fn until_logged(&self, message: &str) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.lines.recv().expect("it ended")).unwrap();
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
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
