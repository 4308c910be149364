// A client that sends pipelines of GETs to the nodes of a Redis Cluster, each for keys that it owns, drawn evenly from
// a file: redis-benchmark cannot ask for keys that are there, and a client in Python would cost more than what it asks.
//
// direct CONNECTIONS DEPTH SECONDS SEED {PORT KEYS}…      prints one JSON object, as load.lua does
//
// KEYS has one key of 36 bytes a line. Connections go to the nodes in turn, and each has one pipeline under way.
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client.h"

enum { HEAD = 18, GET = HEAD + KEY + 2, MAX_DEPTH = 1024 };

struct node {
  int port;
  struct keys keys;
};

struct connection {
  int socket;
  struct node *node;
  double sent;
  int left;       // replies that are missing
  long skip;      // bytes of a value, and of the end of its line, that are missing
  size_t length;  // of what has come of a line
  char line[64];
};

static uint64_t no_value;
static char requests[MAX_DEPTH * GET];

static void ask(struct connection *connection, int depth) {
  for (int number = 0; number < depth; number++)
    memcpy(requests + number * GET + HEAD, drawn(&connection->node->keys), KEY);
  connection->left = depth;
  connection->sent = now();
  // Fewer bytes than a socket's buffer has when all replies have come.
  if (write(connection->socket, requests, (size_t)(depth * GET)) != depth * GET) fail("write");
}

// Whether what has come are replies to GET: values, null, or errors.
static int take(struct connection *connection, const char *data, long size) {
  for (long at = 0; at < size;) {
    if (connection->skip) {
      long step = connection->skip < size - at ? connection->skip : size - at;
      at += step;
      connection->skip -= step;
      connection->left -= !connection->skip;
      continue;
    }
    char byte = data[at++];
    if (byte != '\n') {
      if (connection->length + 1 < sizeof connection->line) connection->line[connection->length++] = byte;
      continue;
    }
    connection->line[connection->length] = 0;
    connection->length = 0;
    long value = connection->line[0] == '$' ? atol(connection->line + 1) : -1;
    if (value >= 0) {
      connection->skip = value + 2;
    } else if (connection->line[0] == '$' || connection->line[0] == '-') {
      connection->left--;
      no_value++;
    } else {
      return 0;
    }
  }
  return connection->left >= 0;
}

int main(int count, char **args) {
  int connections = count > 6 ? atoi(args[1]) : 0, depth = count > 6 ? atoi(args[2]) : 0, nodes = (count - 5) / 2;
  if (connections < 1 || depth < 1 || depth > MAX_DEPTH || count % 2 == 0) {
    fprintf(stderr, "direct CONNECTIONS DEPTH SECONDS SEED {PORT KEYS}...\n");
    return 2;
  }
  double seconds = atof(args[3]);
  seed(args[4]);
  for (int number = 0; number < depth; number++)
    memcpy(requests + number * GET, "*2\r\n$3\r\nGET\r\n$36\r\n....................................\r\n", GET);

  struct node *owners = calloc((size_t)nodes, sizeof *owners);
  for (int number = 0; number < nodes; number++) {
    owners[number].port = atoi(args[5 + 2 * number]);
    owners[number].keys = load(args[6 + 2 * number]);
  }
  struct connection *all = calloc((size_t)connections, sizeof *all);
  int poll = epoll_create1(0);
  for (int number = 0; number < connections; number++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[number]};
    all[number].node = &owners[number % nodes];
    all[number].socket = connected(all[number].node->port);
    if (epoll_ctl(poll, EPOLL_CTL_ADD, all[number].socket, &event)) fail("epoll");
  }

  static char data[READ];
  size_t done = 0, room = 1 << 16;
  double *times = malloc(room * sizeof *times);
  double start = now(), time = start;
  int broken = 0;
  for (int number = 0; number < connections; number++) ask(&all[number], depth);
  while (time < start + seconds && !broken) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poll, events, EVENTS, 1000);
    if (ready < 0 && errno != EINTR) fail("epoll");
    for (int number = 0; number < ready; number++) {
      struct connection *connection = events[number].data.ptr;
      long size = read(connection->socket, data, READ);
      if (size <= 0 || !take(connection, data, size)) broken++;
      if (broken || connection->left) continue;
      if (done == room) times = realloc(times, (room *= 2) * sizeof *times);
      times[done++] = now() - connection->sent;
      ask(connection, depth);
    }
    time = now();
  }
  tell(times, done, done * (size_t)depth, time - start, no_value, (uint64_t)broken);
  return 0;
}
