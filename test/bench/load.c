/*
 * A load generator and checker for MQTT brokers: one thread, epoll, MQTT 3.1.1 and 5.
 *
 *   cc -O2 -o load load.c && ./load --port 1883 --publishers 20 --window 100 --subscribers 1
 *
 * It opens the connections it is asked for, waits until every CONNACK and SUBACK is there, then
 * lets the publishers send and prints one JSON object. It is C because it shares the machine with
 * the broker it measures: what it burns, the broker lacks.
 *
 *   L1. Each payload opens with a stamp: time of sending (ns), publisher, sequence number. A
 *       publisher's sequence numbers are 0, 1, 2, ...; a subscriber that sees another one than the
 *       next counts it: forward as a hole, backward as a repeat.
 *   L2. A publisher never has more than `window` messages in flight, nor more than a broker that
 *       speaks MQTT 5 allows (Receive Maximum).
 *   L3. A message counts as acknowledged with PUBACK (QoS 1), PUBCOMP (QoS 2), or when it was
 *       handed to the socket's buffer (QoS 0).
 *   L4. Times are read once per burst written and once per chunk read: all of a burst leaves with
 *       one system call, so one time is the true one for all of it.
 *   L5. Every run has topics and client ids of its own, so that nothing of the run before is seen.
 *
 * Exit code 0: the run ended, as `complete` says; 2: wrong options; 3: no connection, or refused.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT = 1, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK };
enum { STAMP_BYTES = 16, READ_BYTES = 256 * 1024, PENDING_BYTES = 256 * 1024, EVENTS = 256 };
/* Small, so that a subscriber that does not read pushes back after 64 KiB and not after 6 MiB. */
enum { STALL_RECEIVE_BYTES = 32 * 1024 };
#define SECOND_NS 1000000000ull

static struct {
  const char *host;
  int port, version;
  int publishers, window, qos;
  size_t size;
  long messages;
  double rate;
  int subscribers, sub_qos, stall, idle, burst;
  double settle_s, limit_s;
  bool hold;
} opt = {.host = "127.0.0.1", .port = 1883, .version = 4, .window = 100, .qos = 1, .size = 256,
         .messages = 100000, .sub_qos = 1, .burst = 64, .settle_s = 2, .limit_s = 120};

typedef enum { PUBLISHER, SUBSCRIBER, STALLED, IDLE } role_of;

/* Bytes [start, end) of `data` wait to be sent or parsed. */
typedef struct {
  uint8_t *data;
  size_t start, end, capacity;
} buffer;

/* Packet ids go round in order, as real clients have them: a ring of those that are free. */
typedef struct {
  uint16_t *free;
  uint64_t *sent_ns;
  int count, head, available;
} packet_ids;

typedef struct {
  role_of role;
  int fd, number;
  /* `deaf`: has stopped reading for good. */
  bool open, connected, deaf, wants_out;
  buffer out, in;
  /* Publishers only. */
  packet_ids ids;
  int window, in_flight;
  uint32_t sequence;
  uint8_t *packet;
  size_t packet_bytes, id_at, stamp_at;
  /* Subscribers only: the sequence number expected next, per publisher. */
  uint32_t *expected;
} connection;

typedef struct {
  uint32_t *tenths_us;
  size_t count, capacity;
} samples;

static int poller, timer;
static connection *all;
static int connections, connacks, subacks, subacks_wanted, open_publishers;
static long sent, acknowledged, received, holes, repeats, closed;
static int next_publisher;
static bool stdin_ended, running;
static uint64_t start_ns, last_connack_ns, last_ack_ns, last_receive_ns, latest_ns;
static samples ack_samples, delivery_samples;
static int timer_tag, stdin_tag;

/* ---- small tools ---- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char *text, ...) {
  va_list list;
  va_start(list, text);
  fputs("load: ", stderr);
  vfprintf(stderr, text, list);
  fputc('\n', stderr);
  va_end(list);
  exit(code);
}

static void *grow(void *memory, size_t bytes) {
  void *grown = realloc(memory, bytes);
  if (grown == NULL) fail(3, "out of memory at %zu bytes", bytes);
  return grown;
}

static void *zeroed(size_t count, size_t bytes) {
  void *memory = calloc(count > 0 ? count : 1, bytes);
  if (memory == NULL) fail(3, "out of memory at %zu bytes", count * bytes);
  return memory;
}

static void add_sample(samples *s, uint64_t ns) {
  if (s->count == s->capacity) {
    s->capacity = s->capacity > 0 ? s->capacity * 2 : 65536;
    s->tenths_us = grow(s->tenths_us, s->capacity * sizeof *s->tenths_us);
  }
  uint64_t tenths = ns / 100;
  s->tenths_us[s->count++] = tenths < UINT32_MAX ? (uint32_t)tenths : UINT32_MAX;
}

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* ---- what goes out ---- */

static uint8_t *reserve(buffer *b, size_t bytes) {
  if (b->end + bytes > b->capacity && b->start > 0) {
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
  }
  if (b->end + bytes > b->capacity) {
    b->capacity = (b->end + bytes) * 2;
    b->data = grow(b->data, b->capacity);
  }
  b->end += bytes;
  return b->data + b->end - bytes;
}

static void watch(connection *c, bool out) {
  if (c->wants_out == out) return;
  c->wants_out = out;
  struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event) < 0) fail(3, "epoll: %s", strerror(errno));
}

static void close_connection(connection *c, const char *reason) {
  if (!c->open) return;
  if (!c->connected) fail(3, "no CONNACK from %s:%d: %s", opt.host, opt.port, reason);
  close(c->fd);
  c->open = false;
  closed++;
  if (c->role == PUBLISHER) open_publishers--;
}

static void flush(connection *c) {
  buffer *b = &c->out;
  while (b->start < b->end) {
    ssize_t n = send(c->fd, b->data + b->start, b->end - b->start, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return watch(c, true);
    if (n < 0) return close_connection(c, strerror(errno));
    b->start += (size_t)n;
  }
  b->start = b->end = 0;
  /* Without acknowledgements only a writable socket says that it is time for more. */
  bool more = running && c->role == PUBLISHER && opt.qos == 0 && opt.rate <= 0;
  watch(c, more && sent < opt.messages);
}

static size_t put_length(uint8_t *at, size_t length) {
  size_t n = 0;
  do {
    at[n] = (uint8_t)(length & 127);
    length >>= 7;
    if (length > 0) at[n] |= 128;
    n++;
  } while (length > 0);
  return n;
}

static size_t put_u16(uint8_t *at, unsigned value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
  return 2;
}

static size_t put_text(uint8_t *at, const char *text) {
  size_t n = strlen(text);
  put_u16(at, (unsigned)n);
  memcpy(at + 2, text, n);
  return n + 2;
}

static void send_packet(connection *c, uint8_t first, const uint8_t *body, size_t bytes) {
  uint8_t head[5] = {first};
  size_t n = 1 + put_length(head + 1, bytes);
  memcpy(reserve(&c->out, n), head, n);
  memcpy(reserve(&c->out, bytes), body, bytes);
}

static void send_id(connection *c, uint8_t first, unsigned id) {
  uint8_t body[2];
  put_u16(body, id);
  send_packet(c, first, body, 2);
}

static void send_connect(connection *c) {
  static const char letters[] = {'p', 's', 't', 'i'};
  char name[64];
  uint8_t body[128];
  snprintf(name, sizeof name, "load-%d-%c%d", (int)getpid(), letters[c->role], c->number);
  size_t n = put_text(body, "MQTT");
  body[n++] = (uint8_t)opt.version;
  body[n++] = 2; /* clean session */
  n += put_u16(body + n, 0); /* no keep-alive */
  if (opt.version == 5) body[n++] = 0;
  n += put_text(body + n, name);
  send_packet(c, CONNECT << 4, body, n);
}

static void send_subscribe(connection *c) {
  char filter[64];
  uint8_t body[128];
  snprintf(filter, sizeof filter, "load/%d/#", (int)getpid());
  size_t n = put_u16(body, 1);
  if (opt.version == 5) body[n++] = 0;
  n += put_text(body + n, filter);
  body[n++] = (uint8_t)opt.sub_qos;
  send_packet(c, SUBSCRIBE << 4 | 2, body, n);
}

/* ---- publishers ---- */

/* Builds the PUBLISH once; each message then only changes its packet id and its stamp. */
static void prepare_publisher(connection *c) {
  char topic[64];
  snprintf(topic, sizeof topic, "load/%d/%d/telemetry", (int)getpid(), c->number);
  size_t body = 2 + strlen(topic) + (opt.qos > 0 ? 2 : 0) + (opt.version == 5) + opt.size;
  c->packet = zeroed(1, body + 5);
  c->packet[0] = (uint8_t)(PUBLISH << 4 | opt.qos << 1);
  size_t n = 1 + put_length(c->packet + 1, body);
  n += put_text(c->packet + n, topic);
  c->id_at = n;
  if (opt.qos > 0) n += 2;
  if (opt.version == 5) c->packet[n++] = 0;
  c->stamp_at = n;
  memset(c->packet + n, 'x', opt.size);
  c->packet_bytes = n + opt.size;
  c->window = opt.window;
  if (opt.qos == 0) return;
  packet_ids *ids = &c->ids;
  ids->count = opt.window * 4 < 64 ? 64 : opt.window * 4 < 65535 ? opt.window * 4 : 65535;
  ids->free = zeroed((size_t)ids->count, sizeof *ids->free);
  ids->sent_ns = zeroed((size_t)ids->count + 1, sizeof *ids->sent_ns);
  ids->available = ids->count;
  for (int i = 0; i < ids->count; i++) ids->free[i] = (uint16_t)(i + 1);
}

static unsigned take_id(packet_ids *ids, uint64_t now) {
  unsigned id = ids->free[ids->head];
  ids->head = (ids->head + 1) % ids->count;
  ids->available--;
  ids->sent_ns[id] = now;
  return id;
}

static bool has_room(const connection *c) {
  if (!c->open || sent >= opt.messages) return false;
  if (c->out.end - c->out.start >= PENDING_BYTES) return false;
  return opt.qos == 0 || (c->in_flight < c->window && c->ids.available > 0);
}

static void publish(connection *c, uint64_t now) {
  uint8_t *at = reserve(&c->out, c->packet_bytes);
  uint32_t publisher = (uint32_t)c->number;
  memcpy(at, c->packet, c->packet_bytes);
  if (opt.qos > 0) {
    put_u16(at + c->id_at, take_id(&c->ids, now));
    c->in_flight++;
  }
  memcpy(at + c->stamp_at, &now, 8);
  memcpy(at + c->stamp_at + 8, &publisher, 4);
  memcpy(at + c->stamp_at + 12, &c->sequence, 4);
  c->sequence++;
  sent++;
  if (opt.qos > 0) return;
  acknowledged++;
  last_ack_ns = now;
}

/* At full speed: fills the window. */
static void pump(connection *c) {
  if (!running || opt.rate > 0 || !has_room(c)) return;
  uint64_t now = now_ns();
  while (has_room(c)) publish(c, now);
  flush(c);
}

/* At a set rate: message k is due at start + k / rate; publishers take turns. */
static void publish_due(void) {
  uint64_t now = now_ns();
  int full = 0;
  while (sent < opt.messages && full < opt.publishers) {
    uint64_t due = start_ns + (uint64_t)((double)sent / opt.rate * 1e9);
    if (due > now) {
      struct itimerspec at = {.it_value = {.tv_sec = (time_t)(due / SECOND_NS),
                                           .tv_nsec = (long)(due % SECOND_NS)}};
      timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
      return;
    }
    connection *c = &all[next_publisher];
    next_publisher = (next_publisher + 1) % opt.publishers;
    if (!has_room(c)) {
      full++;
      continue;
    }
    full = 0;
    if (now - due > latest_ns) latest_ns = now - due;
    publish(c, now);
    flush(c);
  }
}

static void on_acknowledged(connection *c, unsigned id, uint64_t now) {
  packet_ids *ids = &c->ids;
  if (id == 0 || id > (unsigned)ids->count || ids->sent_ns[id] == 0) {
    fail(3, "the broker acknowledged packet id %u, which is not in flight", id);
  }
  add_sample(&ack_samples, now - ids->sent_ns[id]);
  ids->sent_ns[id] = 0;
  ids->free[(ids->head + ids->available) % ids->count] = (uint16_t)id;
  ids->available++;
  c->in_flight--;
  acknowledged++;
  last_ack_ns = now;
}

/* ---- what comes in ---- */

/* The bytes a CONNACK property's value takes, 0 for one that has no place there. */
static size_t property_bytes(uint8_t kind, const uint8_t *value) {
  size_t text = 2 + (size_t)(value[0] << 8 | value[1]);
  switch (kind) {
    case 0x24: case 0x25: case 0x28: case 0x29: case 0x2A:
      return 1;
    case 0x13: case 0x21: case 0x22:
      return 2;
    case 0x11: case 0x27:
      return 4;
    case 0x12: case 0x15: case 0x16: case 0x1A: case 0x1C: case 0x1F:
      return text;
    case 0x26:
      return text + 2 + (size_t)(value[text] << 8 | value[text + 1]);
    default:
      return 0;
  }
}

static size_t get_length(const uint8_t *at, size_t *length) {
  size_t n = 0, value = 0;
  do value |= (size_t)(at[n] & 127) << (7 * n);
  while (at[n++] & 128 && n < 4);
  *length = value;
  return n;
}

/* [MQTT-3.3.4-9] no more than Receive Maximum in flight. */
static void obey_receive_maximum(connection *c, const uint8_t *body, size_t bytes) {
  size_t length, at = 2 + get_length(body + 2, &length);
  while (at < bytes) {
    uint8_t kind = body[at++];
    size_t n = property_bytes(kind, body + at);
    if (n == 0) fail(3, "CONNACK has an unknown property 0x%02x", kind);
    int maximum = body[at] << 8 | body[at + 1];
    if (kind == 0x21 && maximum < c->window) c->window = maximum;
    at += n;
  }
}

static void on_connack(connection *c, const uint8_t *body, size_t bytes, uint64_t now) {
  if (bytes < 2 || body[1] != 0) fail(3, "the broker refused with code %d", body[1]);
  if (opt.version == 5 && c->role == PUBLISHER) obey_receive_maximum(c, body, bytes);
  c->connected = true;
  connacks++;
  last_connack_ns = now;
  if (c->role == SUBSCRIBER || c->role == STALLED) send_subscribe(c);
}

static void on_suback(connection *c, const uint8_t *body, size_t bytes) {
  if (body[bytes - 1] >= 128) fail(3, "SUBACK refuses with code %d", body[bytes - 1]);
  subacks++;
  if (c->role != STALLED) return;
  c->deaf = true;
  struct epoll_event only_its_end = {.events = EPOLLRDHUP, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &only_its_end);
}

static void on_publish(connection *c, uint8_t first, const uint8_t *body, size_t bytes,
                       uint64_t now) {
  int qos = first >> 1 & 3;
  size_t at = 2 + (size_t)(body[0] << 8 | body[1]);
  if (qos > 0) {
    unsigned id = (unsigned)(body[at] << 8 | body[at + 1]);
    send_id(c, (uint8_t)((qos == 1 ? PUBACK : PUBREC) << 4), id);
    at += 2;
  }
  if (opt.version == 5) {
    size_t length;
    at += get_length(body + at, &length);
    at += length;
  }
  if (at + STAMP_BYTES > bytes) fail(3, "a payload came back shorter than it was sent");
  uint64_t sent_ns;
  uint32_t publisher, sequence;
  memcpy(&sent_ns, body + at, 8);
  memcpy(&publisher, body + at + 8, 4);
  memcpy(&sequence, body + at + 12, 4);
  if (publisher >= (uint32_t)opt.publishers) fail(3, "a payload came back changed");
  received++;
  last_receive_ns = now;
  add_sample(&delivery_samples, now - sent_ns);
  uint32_t *expected = &c->expected[publisher];
  if (sequence < *expected) {
    repeats++;
    return;
  }
  if (sequence > *expected) holes++;
  *expected = sequence + 1;
}

static void on_packet(connection *c, uint8_t first, const uint8_t *body, size_t bytes,
                      uint64_t now) {
  unsigned id = bytes >= 2 ? (unsigned)(body[0] << 8 | body[1]) : 0;
  switch (first >> 4) {
    case CONNACK:
      return on_connack(c, body, bytes, now);
    case SUBACK:
      return on_suback(c, body, bytes);
    case PUBLISH:
      return on_publish(c, first, body, bytes, now);
    case PUBACK:
    case PUBCOMP:
      return on_acknowledged(c, id, now);
    case PUBREC:
      return send_id(c, PUBREL << 4 | 2, id);
    case PUBREL:
      return send_id(c, PUBCOMP << 4, id);
    case 14:
      fail(3, "the broker sent DISCONNECT with reason %d", bytes > 0 ? body[0] : 0);
    default:
      fail(3, "the broker sent a packet of type %d", first >> 4);
  }
}

/* Handles the whole packets of [data, data + bytes) and returns how many bytes they took. */
static size_t parse(connection *c, const uint8_t *data, size_t bytes, uint64_t now) {
  size_t at = 0;
  while (c->open && at + 2 <= bytes) {
    size_t left = bytes - at - 1, head = 1;
    while (head <= left && head <= 4 && data[at + head] & 128) head++;
    if (head > left) break;
    size_t length;
    get_length(data + at + 1, &length);
    if (left - head < length) break;
    on_packet(c, data[at], data + at + 1 + head, length, now);
    at += 1 + head + length;
  }
  return at;
}

/* One shared buffer reads for all; a connection keeps only the packet that is not whole yet. */
static void on_readable(connection *c) {
  static uint8_t *chunk;
  static size_t capacity;
  size_t kept = c->in.end;
  if (capacity < kept + READ_BYTES) {
    capacity = kept * 2 + READ_BYTES;
    /* Some to spare: a property's bytes are looked at before its kind says how many it has. */
    chunk = grow(chunk, capacity + 8);
  }
  if (kept > 0) memcpy(chunk, c->in.data, kept);
  ssize_t n = recv(c->fd, chunk + kept, READ_BYTES, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return close_connection(c, strerror(errno));
  if (n == 0) return close_connection(c, "the broker closed the connection");
  size_t bytes = kept + (size_t)n, parsed = parse(c, chunk, bytes, now_ns());
  c->in.end = 0;
  if (parsed < bytes) memcpy(reserve(&c->in, bytes - parsed), chunk + parsed, bytes - parsed);
  if (c->open && c->out.start < c->out.end) flush(c);
  if (c->role == PUBLISHER && c->connected) pump(c);
}

static void turn(int timeout_ms) {
  struct epoll_event events[EVENTS];
  int n = epoll_wait(poller, events, EVENTS, timeout_ms);
  if (n < 0 && errno != EINTR) fail(3, "epoll: %s", strerror(errno));
  for (int i = 0; i < n; i++) {
    uint64_t ticks;
    char byte;
    if (events[i].data.ptr == &timer_tag) {
      if (read(timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN) fail(3, "timer failed");
      continue;
    }
    if (events[i].data.ptr == &stdin_tag) {
      if (read(STDIN_FILENO, &byte, 1) <= 0) stdin_ended = true;
      continue;
    }
    connection *c = events[i].data.ptr;
    if (c->deaf) {
      close_connection(c, "the broker closed the connection");
      continue;
    }
    if (c->open && events[i].events & EPOLLOUT) {
      flush(c);
      if (c->open && c->role == PUBLISHER && c->connected) pump(c);
    }
    if (c->open && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
  }
  if (running && opt.rate > 0) publish_due();
}

/* ---- the run ---- */

static void open_connection(connection *c, role_of role, int number) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
  int one = 1, small = STALL_RECEIVE_BYTES;
  if (inet_pton(AF_INET, opt.host, &address.sin_addr) != 1) fail(2, "%s is no IPv4", opt.host);
  *c = (connection){.role = role, .number = number, .open = true, .wants_out = true};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) fail(3, "no socket for connection %d: %s", connections, strerror(errno));
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (role == STALLED) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  if (role == PUBLISHER) prepare_publisher(c);
  if (role == SUBSCRIBER) c->expected = zeroed((size_t)opt.publishers, sizeof *c->expected);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
    fail(3, "cannot connect to %s:%d: %s", opt.host, opt.port, strerror(errno));
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0) fail(3, "epoll: %s", strerror(errno));
  send_connect(c);
  connections++;
  /* A storm comes in waves: a backlog of one wave, not of all, is what a broker must take. */
  if (connections % opt.burst == 0) turn(1);
}

static void open_all(void) {
  /* Publishers come first in `all`, where their number is their index. */
  const struct { role_of role; int count; } groups[] = {{PUBLISHER, opt.publishers},
      {SUBSCRIBER, opt.subscribers}, {STALLED, opt.stall}, {IDLE, opt.idle}};
  int total = opt.publishers + opt.subscribers + opt.stall + opt.idle;
  all = zeroed((size_t)total, sizeof *all);
  open_publishers = opt.publishers;
  subacks_wanted = opt.subscribers + opt.stall;
  uint64_t began = now_ns();
  for (int g = 0; g < 4; g++) {
    for (int i = 0; i < groups[g].count; i++) {
      open_connection(&all[connections], groups[g].role, i);
    }
  }
  while (connacks < total || subacks < subacks_wanted) {
    turn(100);
    if (now_ns() - began > (uint64_t)(opt.limit_s * 1e9)) {
      fail(3, "after %.0f s %d of %d CONNACK and %d of %d SUBACK are there", opt.limit_s,
           connacks, total, subacks, subacks_wanted);
    }
  }
  start_ns = began;
}

/* Holds what is open until standard input ends; says so when it begins. */
static void hold(void) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &stdin_tag};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0) fail(2, "--hold needs a pipe");
  fputs("holding\n", stderr);
  while (!stdin_ended) turn(1000);
}

/* True when everything came that should; false when it gave up. */
static bool run_messages(void) {
  long expected = opt.messages * opt.subscribers;
  uint64_t settle_ns = (uint64_t)(opt.settle_s * 1e9), limit_ns = (uint64_t)(opt.limit_s * 1e9);
  start_ns = last_ack_ns = last_receive_ns = now_ns();
  running = true;
  if (opt.rate > 0) publish_due();
  for (int i = 0; i < opt.publishers; i++) pump(&all[i]);
  for (;;) {
    turn(100);
    bool published = acknowledged >= opt.messages;
    if (published && received >= expected) return true;
    uint64_t now = now_ns();
    uint64_t last = last_receive_ns > last_ack_ns ? last_receive_ns : last_ack_ns;
    bool over = published || open_publishers == 0;
    if (over && now > last && now - last > settle_ns) return false;
    if (now - start_ns > limit_ns) return false;
  }
}

static void print_samples(const char *name, samples *s) {
  static const double quantiles[] = {0.5, 0.99, 0.999, 1};
  static const char *const names[] = {"p50", "p99", "p999", "max"};
  printf(",\"%s\":", name);
  if (s->count == 0) {
    fputs("null", stdout);
    return;
  }
  qsort(s->tenths_us, s->count, sizeof *s->tenths_us, by_size);
  for (int i = 0; i < 4; i++) {
    size_t at = (size_t)(quantiles[i] * (double)s->count);
    if (at >= s->count) at = s->count - 1;
    printf("%s\"%s\":%.4f", i == 0 ? "{" : ",", names[i], s->tenths_us[at] / 10000.0);
  }
  putchar('}');
}

static double rate_of(long count, uint64_t end_ns) {
  return end_ns > start_ns ? (double)count / ((double)(end_ns - start_ns) / 1e9) : 0;
}

static void parse_options(int count, char **arguments) {
  static const struct option names[] = {
      {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"mqtt", 1, 0, 'v'}, {"publishers", 1, 0, 'P'},
      {"window", 1, 0, 'w'}, {"qos", 1, 0, 'q'}, {"size", 1, 0, 'b'}, {"messages", 1, 0, 'n'},
      {"rate", 1, 0, 'r'}, {"subscribers", 1, 0, 'S'}, {"sub-qos", 1, 0, 'Q'},
      {"stall", 1, 0, 't'}, {"idle", 1, 0, 'i'}, {"burst", 1, 0, 'B'}, {"settle", 1, 0, 's'},
      {"limit", 1, 0, 'l'}, {"hold", 0, 0, 'H'}, {0, 0, 0, 0}};
  for (int name; (name = getopt_long_only(count, arguments, "", names, NULL)) != -1;) {
    switch (name) {
      case 'h': opt.host = optarg; break;
      case 'p': opt.port = atoi(optarg); break;
      case 'v': opt.version = atoi(optarg); break;
      case 'P': opt.publishers = atoi(optarg); break;
      case 'w': opt.window = atoi(optarg); break;
      case 'q': opt.qos = atoi(optarg); break;
      case 'b': opt.size = (size_t)atol(optarg); break;
      case 'n': opt.messages = atol(optarg); break;
      case 'r': opt.rate = atof(optarg); break;
      case 'S': opt.subscribers = atoi(optarg); break;
      case 'Q': opt.sub_qos = atoi(optarg); break;
      case 't': opt.stall = atoi(optarg); break;
      case 'i': opt.idle = atoi(optarg); break;
      case 'B': opt.burst = atoi(optarg); break;
      case 's': opt.settle_s = atof(optarg); break;
      case 'l': opt.limit_s = atof(optarg); break;
      case 'H': opt.hold = true; break;
      default: exit(2);
    }
  }
  if (optind < count) fail(2, "unknown argument %s", arguments[optind]);
  if (opt.version != 4 && opt.version != 5) fail(2, "--mqtt is 4 (3.1.1) or 5");
  if (opt.qos < 0 || opt.qos > 2 || opt.sub_qos < 0 || opt.sub_qos > 2) fail(2, "QoS is 0 to 2");
  if (opt.size < STAMP_BYTES) fail(2, "--size is at least %d", STAMP_BYTES);
  if (opt.window < 1 || opt.window > 65535) fail(2, "--window is 1 to 65535");
  if (opt.burst < 1) fail(2, "--burst is at least 1");
}

int main(int count, char **arguments) {
  parse_options(count, arguments);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(0);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &timer_tag};
  if (poller < 0 || timer < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event) < 0) {
    fail(3, "epoll: %s", strerror(errno));
  }
  open_all();
  double connect_s = (double)(last_connack_ns - start_ns) / 1e9;
  if (opt.hold) hold();
  bool complete = opt.publishers == 0 || run_messages();
  struct rusage cpu;
  getrusage(RUSAGE_SELF, &cpu);
  printf("{\"complete\":%s,\"connections\":%d,\"connectSeconds\":%.4f,\"closed\":%ld",
         complete ? "true" : "false", connections, connect_s, closed);
  printf(",\"sent\":%ld,\"acknowledged\":%ld,\"received\":%ld,\"holes\":%ld,\"repeats\":%ld", sent,
         acknowledged, received, holes, repeats);
  printf(",\"ackedPerSecond\":%.1f,\"receivedPerSecond\":%.1f,\"latestMs\":%.3f",
         rate_of(acknowledged, last_ack_ns), rate_of(received, last_receive_ns),
         (double)latest_ns / 1e6);
  print_samples("ackMs", &ack_samples);
  print_samples("deliveryMs", &delivery_samples);
  printf(",\"cpuSeconds\":%.3f}\n",
         (double)(cpu.ru_utime.tv_sec + cpu.ru_stime.tv_sec) +
             (double)(cpu.ru_utime.tv_usec + cpu.ru_stime.tv_usec) / 1e6);
  return 0;
}
