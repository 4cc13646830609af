//! A log that nobody takes: the worker goes on.

mod about;

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::process::Stdio;

use holdfast::client::Command;

use crate::support::facts;
use crate::support::program::{bare, ended};
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};

/// Decides, settles, and stops when told to.
async fn works_with(output: Stdio) {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker_into(output);
    let held = terminal.accepted(&server, window(68, 60)).await;
    stack.until_state(held.id, "cancelled").await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_reader_is_gone_works() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    works_with(writer.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_reader_stalls_works() {
    let (_reader, mut writer) = pipe().expect("a pipe");
    let filled = writer.try_clone().expect("a pipe");
    // The largest write that is all or nothing; the capacity is a multiple of it.
    let page = vec![b'x'; 4096];
    let capacity = 65_536;
    for _ in 0..capacity / page.len() {
        writer.write_all(&page).expect("room");
    }
    works_with(filled.into()).await;
}

/// Queries whose lines do not all fit where lines wait.
const QUERIES: usize = 1_000;

/// More than may wait: it is dropped, and counted once the reader goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_more_than_may_wait_and_works() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut worker = stack.worker_with_into(&[("RUST_LOG", "trace")], writer.into());
    let queries: Vec<Command> = (0..QUERIES).map(|_| Command::list(new_id(), None, None)).collect();
    terminal.client.send_all(&queries).await.expect("sent");
    let answered = async || terminal.first_answers().len() == QUERIES;
    facts::until("all are answered", answered).await;
    let taken = std::thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).expect("the log");
        String::from_utf8_lossy(&text).into_owned()
    });
    assert!(worker.stop().await.success());
    let text = taken.join().expect("a text");
    assert!(text.contains("lines of this log are lost"), "{} bytes", text.len());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_disk_is_full_works() {
    let full = File::options().write(true).open("/dev/full").expect("Linux");
    works_with(full.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_lines_are_counted_once_there_is_a_reader() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    // Open for both does not wait for the other end.
    let both = File::options().read(true).write(true).open(&path).expect("a fifo");
    let writer = File::options().write(true).open(&path).expect("a fifo");
    drop(both);
    let mut worker = stack.worker_into(writer.into());
    terminal.accepted(&server, window(100, 60)).await;
    let taken = std::thread::spawn(move || {
        let mut text = String::new();
        File::open(&path).expect("a fifo").read_to_string(&mut text).expect("a text");
        text
    });
    // The reader is there before the next line.
    terminal.accepted(&server, window(300, 60)).await;
    assert!(worker.stop().await.success());
    let text = taken.join().expect("a text");
    assert!(text.contains("lines of this log are lost"), "{text}");
    stack.finish().await;
}

/// The exit code is the command's, although nobody reads why.
#[tokio::test]
async fn an_error_that_nobody_reads_keeps_its_exit_code() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut command = bare(env!("CARGO_BIN_EXE_holdfast"), &[]);
    let run = ended(command.args(["migrate"]).stderr(writer).spawn().expect("it runs")).await;
    assert_eq!(run.code, 78);
}
