// A client that sends pipelines of GETs to the nodes of a Redis Cluster, each for keys that it owns, drawn evenly from
// a file: redis-benchmark cannot ask for keys that are there, and a client in Python would cost more than what it asks.
//
// direct CONNECTIONS DEPTH SECONDS SEED {PORT KEYS}…      prints one JSON object, as load.lua does
//
// KEYS has one key of 36 bytes a line. Connections go to the nodes in turn, and each has one pipeline under way.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEY = 36, LINE = KEY + 1, HEAD = 18, GET = HEAD + KEY + 2, MAX_DEPTH = 1024, EVENTS = 64, READ = 1 << 16 };

struct node {
  int port;
  char *keys;
  uint64_t count;
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

static uint64_t state;
static uint64_t no_value;
static char requests[MAX_DEPTH * GET];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016.
static uint64_t drawn(uint64_t below) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint64_t)(((unsigned __int128)(state * 2685821657736338717u) * below) >> 64);
}

static void load(struct node *node, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail(path);
  long size = ftell(file);
  rewind(file);
  node->keys = malloc((size_t)size);
  node->count = (uint64_t)size / LINE;
  if (!node->count || fread(node->keys, 1, (size_t)size, file) != (size_t)size) fail(path);
  fclose(file);
}

static void connect_to(struct connection *connection, struct node *node) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)node->port)};
  int on = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connection->node = node;
  connection->socket = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(connection->socket, (struct sockaddr *)&address, sizeof address)) fail("connect");
  setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void ask(struct connection *connection, int depth) {
  for (int number = 0; number < depth; number++)
    memcpy(requests + number * GET + HEAD, connection->node->keys + drawn(connection->node->count) * LINE, KEY);
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

static int ascending(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

int main(int count, char **args) {
  int connections = count > 6 ? atoi(args[1]) : 0, depth = count > 6 ? atoi(args[2]) : 0, nodes = (count - 5) / 2;
  if (connections < 1 || depth < 1 || depth > MAX_DEPTH || count % 2 == 0) {
    fprintf(stderr, "direct CONNECTIONS DEPTH SECONDS SEED {PORT KEYS}...\n");
    return 2;
  }
  double seconds = atof(args[3]);
  state = strtoull(args[4], NULL, 10) * 2 + 1;
  for (int number = 0; number < depth; number++)
    memcpy(requests + number * GET, "*2\r\n$3\r\nGET\r\n$36\r\n....................................\r\n", GET);

  struct node *owners = calloc((size_t)nodes, sizeof *owners);
  for (int number = 0; number < nodes; number++) {
    owners[number].port = atoi(args[5 + 2 * number]);
    load(&owners[number], args[6 + 2 * number]);
  }
  struct connection *all = calloc((size_t)connections, sizeof *all);
  int poll = epoll_create1(0);
  for (int number = 0; number < connections; number++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[number]};
    connect_to(&all[number], &owners[number % nodes]);
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
  qsort(times, done, sizeof *times, ascending);
  printf("{\"requests\": %zu, \"seconds\": %.6f, \"p50\": %.6f, \"p99\": %.6f, \"status\": %llu, \"broken\": %d}\n",
         done * (size_t)depth, time - start, done ? times[done / 2] : 0, done ? times[done * 99 / 100] : 0,
         (unsigned long long)no_value, broken);
  return 0;
}
