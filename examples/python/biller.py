"""A billing system: takes the events of the billing queue into an SQLite database, each one once.

An event is acknowledged when it is stored, so at worst one comes again: it can be stopped, killed,
and started again at any time."""
import argparse, json, logging, os, signal, sqlite3, sys, time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

QUEUE = "billing.entries.v1"
KNOWN = "reservation.confirmed", "reservation.credited"  # a charge; one taken back
PAUSES = 1, 2, 4, 8, 16  # seconds before it connects again; then it gives up


class Biller:
    def __init__(self, path, count):
        self.left, self.stopping, self.pauses = count, False, iter(PAUSES)
        self.database = sqlite3.connect(path)
        self.database.execute("PRAGMA synchronous = EXTRA")  # a commit is on the disk
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, type TEXT, event TEXT)")

    def stop(self, *_):
        self.stopping = True

    def run(self, connection):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=100)
        for delivery, _, body in channel.consume(QUEUE, inactivity_timeout=0.5):
            self.pauses = iter(PAUSES)  # all is well again
            if self.stopping:
                return
            if delivery:
                self.take(body.decode())
                channel.basic_ack(delivery.delivery_tag)

    def take(self, text):
        event = json.loads(text)
        if event["type"] not in KNOWN:
            return
        with self.database:  # a transaction
            stored = self.database.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)",
                                           (event["id"], event["type"], text))
        if stored.rowcount:  # else a repeat
            print(event["id"], event["type"], event["data"].get("amount_minor"), flush=True)
            self.left -= 1
            self.stopping = self.stopping or self.left == 0


def main():
    parser = argparse.ArgumentParser(description="Stores billing events; AMQP_URL has the account.")
    parser.add_argument("ledger", help="SQLite database; made if there is none")
    parser.add_argument("--count", type=int, default=-1, help="stop after so many new events")
    args = parser.parse_args()
    broker = pika.URLParameters(os.environ.get("AMQP_URL") or parser.error("AMQP_URL is not set"))
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # what fails is told here
    biller = Biller(args.ledger, args.count)
    signal.signal(signal.SIGTERM, biller.stop)
    signal.signal(signal.SIGINT, biller.stop)
    while not biller.stopping:
        try:
            with pika.BlockingConnection(broker) as connection:
                biller.run(connection)
        except (pika.exceptions.AMQPError, AMQPConnectorException, OSError) as error:
            print(f"connecting again after {error!r}", file=sys.stderr)
            time.sleep(next(biller.pauses, None) or sys.exit("gave up"))


if __name__ == "__main__":
    main()
