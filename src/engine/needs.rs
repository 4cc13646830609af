//! What the inputs of a batch need loaded.

use crate::domain::bounds;
use crate::domain::input::{Action, Command, Input};
use crate::store::needs::Needs;

pub(super) fn of<'a>(inputs: impl Iterator<Item = &'a Input>) -> Needs {
    let mut needs = Needs::default();
    for input in inputs {
        match input {
            Input::WakeUp(wake_up) if wake_up.is_last_hop() => {
                needs.due = needs.due.max(Some(wake_up.due_at));
            }
            Input::WakeUp(_) => {}
            Input::Command(command) => add(&mut needs, command),
            Input::Fence(fence) => {
                needs.servers.insert(fence.server.clone());
            }
            Input::Cancel(request) => {
                needs.reservations.insert(request.reservation);
            }
            Input::Rotate(request) => {
                needs.reservations.insert(request.reservation);
            }
            Input::Close(closing) => {
                needs.reservations.insert(closing.reservation);
            }
        }
    }
    needs
}

fn add(needs: &mut Needs, command: &Command) {
    let (terminal, server) = (&command.terminal, &command.server);
    needs.terminals.insert(terminal.clone());
    needs.servers.insert(server.clone());
    needs.message_ids.push((terminal.clone(), command.message_id.clone()));
    match &command.action {
        Action::Request(interval) => {
            needs.requesting.insert(terminal.clone());
            // Longer ones are refused without reading the calendar.
            if interval.seconds() <= *bounds::LENGTH_SECONDS.end() {
                needs.quota.push((terminal.clone(), *interval));
                needs.windows.entry(server.clone()).or_default().push(*interval);
            }
        }
        Action::Reconfirm(id) | Action::Withdraw(id) => {
            needs.reservations.insert(*id);
        }
    }
}
