#!/usr/bin/env python3
"""StreamForge's topics seen by programs that are not StreamForge.

Reads every topic with Confluent's client, decoding each value by the schema that the registry has under the value's id.
With --s3 it also puts a video into the bucket, announces it with `upload.received`, and waits until it is ready.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python confluent.py --brokers 127.0.0.1:9092 --registry http://127.0.0.1:8080/api/registry
    ... --s3 http://127.0.0.1:8333 --bucket videos --prefix streamforge --video holiday.mp4

Prints one JSON line per topic. Exits 1 when a value cannot be decoded or the video does not get ready.
"""

import argparse
import hashlib
import json
import os
import secrets
import sys
import time
import uuid

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def properties(pairs):
    return dict(pair.split("=", 1) for pair in pairs)


def ulid(now_ms):
    """26 letters: 48 bits of time, 80 bits of chance."""
    number = (now_ms << 80) | secrets.randbits(80)
    return "".join(LETTERS[(number >> (5 * (25 - place))) & 31] for place in range(26))


def read_all(args, registry):
    """Every record of every topic that has a subject, from the beginning to the end as of now."""
    decode = AvroDeserializer(registry)
    consumer = Consumer({
        "bootstrap.servers": args.brokers,
        # Partitions are assigned by hand: no group is joined, nothing is committed.
        "group.id": f"reader-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        **properties(args.property),
    })
    undecodable = 0
    existing = consumer.list_topics(timeout=10).topics
    for subject in registry.get_subjects():
        # A registry may be shared by others.
        if not subject.startswith(args.topic_prefix):
            continue
        topic = subject.removesuffix("-value")
        if topic not in existing:
            print(json.dumps({"topic": topic, "there": False}))
            continue
        partitions = existing[topic].partitions.keys()
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        open_ends, records, decoded, sample = set(partitions), 0, 0, None
        while open_ends:
            message = consumer.poll(10)
            if message is None:
                sys.exit(f"error: {topic} does not come to its end")
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    sys.exit(f"error: {topic}: {message.error()}")
                open_ends.discard(message.partition())
                continue
            records += 1
            try:
                event = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
                assert isinstance(event, dict) and event, event
                decoded += 1
                sample = sample or sorted(event)
            except Exception as error:  # whatever a decoder says, it is about this value
                undecodable += 1
                print(f"error: {topic} {message.partition()}/{message.offset()}: {error}", file=sys.stderr)
        consumer.unassign()
        print(json.dumps({"topic": topic, "records": records, "decoded": decoded, "fields": sample}))
    consumer.close()
    return undecodable


def announce(args, registry):
    """Puts a video into the bucket and says so on the log, as any producer may."""
    import boto3
    from botocore.config import Config

    with open(args.video, "rb") as file:
        video = file.read()
    now_ms = int(time.time() * 1000)
    job = ulid(now_ms)
    key = f"{args.prefix.strip('/')}/incoming/{job}".lstrip("/")
    s3 = boto3.client("s3", endpoint_url=args.s3, config=Config(signature_version="s3v4"),
                      region_name=os.environ.get("AWS_REGION", "us-east-1"))
    s3.put_object(Bucket=args.bucket, Key=key, Body=video)
    topic = args.topic_prefix + "upload.received"
    schema = registry.get_latest_version(f"{topic}-value").schema
    conf = {"auto.register.schemas": False, "use.latest.version": True}
    own = {}
    if args.own_field:
        # A producer may know more than StreamForge does, as long as its schema leads to StreamForge's.
        extended = json.loads(schema.schema_str)
        extended["fields"].append({"name": args.own_field, "type": ["null", "string"], "default": None})
        schema, conf = Schema(json.dumps(extended), "AVRO"), {"auto.register.schemas": True}
        own = {args.own_field: "of the producer's own"}
    encode = AvroSerializer(registry, schema, conf=conf)
    event = {
        "job": job,
        "name": os.path.basename(args.video),
        "source": {
            "uri": f"s3://{args.bucket}/{key}",
            "size": len(video),
            "sha256": hashlib.sha256(video).hexdigest(),
        },
        "received_at": now_ms,
        "origin": "confluent.py",
        **own,
        **json.loads(args.event),
    }
    producer = Producer({"bootstrap.servers": args.brokers, "acks": "all", **properties(args.property)})
    ends = []
    producer.produce(topic, encode(event, SerializationContext(topic, MessageField.VALUE)), key=job,
                     on_delivery=lambda error, message: ends.append(error))
    producer.flush(30)
    if ends != [None]:
        sys.exit(f"error: announce the video: {ends}")
    return job


def wait_until_ready(server, job, patience):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    state = None
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            with urlopen(f"{server}/api/jobs/{job}", timeout=10) as answer:
                found = json.load(answer)
            state = found["state"]
            if state in ("ready", "failed", "cancelled"):
                print(json.dumps({"job": job, "state": state, "renditions": [r["quality"] for r in found["renditions"]]}))
                return state == "ready"
        except HTTPError as error:
            # Not folded yet.
            if error.code != 404:
                raise
        time.sleep(0.5)
    print(json.dumps({"job": job, "state": state, "after_s": patience}))
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--registry", required=True, help="an edge's /api/registry, or a registry of its own")
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--property", action="append", default=[], help="name=value for the Kafka client")
    parser.add_argument("--s3", help="endpoint; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    parser.add_argument("--bucket", default="streamforge")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--video")
    parser.add_argument("--event", default="{}", help="more fields of the event, as JSON")
    parser.add_argument("--own-field", help="an optional text of the producer's own; needs a registry that takes schemas")
    parser.add_argument("--server", default="http://127.0.0.1:8080")
    parser.add_argument("--patience", type=float, default=300)
    args = parser.parse_args()
    registry = SchemaRegistryClient({"url": args.registry})
    is_ready = True
    if args.s3:
        if not args.video:
            parser.error("--s3 needs --video")
        is_ready = wait_until_ready(args.server, announce(args, registry), args.patience)
    undecodable = read_all(args, registry)
    sys.exit(0 if is_ready and undecodable == 0 else 1)


if __name__ == "__main__":
    main()
