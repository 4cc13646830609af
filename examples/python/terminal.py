"""A terminal: reserves a server, reconfirms, and prints how to connect once that is confirmed.
Whatever fails, it starts over, or can be run again: with the same --order and times, it sends the
same messages with the same ids, and gets the same answers."""
import argparse, json, logging, os, signal, sys, time, uuid
import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

PAUSES = 1, 2, 4, 8, 16  # seconds before it starts over; then it gives up
ANSWER_SECONDS = 30  # for the publisher confirm and the answer
TRACE = {"traceparent": t} if (t := os.environ.get("TRACEPARENT")) else {}  # of our caller


class Terminal:
    def __init__(self, connection, name, args):
        self.connection, self.name, self.args = connection, name, args
        self.channel, self.replies = connection.channel(), {}
        self.channel.confirm_delivery()
        self.channel.basic_consume(f"reservation.replies.v1.{name}", self.on_reply)

    def on_reply(self, channel, delivery, properties, body):
        reply, about = json.loads(body), properties.correlation_id
        if not about and reply["type"] in ("reservation.confirmed", "reservation.cancelled"):
            about = reply["reservation"]["id"]  # a notice, of a type that we know
        if about:
            self.replies.setdefault(about, reply)  # a repeat says the same
        channel.basic_ack(delivery.delivery_tag)

    def on_alarm(self, *_):
        raise TimeoutError(f"no answer in {ANSWER_SECONDS} seconds")

    def ask(self, command, body):
        key = f"{self.args.order}.{command}"
        properties = pika.BasicProperties("application/json", user_id=self.name, delivery_mode=2,
                                          message_id=key, headers=TRACE)
        signal.signal(signal.SIGALRM, self.on_alarm)
        signal.alarm(ANSWER_SECONDS)  # pika has no limit of its own for a publisher confirm
        self.channel.basic_publish("reservation.commands.v2", f"{self.name}.{command}",
                                   json.dumps(body), properties, mandatory=True)
        while not (answer := self.replies.get(key)):
            self.connection.process_data_events(time_limit=None)
        signal.alarm(0)
        if answer["type"] != "reservation.refused":
            return answer["reservation"]
        if answer["retry"] != "same_id":
            sys.exit(f"{command} refused, {answer['code']}: {answer['message']}")
        time.sleep(answer["retry_after_ms"] / 1000)
        raise TimeoutError(answer["message"])  # nothing was decided: start over

    def reserve(self):
        now = self.ask(f"request.{self.args.server}",
                       {"start_at": self.args.start, "end_at": self.args.end})
        if now["state"] == "held":  # a late booking is confirmed already
            self.ask(f"reconfirm.{self.args.server}", {"reservation": now["id"]})
        now = self.ask("show", {"reservation": now["id"]})  # as it is by now, with its access key
        while "settled_at" not in now and now["id"] not in self.replies:  # till the deadline
            self.connection.process_data_events(time_limit=None)
        now = self.replies.get(now["id"], {"reservation": now})["reservation"]
        if now["state"] == "cancelled":
            sys.exit(f"cancelled: {now['cancel_reason']}")
        print(now["connection"]["url"])


parser = argparse.ArgumentParser(description="Reserves a server, as the account in AMQP_URL.")
for name, example in ("server", "gpu-1"), ("start", "2031-05-01T18:00:00Z"), ("end", "the like"):
    parser.add_argument(name, help=example)
parser.add_argument("--order", default=str(uuid.uuid4()), help="your own id for it")
args = parser.parse_args()
broker = pika.URLParameters(os.environ.get("AMQP_URL") or parser.error("AMQP_URL is not set"))
logging.getLogger("pika").setLevel(logging.CRITICAL)  # what fails is told here
for pause in PAUSES:
    try:
        with pika.BlockingConnection(broker) as connection:
            sys.exit(Terminal(connection, broker.credentials.username, args).reserve())
    except pika.exceptions.UnroutableError:
        sys.exit(f"there is no such server as {args.server}")
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as error:
        signal.alarm(0)
        print(f"starting over after {error!r}", file=sys.stderr)
        time.sleep(pause)
sys.exit(f"gave up; to go on: --order {args.order}")
