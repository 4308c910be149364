// A client that asks at a fixed rate, whether or not answers come. A latency is counted from when its request was due:
// a server that stops for a moment is told with every request that waited for it meanwhile. A client that asks again only
// when it has its answer, as wrk does, asks less of a server that is slow, and never sees those waits ("coordinated
// omission", Gil Tene, "How NOT to measure latency", 2013; wrk2 measures as it is done here).
//
// openloop RATE CONNECTIONS SECONDS SEED PORT KEYS PREFIX SUFFIX      prints one JSON object, as load.lua does
//
// KEYS has one key of 36 bytes a line. Request n is due n / RATE seconds after the start, on the connection
// n % CONNECTIONS, which sends it then, or as soon as it has the answer to the one before.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client.h"

enum { REQUEST = 1024, HEAD = 4096, IN_HEAD = -1, TAIL_SECONDS = 10, SLACK_NANOSECONDS = 1000 };

struct connection {
  int socket;
  int waits;      // for the answer to `number`
  int64_t number; // of the last request that was sent
  long left;      // bytes of the body that are missing, or IN_HEAD
  size_t length;  // of what has come of the head
  char head[HEAD];
};

static uint64_t not_ok;
static char request[REQUEST];
static size_t request_size, key_at;
static struct keys keys;

static void ask(struct connection *connection, int64_t number) {
  memcpy(request + key_at, drawn(&keys), KEY);
  connection->number = number;
  connection->waits = 1;
  connection->left = IN_HEAD;
  connection->length = 0;
  if (write(connection->socket, request, request_size) != (ssize_t)request_size) fail("write");
}

// Whether what has come belongs to one answer, of which nothing is missing when `left` is 0.
static int take(struct connection *connection, const char *data, long size) {
  if (connection->left == IN_HEAD) {
    long room = HEAD - 1 - (long)connection->length, step = size < room ? size : room;
    memcpy(connection->head + connection->length, data, (size_t)step);
    connection->length += (size_t)step;
    connection->head[connection->length] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    if (!end) return step == size;
    char *told = strcasestr(connection->head, "\r\ncontent-length:");
    if (!told || told > end || strncmp(connection->head, "HTTP/1.1 ", 9)) return 0;
    not_ok += strncmp(connection->head + 9, "200 ", 4) != 0;
    connection->left = atol(told + 17) - (connection->head + connection->length - (end + 4));
    size -= step;
  }
  connection->left -= size;
  return connection->left >= 0;
}

static int receive(struct connection *connection) {
  static char data[READ];
  long size = read(connection->socket, data, READ);
  if (size <= 0 || !connection->waits || !take(connection, data, size)) return 0;
  connection->waits = connection->left != 0;
  return 1;
}

static struct timespec until(double due) {
  double left = due - now();
  if (left < 0) left = 0;
  struct timespec span = {.tv_sec = (time_t)left};
  span.tv_nsec = (long)(1e9 * (left - (double)span.tv_sec));
  return span;
}

int main(int count, char **args) {
  double rate = count == 9 ? atof(args[1]) : 0, seconds = count == 9 ? atof(args[3]) : 0;
  int connections = count == 9 ? atoi(args[2]) : 0;
  int64_t total = (int64_t)(rate * seconds);
  if (connections < 1 || total < connections || strlen(args[7]) + strlen(args[8]) > REQUEST / 2) {
    fprintf(stderr, "openloop RATE CONNECTIONS SECONDS SEED PORT KEYS PREFIX SUFFIX\n");
    return 2;
  }
  seed(args[4]);
  keys = load(args[6]);
  key_at = 4 + strlen(args[7]);
  request_size = (size_t)snprintf(request, REQUEST, "GET %s%*s%s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n", args[7], KEY,
                                  "", args[8], args[5]);

  struct connection *all = calloc((size_t)connections, sizeof *all);
  int poll = epoll_create1(0);
  for (int number = 0; number < connections; number++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[number]};
    all[number].socket = connected(atoi(args[5]));
    if (epoll_ctl(poll, EPOLL_CTL_ADD, all[number].socket, &event)) fail("epoll");
    // What a connection's first request costs is no part of the schedule.
    ask(&all[number], number - connections);
    while (all[number].waits)
      if (!receive(&all[number])) fail("the first answer");
  }

  // Linux may be 50 us late otherwise, as long as an answer takes.
  prctl(PR_SET_TIMERSLACK, SLACK_NANOSECONDS, 0, 0, 0);
  double *times = malloc((size_t)total * sizeof *times);
  double start = now(), time = start;
  int64_t next = 0, done = 0, broken = 0;
  while (done < total && !broken && time < start + seconds + TAIL_SECONDS) {
    for (; next < total && start + (double)next / rate <= time; next++) {
      struct connection *connection = &all[next % connections];
      if (!connection->waits) ask(connection, next);
    }
    struct epoll_event events[EVENTS];
    struct timespec span = until(next < total ? start + (double)next / rate : time + 0.1);
    int ready = epoll_pwait2(poll, events, EVENTS, &span, NULL);
    if (ready < 0 && errno != EINTR) fail("epoll");
    for (int number = 0; number < ready; number++) {
      struct connection *connection = events[number].data.ptr;
      broken += !receive(connection);
      if (broken || connection->waits) continue;
      times[done++] = now() - (start + (double)connection->number / rate);
      if (connection->number + connections < next) ask(connection, connection->number + connections);
    }
    time = now();
  }
  // What was due and has no answer has waited until now: left out, it would make the slowest server look well.
  int64_t answered = done;
  for (int number = 0; number < connections; number++) {
    int64_t missing = all[number].number + (all[number].waits ? 0 : connections);
    for (; missing < next; missing += connections) times[done++] = time - (start + (double)missing / rate);
  }
  tell(times, (size_t)done, (size_t)answered, time - start, not_ok, (uint64_t)(done - answered));
  return 0;
}
