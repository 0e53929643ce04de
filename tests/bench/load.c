// The load on a proxy under measurement: one thread, one event loop. Ends by itself; prints one line of JSON.
//
//   load http   PORT CONNECTIONS SECONDS REQUESTS [count=N] [rate=N] [close] [status=N]
//   load ws     PORT CONNECTIONS SECONDS          WebSocket messages of 1 KiB, each echoed
//   load events PORT CONNECTIONS SECONDS          server-sent events that hold the time at which they were sent
//
// REQUESTS is a file of request heads, sent in turn. With `count` it ends after that many, with `rate` it sends so many
// a second at even distances, with `close` each goes over a connection of its own. An answer of another status, or a
// connection that breaks off, is an error.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 1024
#define CONNECTIONS_MAX 1024

enum mode { HTTP, WS, EVENTS };
struct connection { int fd, waiting, answered; uint64_t begun; size_t have; char in[65536]; };

static enum mode mode;
static int port, poller, closes, status_wanted = 200;
static uint64_t count_max, rate, begun, ends, sent_count, errors, *samples;
static size_t sample_count, sample_room, request_count, total;
static struct connection *connections;
static struct { const char *bytes; size_t length; } *requests;
static char frame[8 + MESSAGE_BYTES], echo[4 + MESSAGE_BYTES];

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void sample(uint64_t nanoseconds) {
  if (sample_count == sample_room && !(samples = realloc(samples, (sample_room = sample_room * 2 + 4096) * 8)))
    fail("memory");
  samples[sample_count++] = nanoseconds;
}

// Non-blocking only after it stands: on loopback that is at once.
static void dial(struct connection *c) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  c->fd = fd, c->have = 0, c->waiting = c->answered = 0;
}

static void put(struct connection *c, const char *bytes, size_t length) {
  if (send(c->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) fail("send");
}

static int is_over(void) { return (count_max && sent_count >= count_max) || (!count_max && now() >= ends); }

// The time at which the next request is due; always, without a rate.
static uint64_t due(void) { return rate ? begun + sent_count * 1000000000ULL / rate : 0; }

static void next(struct connection *c) {
  if (is_over() || now() < due()) return;
  c->begun = now();
  if (c->fd < 0) dial(c);
  c->waiting = 1, c->answered = 0;
  if (mode == WS) {
    put(c, frame, sizeof frame);
  } else {
    size_t which = sent_count % request_count;
    put(c, requests[which].bytes, requests[which].length);
  }
  sent_count++;
}

static void complete(struct connection *c, int good) {
  if (good) sample(now() - c->begun);
  else errors++;
  total++;
  c->have = 0;
  c->answered = 1;
  if (closes) return; // the peer's end comes next
  c->waiting = 0;
  next(c);
}

static void judge_http(struct connection *c) {
  c->in[c->have] = 0;
  char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
  if (!end) return;
  char *length = strcasestr(c->in, "\r\ncontent-length:");
  if (!length || length > end) return complete(c, 0);
  size_t whole = end + 4 - c->in + strtoull(length + 17, NULL, 10);
  if (c->have >= whole) complete(c, c->have == whole && atoi(c->in + 9) == status_wanted);
}

static void judge_events(struct connection *c) {
  uint64_t arrived = now();
  char *from = c->in, *found;
  c->in[c->have] = 0;
  while ((found = strstr(from, "data: ")) && strchr(found, '\n')) {
    sample(arrived - strtoull(found + 6, NULL, 10));
    total++;
    from = strchr(found, '\n');
  }
  c->have -= from - c->in;
  memmove(c->in, from, c->have);
}

static void readable(struct connection *c) {
  ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - 1 - c->have, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    close(c->fd);
    c->fd = -1;
    // Only an answer that is whole may be followed by an end.
    if (c->waiting && !c->answered) errors++;
    if (mode != HTTP) errors++;
    c->waiting = 0, c->have = 0;
    if (mode == HTTP) next(c);
    return;
  }
  c->have += n;
  if (mode == HTTP) judge_http(c);
  else if (mode == EVENTS) judge_events(c);
  else if (c->have >= sizeof echo) complete(c, c->have == sizeof echo && !memcmp(c->in, echo, sizeof echo));
}

static void upgrade(struct connection *c) {
  const char *head = "GET /user/alice/api/kernels/k/channels HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  put(c, head, strlen(head));
  fcntl(c->fd, F_SETFL, 0);
  while (!memmem(c->in, c->have, "\r\n\r\n", 4)) {
    ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - 1 - c->have, 0);
    if (n <= 0) fail("WebSocket handshake");
    c->have += n;
  }
  if (strncmp(c->in, "HTTP/1.1 101", 12)) fail("WebSocket refused");
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->have = 0;
}

static void read_requests(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) fail(path);
  char *text = NULL;
  size_t room = 0;
  if (getdelim(&text, &room, 0, file) <= 0) fail(path);
  for (char *from = text, *end; (end = strstr(from, "\r\n\r\n")); from = end + 4) {
    requests = realloc(requests, (request_count + 1) * sizeof *requests);
    requests[request_count].bytes = from;
    requests[request_count++].length = end + 4 - from;
  }
  if (!request_count) fail("no request");
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static double percentile(double p) { return sample_count ? samples[(size_t)(p * (sample_count - 1))] / 1000.0 : -1; }

int main(int argc, char **argv) {
  if (argc < 5) return fprintf(stderr, "usage: see the head of load.c\n"), 2;
  mode = !strcmp(argv[1], "ws") ? WS : !strcmp(argv[1], "events") ? EVENTS : HTTP;
  port = atoi(argv[2]);
  int wanted = atoi(argv[3]), at = 5;
  if (wanted < 1 || wanted > CONNECTIONS_MAX)
    return fprintf(stderr, "load: 1 to %d connections\n", CONNECTIONS_MAX), 2;
  if (mode == HTTP) read_requests(argv[at++]);
  for (; at < argc; at++) {
    if (!strncmp(argv[at], "count=", 6)) count_max = strtoull(argv[at] + 6, NULL, 10);
    if (!strncmp(argv[at], "rate=", 5)) rate = strtoull(argv[at] + 5, NULL, 10);
    if (!strncmp(argv[at], "status=", 7)) status_wanted = atoi(argv[at] + 7);
    if (!strcmp(argv[at], "close")) closes = 1;
  }
  frame[0] = echo[0] = (char)0x82, frame[1] = (char)(0x80 | 126), echo[1] = 126;
  frame[2] = echo[2] = MESSAGE_BYTES >> 8, frame[3] = echo[3] = (char)(MESSAGE_BYTES & 255);
  memset(frame + 8, 'x', MESSAGE_BYTES), memset(echo + 4, 'x', MESSAGE_BYTES);

  poller = epoll_create1(0);
  connections = calloc(wanted, sizeof *connections);
  const char *listen = "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
  for (int i = 0; i < wanted; i++) {
    dial(&connections[i]);
    if (mode == WS) upgrade(&connections[i]);
    if (mode == EVENTS) put(&connections[i], listen, strlen(listen));
  }
  begun = now();
  ends = begun + (uint64_t)(atof(argv[4]) * 1e9);
  struct epoll_event events[CONNECTIONS_MAX];
  for (int turn = 0; mode != EVENTS && !rate && turn < wanted; turn++) next(&connections[turn]);
  for (;;) {
    uint64_t time = now(), until = ends;
    int busy = 0, idle = -1;
    for (int i = 0; i < wanted; i++) {
      if (connections[i].waiting) busy++;
      else idle = i;
    }
    // A count ends when its last answer is there, at the latest at the end of SECONDS; answers under way get ten seconds.
    if (mode == EVENTS ? time >= ends : is_over() && (!busy || time >= ends + 10000000000ULL)) break;
    if (count_max && time >= ends) break;
    if (rate && idle >= 0 && time >= due()) {
      next(&connections[idle]);
      continue;
    }
    if (rate && idle >= 0 && due() < until) until = due();
    uint64_t wait = until > time ? until - time : 1000000;
    struct timespec patience = {.tv_sec = wait / 1000000000ULL, .tv_nsec = wait % 1000000000ULL};
    int n = epoll_pwait2(poller, events, CONNECTIONS_MAX, &patience, NULL);
    for (int i = 0; i < n; i++) readable(events[i].data.ptr);
  }
  uint64_t time = now();
  for (int i = 0; i < wanted; i++) errors += mode != EVENTS && connections[i].waiting;
  if (count_max && sent_count < count_max) errors += count_max - sent_count;
  qsort(samples, sample_count, sizeof *samples, compare);
  printf("{\"count\": %zu, \"errors\": %llu, \"seconds\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f}\n", total,
         (unsigned long long)errors, (time - begun) / 1e9, percentile(0.5), percentile(0.99));
  return 0;
}
