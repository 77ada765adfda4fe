/* What every part of the client stands on: one epoll loop, buffers, the clock, the log of what was seen, and what is counted. */
#ifndef TACO_LOOP_H
#define TACO_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "json.h"

/* Something that epoll watches; the first member of what it belongs to. `fd` is -1 when it is closed. */
struct source {
    int fd;
    void (*ready)(struct source *source, uint32_t events);
};

struct bytes {
    char *at;
    size_t length, room;
};

/* Room for `more` bytes behind what is there. Ends the program when there is no memory. */
char *bytes_room(struct bytes *bytes, size_t more);
void bytes_add(struct bytes *bytes, const char *at, size_t length);
/* Forget the first bytes. */
void bytes_drop(struct bytes *bytes, size_t length);
void bytes_free(struct bytes *bytes);

int64_t now_ns(void); /* CLOCK_MONOTONIC, as Python's time.monotonic_ns */
uint64_t chance(void); /* not for secrets */
void chance_seed(uint64_t seed);

void watch(struct source *source, uint32_t events);
void watch_again(struct source *source, uint32_t events);
void hang_up(struct source *source);

/* Waits at most until `until_ns` and lets what is ready have its turn; how many that were. */
int loop_once(int64_t until_ns);

struct address {
    struct sockaddr_storage at;
    socklen_t length;
    struct text host; /* as it was given, for the Host header */
};

/* "host:port" with a number for a port. */
bool address_of(struct text text, struct address *address);
/* A non-blocking socket whose connection is being made; -1 if it can't be. */
int dial(const struct address *address);
/* What the socket takes of it is dropped; false if the connection is broken. */
bool send_some(int fd, struct bytes *bytes);

/* ── what is seen ─────────────────────────────────────────────────────────────────────────────────────────────── */

/* As it is in the file, in the machine's byte order: bench/client/process.py reads it. */
struct record {
    uint64_t id;
    int64_t ns;
    uint32_t device, flags;
};
enum { RECORD_NEW = 1, RECORD_AGAIN = 2 };

struct log {
    int fd; /* -1: not kept */
    size_t count;
    uint64_t written;
    struct record records[2048];
};

bool log_open(struct log *log, struct text path);
void log_add(struct log *log, struct record record);
bool log_flush(struct log *log);

/* Counts by word: error codes, close codes. */
struct tally {
    size_t count;
    struct {
        char name[64];
        uint64_t times;
    } of[32];
};

void tally_add(struct tally *tally, struct text name, uint64_t times);

/* How late the client came to what it had planned, in nanoseconds. */
struct lags {
    uint32_t *at;
    size_t count, room;
};

void lags_add(struct lags *lags, int64_t late_ns);
double lags_ms(struct lags *lags, double percent); /* the nearest rank; orders them; -1 of none */

struct counters {
    uint64_t signed_in, pushes, shown, repeats, again, undecodable, recalls, acked, unreadable;
    uint64_t offered, accepted, unanswered;
    struct tally ended, refused;
    struct lags lags;
};

extern struct counters counters;
extern struct log seen_log, accepted_log;

/* ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────── */

/* A line for whoever reads stdout, by printf's rules. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with a sentence. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
