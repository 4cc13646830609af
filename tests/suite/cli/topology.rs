//! Taking the topology off the broker, and bringing it back.

use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{partition_queue, reply_queue};

use super::{operator, silent_terminal};
use crate::support::program::Transcript;
use crate::support::stack::{DELAY_LEVELS, Stack};
use crate::support::{engines, facts};

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_removed_when_nothing_uses_it_and_can_be_applied_again() {
    let stack = Stack::new().await;
    stack.server("cam", &[("capacity", &9i32)]).await;
    let (account, amqp_url) = silent_terminal(&stack).await;
    let mut terminal = Transcript::new(&[("AMQP_URL", amqp_url.as_str())]);
    let mut operator = operator(&stack);
    // Nothing is declared in another way than it was.
    operator.run("topology apply", 0).await;
    operator.run("topology remove", 4).await;

    // A command that nobody has read yet.
    let request = "client request --server cam --start +2d --end +3d";
    terminal.run(&format!("{request} --timeout 1"), 5).await;
    let (partition, replies) = (partition_queue(0), reply_queue(&account));
    facts::until("it is counted", async || stack.depth(&partition).await == (1, 0)).await;
    operator.run("topology remove --yes", 4).await;
    operator.run("topology remove --yes --json", 4).await;
    // A worker, and an answer that nobody has read yet.
    let mut worker = stack.worker();
    facts::until("it is answered", async || stack.depth(&replies).await.0 == 1).await;
    let ladder = level_name(DELAY_LEVELS - 1);
    facts::until("its wake-up is sent", async || stack.depth(&ladder).await.0 == 1).await;
    let used = operator.run("topology remove --yes", 4).await;
    assert!(used.stdout.contains(&format!("{partition}: messages 0, consumers 1")), "{used:?}");
    assert!(used.stdout.contains(&format!("{replies}: messages 1, consumers 0")), "{used:?}");
    assert!(worker.stop().await.success());

    operator.run("topology remove --yes --force", 0).await;
    operator.run("topology remove --yes", 0).await;
    operator.run("topology verify", 3).await;
    operator.run("topology apply", 0).await;
    operator.run("topology apply", 0).await;
    operator.run("topology verify", 0).await;
    let mut worker = stack.worker();
    terminal.run(&format!("{request} --timeout 60"), 0).await;
    assert!(worker.stop().await.success());
    operator.run("topology remove --force --json", 4).await;
    operator.run("topology remove --force --yes --json", 0).await;
    operator.check("topology_remove");
    engines::drop_account(&account).await;
    stack.finish().await;
}
