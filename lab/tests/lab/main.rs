//! Tests of the programs that exercise Holdfast; run them with `./dev test`, which starts the engines.

mod chaos;
mod sabotage;
