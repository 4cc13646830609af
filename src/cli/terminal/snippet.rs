//! An example terminal in Python.

use crate::domain::id::TerminalId;

/// Placeholder while there is no server.
const NO_SERVER: &str = "gpu-1";

/// A Python program that requests a server for an hour in two days and prints the answer. It reads
/// the URL from the environment, so it contains no secret.
pub(super) fn python(terminal: &TerminalId, server: Option<&str>) -> String {
    let server = server.unwrap_or(NO_SERVER);
    format!(
        r#"# A terminal in Python. Save it as terminal.py, then:
#   pip install pika
#   export AMQP_URL='<the URL above>'
#   python3 terminal.py
import datetime, json, os, uuid
import pika

TERMINAL, SERVER = "{terminal}", "{server}"
now = datetime.datetime.now(datetime.timezone.utc)
start = now.replace(minute=0, second=0, microsecond=0) + datetime.timedelta(days=2)
end = start + datetime.timedelta(hours=1)
request = {{"start_at": start.isoformat(), "end_at": end.isoformat()}}

connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()  # publishing waits for the broker, and fails if there is no such server
message_id = str(uuid.uuid4())  # without an answer, send the same again under the same id
properties = pika.BasicProperties(
    user_id=TERMINAL, message_id=message_id, content_type="application/json")
channel.basic_publish(
    "reservation.commands.v2", TERMINAL + ".request." + SERVER, json.dumps(request), properties,
    mandatory=True)

for method, properties, body in channel.consume("reservation.replies.v1." + TERMINAL):
    print(properties.type, body.decode())
    channel.basic_ack(method.delivery_tag)
    if properties.correlation_id == message_id:
        break
connection.close()"#
    )
}
