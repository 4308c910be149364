// What the clients have in common: keys from a file, drawn evenly, connections, and the line of JSON that they end with.
#ifndef CLIENT_H
#define CLIENT_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { KEY = 36, LINE = KEY + 1, EVENTS = 64, READ = 1 << 16 };

struct keys {
  char *text;
  uint64_t count;
};

static uint64_t state;

static inline void fail(const char *what) {
  perror(what);
  exit(1);
}

static inline double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static inline void seed(const char *number) { state = strtoull(number, NULL, 10) * 2 + 1; }

// One key a line. xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016.
static inline const char *drawn(const struct keys *keys) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return keys->text + (uint64_t)(((unsigned __int128)(state * 2685821657736338717u) * keys->count) >> 64) * LINE;
}

static inline struct keys load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) fail(path);
  long size = ftell(file);
  rewind(file);
  struct keys keys = {malloc((size_t)size), (uint64_t)size / LINE};
  if (!keys.count || fread(keys.text, 1, (size_t)size, file) != (size_t)size) fail(path);
  fclose(file);
  return keys;
}

static inline int connected(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int made = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(made, (struct sockaddr *)&address, sizeof address)) fail("connect");
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return made;
}

static inline int ascending(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

// `times` are those of `count` exchanges, in any order.
static inline void tell(double *times, size_t count, size_t requests, double seconds, uint64_t status, uint64_t broken) {
  qsort(times, count, sizeof *times, ascending);
  printf("{\"requests\": %zu, \"seconds\": %.6f, \"p50\": %.6f, \"p99\": %.6f, \"p999\": %.6f, ", requests, seconds,
         count ? times[count / 2] : 0, count ? times[count * 99 / 100] : 0, count ? times[count * 999 / 1000] : 0);
  printf("\"status\": %llu, \"broken\": %llu}\n", (unsigned long long)status, (unsigned long long)broken);
}

#endif
