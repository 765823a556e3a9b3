"""The usual scenarios of interoperability suites, with Paho for Python; run by clients.test.ts.

Arguments: the port, the protocol (4 or 5), and the name of a scenario. A scenario that fails ends
with a traceback and a status of 1.
"""
import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT, VERSION = int(sys.argv[1]), int(sys.argv[2])
PATIENCE_S = 10
SILENCE_S = 0.4
API = getattr(mqtt, "CallbackAPIVersion", None)


def props(kind, **values):
    if VERSION < 5 or not values:
        return None
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Client:
    def __init__(self, name, clean=True, expiry=0, keepalive=60, will=None, manual=False, **asked):
        more = {} if API is None else {"callback_api_version": API.VERSION1}
        if VERSION == 5:
            self.paho = mqtt.Client(client_id=name, protocol=mqtt.MQTTv5, **more)
        else:
            self.paho = mqtt.Client(
                client_id=name, clean_session=clean, protocol=mqtt.MQTTv311, **more
            )
        self.connected, self.messages, self.acks = queue.Queue(), queue.Queue(), queue.Queue()
        self.ended = queue.Queue()
        self.paho.on_connect = lambda *args: self.connected.put(args)
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda *args: self.acks.put(args)
        self.paho.on_unsubscribe = lambda *args: self.acks.put(args)
        self.paho.on_publish = lambda *args: self.acks.put(args)
        self.paho.on_disconnect = lambda *args: self.ended.put(args)
        if will is not None:
            topic, payload, delay = will
            at_end = props(PacketTypes.WILLMESSAGE, WillDelayInterval=delay) if delay else None
            self.paho.will_set(topic, payload, 1, properties=at_end)
        if VERSION == 5:
            if not clean:
                expiry = expiry or 60
            if expiry:
                asked["SessionExpiryInterval"] = expiry
            connect = props(PacketTypes.CONNECT, **asked)
            self.paho.connect(
                "127.0.0.1", PORT, keepalive, clean_start=clean, properties=connect
            )
        else:
            self.paho.connect("127.0.0.1", PORT, keepalive)
        self.paho.loop_start()
        args = self.connected.get(timeout=PATIENCE_S)
        self.flags, self.code = args[2], args[3]
        self.told = args[4] if len(args) > 4 else None

    def present(self):
        return self.flags["session present"] == 1

    def subscribe(self, topic, qos=2, **options):
        if VERSION == 5:
            identifier = options.pop("identifier", None)
            more = {} if identifier is None else {"SubscriptionIdentifier": identifier}
            self.paho.subscribe(
                topic,
                options=SubscribeOptions(qos, **options),
                properties=props(PacketTypes.SUBSCRIBE, **more),
            )
        else:
            self.paho.subscribe(topic, qos)
        return self.acks.get(timeout=PATIENCE_S)[3]

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        info = self.paho.publish(
            topic, payload, qos, retain, properties=props(PacketTypes.PUBLISH, **properties)
        )
        info.wait_for_publish(PATIENCE_S)
        self.acks.get(timeout=PATIENCE_S)

    def take(self, count):
        return [self.messages.get(timeout=PATIENCE_S) for _ in range(count)]

    def silent(self):
        time.sleep(SILENCE_S)
        return self.messages.empty()

    def end(self, **properties):
        if VERSION == 5:
            self.paho.disconnect(properties=props(PacketTypes.DISCONNECT, **properties))
        else:
            self.paho.disconnect()
        self.ended.get(timeout=PATIENCE_S)
        self.paho.loop_stop()

    def cut(self):
        self.paho.loop_stop()
        self.paho._sock_close()


def texts(messages):
    return [f"{m.topic} {m.payload.decode()} {m.qos}" for m in messages]


def expect(found, wanted):
    assert found == wanted, f"{found} is not {wanted}"


def basic():
    client = Client("basic")
    client.subscribe("b/#")
    for qos in range(3):
        client.publish(f"b/{qos}", "x", qos)
    expect(texts(client.take(3)), [f"b/{qos} x {qos}" for qos in range(3)])
    client.end()


def retained():
    client = Client("retained")
    for qos in range(3):
        client.publish(f"r/{qos}", "kept", qos, retain=True)
    client.subscribe("r/+")
    got = client.take(3)
    expect(sorted(texts(got)), [f"r/{qos} kept {qos}" for qos in range(3)])
    assert all(message.retain for message in got)
    for qos in range(3):
        client.publish(f"r/{qos}", "", qos, retain=True)
    client.take(3)
    late = Client("retained-late")
    late.subscribe("r/+")
    assert late.silent()


def will():
    witness = Client("witness")
    witness.subscribe("gone")
    Client("wills", will=("gone", "lost", 0)).cut()
    expect(texts(witness.take(1)), ["gone lost 1"])


def keepalive():
    witness = Client("witness-keepalive")
    witness.subscribe("silent")
    client = Client("silent", keepalive=1, will=("silent", "lost", 0))
    client.paho.loop_stop()
    expect(texts(witness.take(1)), ["silent lost 1"])


def offline_queueing():
    Client("keeper", clean=False).end()
    first = Client("keeper", clean=False)
    assert first.present()
    first.subscribe("q/+")
    first.end()
    other = Client("other")
    for qos in (1, 2):
        other.publish(f"q/{qos}", "x", qos)
    again = Client("keeper", clean=False)
    expect(texts(again.take(2)), ["q/1 x 1", "q/2 x 2"])


def overlapping():
    client = Client("overlapping")
    client.subscribe("o/#", 2)
    client.subscribe("o/+", 1)
    client.publish("o/x", "x", 2)
    got = client.take(1)
    if not client.silent():
        got += client.take(1)
    assert max(message.qos for message in got) == 2


def redelivery():
    slow = Client("slow", clean=False)
    slow.subscribe("again")
    slow.paho.loop_stop()
    other = Client("other-redelivery")
    other.publish("again", "1", 1)
    other.publish("again", "2", 2)
    time.sleep(SILENCE_S)
    slow.cut()
    expect(texts(Client("slow", clean=False).take(2)), ["again 1 1", "again 2 2"])


def empty_id():
    client = Client("")
    client.subscribe("e")
    client.publish("e", "x")
    client.take(1)
    if VERSION == 5:
        assert client.told.AssignedClientIdentifier != ""
    else:
        import socket

        refused = socket.create_connection(("127.0.0.1", PORT))
        refused.sendall(bytes([0x10, 12, 0, 4]) + b"MQTT" + bytes([4, 0, 0, 0, 0, 0]))
        expect(refused.recv(10), bytes([0x20, 2, 0, 2]))


def dollar_topics():
    client = Client("dollar")
    # Other scenarios run meanwhile: a subscription to all would get theirs.
    client.subscribe("+/dollar", 0)
    client.subscribe("+/dollar/#", 0)
    client.paho.publish("$dollar/dollar", "x", 0)
    assert client.silent()


def unsubscribe():
    client = Client("unsubscribes")
    for topic in ("u/1", "u/2"):
        client.subscribe(topic)
    client.paho.unsubscribe("u/1")
    client.acks.get(timeout=PATIENCE_S)
    client.publish("u/1", "x")
    client.publish("u/2", "x")
    expect(texts(client.take(1)), ["u/2 x 1"])
    assert client.silent()


def shared_subscriptions():
    members = [Client("member-1"), Client("member-2")]
    for member in members:
        member.subscribe("$share/g/s/#", 1)
    other = Client("other-shared")
    for n in range(10):
        other.publish("s/x", str(n), 1)
    time.sleep(SILENCE_S)
    expect([member.messages.qsize() for member in members], [5, 5])


def session_expiry():
    Client("expires", clean=True, expiry=60).end(SessionExpiryInterval=0)
    first = Client("expires", clean=False, expiry=60)
    assert not first.present()
    first.subscribe("x")
    first.end()
    assert Client("expires", clean=False, expiry=60).present()


def properties():
    client = Client("properties")
    client.subscribe("p", 2, identifier=7)
    sent = [("b", "1"), ("a", "2"), ("b", "")]
    client.publish(
        "p",
        "x",
        UserProperty=sent,
        ContentType="text/plain",
        PayloadFormatIndicator=1,
        ResponseTopic="answers/1",
        CorrelationData=b"id",
        MessageExpiryInterval=60,
    )
    got = client.take(1)[0].properties
    expect(got.UserProperty, sent)
    expect([got.ContentType, got.PayloadFormatIndicator], ["text/plain", 1])
    expect([got.ResponseTopic, got.CorrelationData], ["answers/1", b"id"])
    expect(got.SubscriptionIdentifier, [7])
    assert 58 <= got.MessageExpiryInterval <= 60


def request_response():
    asks, answers = Client("asks", RequestResponseInformation=1), Client("answers")
    where = f"{asks.told.ResponseInformation}/1"
    asks.subscribe(where)
    answers.subscribe("requests")
    asks.publish("requests", "?", ResponseTopic=where, CorrelationData=b"42")
    request = answers.take(1)[0].properties
    answers.publish(request.ResponseTopic, "!", CorrelationData=request.CorrelationData)
    answer = asks.take(1)[0]
    expect([answer.payload, answer.properties.CorrelationData], [b"!", b"42"])


def message_expiry():
    Client("expiring", clean=False).end()
    keeper = Client("expiring", clean=False)
    keeper.subscribe("x/+")
    keeper.end()
    other = Client("other-expiry")
    other.publish("x/short", "x", 1, MessageExpiryInterval=1)
    other.publish("x/long", "x", 2, MessageExpiryInterval=30)
    time.sleep(1.2)
    got = Client("expiring", clean=False).take(1)
    expect(texts(got), ["x/long x 2"])
    assert got[0].properties.MessageExpiryInterval < 30


def subscribe_options():
    one, two = Client("options-1"), Client("options-2")
    for client in (one, two):
        client.subscribe("opt", 2, noLocal=True)
    one.publish("opt", "mine")
    two.take(1)
    assert one.silent()
    one.publish("kept", "x", retain=True)
    two.subscribe("kept", 1, retainHandling=2)
    assert two.silent()
    two.subscribe("kept", 1, retainHandling=0, retainAsPublished=True)
    assert two.take(1)[0].retain
    one.publish("kept", "y", retain=True)
    assert two.take(1)[0].retain


def topic_alias():
    sends, takes = Client("alias-sends"), Client("alias-takes", TopicAliasMaximum=1)
    assert sends.told.TopicAliasMaximum > 0
    takes.subscribe("long/topic")
    sends.publish("long/topic", "1", TopicAlias=1)
    sends.publish("long/topic", "2")
    got = takes.take(2)
    expect([message.properties.TopicAlias for message in got], [1, 1])
    expect([message.payload for message in got], [b"1", b"2"])


def maximum_packet_size():
    client = Client("small", MaximumPacketSize=64)
    client.subscribe("m")
    client.publish("m", "x" * 100)
    client.publish("m", "small")
    expect(texts(client.take(1)), ["m small 1"])


def server_keep_alive():
    expect(Client("kept-alive", keepalive=120).told.ServerKeepAlive, 60)


def will_delay():
    witness = Client("witness-delay")
    witness.subscribe("late")
    Client("delayed", expiry=60, will=("late", "lost", 1)).cut()
    began = time.monotonic()
    witness.take(1)
    assert time.monotonic() - began > 0.8


globals()[sys.argv[3]]()
