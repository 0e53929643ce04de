// The server behind every proxy under measurement: one thread, one event loop, and no more work than the scenario asks.
//
//   origin PORT        listens on 127.0.0.1:PORT until it is ended
//
// It plays a hub (`/hub/login`, `/hub/api/…`), streams (`/bytes/N`, `/sink`, `/events`), echoes WebSocket messages
// (any request with `Upgrade: websocket`), and answers all else with a small page.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENT_INTERVAL_NS 20000000 // 50 events a second
#define FDS_MAX 65536
#define DATE "Date: Sun, 22 Nov 2026 00:00:00 GMT\r\n"

enum state { HEAD, SINK, BYTES, EVENTS, ECHO };

struct connection {
  int fd;
  enum state state;
  int closing;             // after the answer: `Connection: close` was asked for
  int writing;             // waits until more can be written
  uint64_t left;           // bytes of the body that are still to come, or to go
  uint64_t taken;          // bytes of a body that came
  size_t have, out, sent;  // filled part of `in`; filled and written parts of `answer`
  char in[16384];
  char answer[16384];
};

static struct connection *connections[FDS_MAX];
static char filler[1 << 18];
static int poller, streams;

static void watch(struct connection *c, int writing) {
  if (c->writing == writing) return;
  c->writing = writing;
  struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.fd = c->fd};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void drop(struct connection *c) {
  connections[c->fd] = NULL;
  streams -= c->state == EVENTS;
  close(c->fd);
  free(c);
}

static void say(struct connection *c, const char *bytes, size_t length) {
  if (c->out + length > sizeof c->answer) {
    fprintf(stderr, "origin: an answer does not fit\n");
    exit(1);
  }
  memcpy(c->answer + c->out, bytes, length);
  c->out += length;
}

static void say_text(struct connection *c, const char *text) { say(c, text, strlen(text)); }

// Writes what there is to write; 0 when the connection is gone.
static int flush(struct connection *c) {
  while (c->sent < c->out) {
    ssize_t n = send(c->fd, c->answer + c->sent, c->out - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch(c, 1), 1;
    if (n <= 0) return drop(c), 0;
    c->sent += n;
  }
  c->out = c->sent = 0;
  while (c->state == BYTES && c->left) {
    size_t most = c->left < sizeof filler ? c->left : sizeof filler;
    ssize_t n = send(c->fd, filler, most, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch(c, 1), 1;
    if (n <= 0) return drop(c), 0;
    c->left -= n;
    if (!c->left) c->state = HEAD;
  }
  watch(c, 0);
  if (c->closing && c->state == HEAD) return drop(c), 0;
  return 1;
}

static const char *header(const char *head, const char *name) {
  const char *found = strcasestr(head, name);
  return found ? found + strlen(name) : NULL;
}

static void answer(struct connection *c, const char *head) {
  char line[512], method[16] = "", target[4096] = "";
  sscanf(head, "%15s %4095s", method, target);
  const char *length = header(head, "\r\ncontent-length:");
  const char *connection = header(head, "\r\nconnection:");
  c->closing = connection && !strncasecmp(connection + strspn(connection, " "), "close", 5);
  if (header(head, "\r\nupgrade: websocket")) {
    // The load always sends the sample key of RFC 6455 § 1.3, so this is always its answer.
    say_text(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    c->state = ECHO;
  } else if (!strncmp(target, "/bytes/", 7)) {
    c->left = strtoull(target + 7, NULL, 10);
    snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" DATE
             "Content-Length: %llu\r\n\r\n", (unsigned long long)c->left);
    say_text(c, line);
    c->state = BYTES;
  } else if (!strcmp(target, "/sink")) {
    c->left = length ? strtoull(length, NULL, 10) : 0;
    c->taken = 0;
    c->state = SINK;
  } else if (!strcmp(target, "/events")) {
    say_text(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" DATE
                "Transfer-Encoding: chunked\r\n\r\n");
    c->state = EVENTS;
    streams++;
  } else if (!strncmp(target, "/hub/api/user", 13)) {
    say_text(c, "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n" DATE
                "Content-Length: 40\r\n\r\n{\"status\": 403, \"message\": \"Forbidden\"}\n");
  } else if (!strncmp(target, "/hub/api/", 9)) {
    say_text(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" DATE
                "Content-Length: 21\r\n\r\n{\"version\": \"6.1.1\"}\n");
  } else if (!strncmp(target, "/hub/login", 10)) {
    // A login by header: cookies and a redirect. Without the header the hub refuses.
    if (header(head, "\r\nremote_user:"))
      say_text(c, "HTTP/1.1 302 Found\r\nLocation: /hub/home\r\n" DATE
                  "Set-Cookie: jupyterhub-session-id=0123456789abcdef0123456789abcdef; HttpOnly; Path=/\r\n"
                  "Set-Cookie: jupyterhub-hub-login=\"2|1:0|10:1700000000|20:jupyterhub-hub-login|44:aaaa|bbbb\"; "
                  "HttpOnly; Path=/hub/\r\nContent-Length: 0\r\n\r\n");
    else
      say_text(c, "HTTP/1.1 403 Forbidden\r\n" DATE "Content-Length: 0\r\n\r\n");
  } else {
    // To close without saying so would let a proxy send its next request into the closing connection.
    say_text(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" DATE);
    say_text(c, c->closing ? "Connection: close\r\n" : "");
    say_text(c, "Content-Length: 13\r\n\r\nHello, world!");
  }
}

// Answers what `in` holds of whole requests or messages; 0 when the connection is gone.
static int process(struct connection *c) {
  size_t at = 0;
  while (at < c->have) {
    char *from = c->in + at;
    size_t there = c->have - at;
    if (c->state == HEAD) {
      char *end = memmem(from, there, "\r\n\r\n", 4);
      if (!end) break;
      end[2] = 0;
      answer(c, from);
      at += end + 4 - from;
    } else if (c->state == SINK) {
      size_t part = there < c->left ? there : c->left;
      c->left -= part, c->taken += part, at += part;
    } else if (c->state == ECHO) {
      // Masked, with a mask of zeros, and at most 64 KiB: what the load sends.
      unsigned char *f = (unsigned char *)from;
      if (there < 8) break;
      size_t head = (f[1] & 127) == 126 ? 4 : 2, size = head == 4 ? f[2] << 8 | f[3] : f[1] & 127;
      if (there < head + 4 + size) break;
      if ((f[0] & 15) == 8) return drop(c), 0;
      unsigned char unmasked[4] = {f[0], f[1] & 127, f[2], f[3]};
      say(c, (char *)unmasked, head);
      say(c, from + head + 4, size);
      at += head + 4 + size;
    } else {
      break;
    }
  }
  memmove(c->in, c->in + at, c->have - at);
  c->have -= at;
  if (c->state == SINK && !c->left) {
    char line[256], number[32];
    int digits = snprintf(number, sizeof number, "%llu", (unsigned long long)c->taken);
    snprintf(line, sizeof line, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: %d\r\n\r\n%s", digits, number);
    say_text(c, line);
    c->state = HEAD;
  }
  return flush(c);
}

static void readable(struct connection *c) {
  if (c->state == SINK && c->left) {
    // Bodies go past the small buffer.
    ssize_t n = recv(c->fd, filler, c->left < sizeof filler ? c->left : sizeof filler, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return drop(c);
    c->left -= n, c->taken += n;
    if (!c->left) process(c);
    return;
  }
  ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return drop(c);
  c->have += n;
  process(c);
}

static void emit_events(void) {
  struct timespec now;
  char event[64], chunk[96];
  for (int fd = 0; streams && fd < FDS_MAX; fd++) {
    struct connection *c = connections[fd];
    if (!c || c->state != EVENTS || c->out > sizeof c->answer / 2) continue;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int size = snprintf(event, sizeof event, "data: %lld\n\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, event);
    say_text(c, chunk);
    flush(c);
  }
}

static void welcome(int listener) {
  int fd, on = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    struct connection *c = fd < FDS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c) {
      close(fd);
      continue;
    }
    c->fd = fd;
    connections[fd] = c;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: origin PORT\n"), 2;
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
    return perror("origin"), 1;
  signal(SIGPIPE, SIG_IGN);
  poller = epoll_create1(0);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct timespec interval = {.tv_nsec = EVENT_INTERVAL_NS};
  timerfd_settime(timer, 0, &(struct itimerspec){interval, interval}, NULL);
  int own[] = {listener, timer};
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = own[i]};
    epoll_ctl(poller, EPOLL_CTL_ADD, own[i], &event);
  }
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      uint64_t ticks;
      if (fd == listener) {
        welcome(listener);
      } else if (fd == timer) {
        if (read(timer, &ticks, sizeof ticks) > 0) emit_events();
      } else if (connections[fd]) {
        if (events[i].events & EPOLLOUT && !flush(connections[fd])) continue;
        if (events[i].events & ~EPOLLOUT && connections[fd]) readable(connections[fd]);
      }
    }
  }
}
