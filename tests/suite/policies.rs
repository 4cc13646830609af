//! What others set up on the broker: policies over our queues and exchanges, and queues on our exchanges.

mod bills;
mod verify;
