//! Completions.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::program::holdfast;

#[tokio::test]
async fn every_shell_gets_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = holdfast(&[], &["completions", shell]).await;
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{shell}");
        for word in ["closure", "ledger", "quota-seconds"] {
            assert!(run.stdout.contains(word), "{shell}: {word}");
        }
    }
    let run = holdfast(&[], &["completions", "bash", "--json"]).await;
    let told: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(told["shell"], "bash");
    let run = holdfast(&[], &["completions", "tcsh"]).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("possible values: bash"), "{run:?}");
}

#[tokio::test]
async fn bash_completes_with_it() {
    let script = holdfast(&[], &["completions", "bash"]).await.stdout;
    let asked = r#"
        COMP_WORDS=(holdfast server clo); COMP_CWORD=2
        _holdfast holdfast clo server
        echo "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash")
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash is there");
    let mut stdin = bash.stdin.take().expect("piped");
    stdin.write_all((script + asked).as_bytes()).await.expect("it reads");
    drop(stdin);
    let done = bash.wait_with_output().await.expect("it ends");
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "close closure");
}
