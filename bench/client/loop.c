#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256 };

struct counters counters;
struct log seen_log = {.fd = -1}, accepted_log = {.fd = -1};

/* ── buffers ────────────────────────────────────────────────────────────────────────────────────────────────────── */

char *bytes_room(struct bytes *bytes, size_t more) {
    if (bytes->room - bytes->length < more) {
        size_t room = bytes->room ? bytes->room : 256;
        while (room - bytes->length < more) room *= 2;
        bytes->at = realloc(bytes->at, room);
        if (!bytes->at) give_up("out of memory");
        bytes->room = room;
    }
    return bytes->at + bytes->length;
}

void bytes_add(struct bytes *bytes, const char *at, size_t length) {
    memcpy(bytes_room(bytes, length), at, length);
    bytes->length += length;
}

void bytes_drop(struct bytes *bytes, size_t length) {
    memmove(bytes->at, bytes->at + length, bytes->length - length);
    bytes->length -= length;
}

void bytes_free(struct bytes *bytes) {
    free(bytes->at);
    *bytes = (struct bytes){0};
}

/* ── time and chance ────────────────────────────────────────────────────────────────────────────────────────────── */

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t state = 0x9e3779b97f4a7c15;

void chance_seed(uint64_t seed) { state = seed * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019; }

uint64_t chance(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* ── the loop ───────────────────────────────────────────────────────────────────────────────────────────────────── */

static int epoll(void) {
    static int fd = -1;
    if (fd < 0 && (fd = epoll_create1(EPOLL_CLOEXEC)) < 0) give_up("epoll: %s", strerror(errno));
    return fd;
}

static void control(int what, struct source *source, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(epoll(), what, source->fd, &event) < 0) give_up("epoll: %s", strerror(errno));
}

void watch(struct source *source, uint32_t events) { control(EPOLL_CTL_ADD, source, events); }

void watch_again(struct source *source, uint32_t events) { control(EPOLL_CTL_MOD, source, events); }

void hang_up(struct source *source) {
    if (source->fd >= 0) close(source->fd);
    source->fd = -1;
}

int loop_once(int64_t until_ns) {
    struct epoll_event events[EVENTS];
    int64_t left = until_ns - now_ns();
    if (left < 0) left = 0;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    int ready = epoll_pwait2(epoll(), events, EVENTS, &timeout, NULL);
    if (ready < 0 && errno != EINTR) give_up("epoll_pwait2: %s (Linux 5.11 or later has it)", strerror(errno));
    for (int i = 0; i < ready; i++) {
        struct source *source = events[i].data.ptr;
        if (source->fd >= 0) source->ready(source, events[i].events); /* one before it may have closed it */
    }
    return ready;
}

/* ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────── */

bool address_of(struct text text, struct address *address) {
    char copy[256], *colon;
    if (text.length >= sizeof copy) return false;
    memcpy(copy, text.at, text.length);
    copy[text.length] = 0;
    if (!(colon = strrchr(copy, ':'))) return false;
    *colon = 0;
    struct addrinfo wish = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    char *host = copy;
    if (*host == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = 0;
    }
    if (getaddrinfo(host, colon + 1, &wish, &found) != 0) return false;
    memcpy(&address->at, found->ai_addr, found->ai_addrlen);
    address->length = found->ai_addrlen;
    address->host = (struct text){strndup(text.at, text.length), text.length};
    freeaddrinfo(found);
    return true;
}

int dial(const struct address *address) {
    int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address->at, address->length) < 0 && errno != EINPROGRESS) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

bool send_some(int fd, struct bytes *bytes) {
    ssize_t sent = send(fd, bytes->at, bytes->length, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    bytes_drop(bytes, (size_t)sent);
    return true;
}

/* ── what is seen ───────────────────────────────────────────────────────────────────────────────────────────────── */

bool log_open(struct log *log, struct text path) {
    char copy[4096];
    if (path.length >= sizeof copy) return false;
    memcpy(copy, path.at, path.length);
    copy[path.length] = 0;
    log_flush(log);
    if (log->fd >= 0) close(log->fd);
    log->written = 0;
    log->fd = path.length ? open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    return log->fd >= 0 || !path.length;
}

void log_add(struct log *log, struct record record) {
    if (log->fd < 0) return;
    log->records[log->count++] = record;
    if (log->count == sizeof log->records / sizeof *log->records && !log_flush(log)) give_up("the log can't be written: %s", strerror(errno));
}

bool log_flush(struct log *log) {
    const char *at = (const char *)log->records;
    size_t left = log->count * sizeof *log->records;
    log->written += log->count;
    log->count = 0;
    while (left) {
        ssize_t written = write(log->fd, at, left);
        if (written < 0) return false;
        at += written;
        left -= (size_t)written;
    }
    return true;
}

void tally_add(struct tally *tally, struct text name, uint64_t times) {
    size_t i = 0;
    while (i < tally->count && !text_is(name, tally->of[i].name)) i++;
    if (i == tally->count) {
        if (name.length >= sizeof tally->of[0].name || i == sizeof tally->of / sizeof *tally->of) return tally_add(tally, TEXT("other"), times);
        memcpy(tally->of[i].name, name.at, name.length);
        tally->of[i].name[name.length] = 0;
        tally->of[i].times = 0;
        tally->count += tally->count < sizeof tally->of / sizeof *tally->of;
    }
    tally->of[i].times += times;
}

void lags_add(struct lags *lags, int64_t late_ns) {
    if (lags->count == lags->room) {
        lags->room = lags->room ? lags->room * 2 : 4096;
        lags->at = realloc(lags->at, lags->room * sizeof *lags->at);
        if (!lags->at) give_up("out of memory");
    }
    lags->at[lags->count++] = late_ns < 0 ? 0 : late_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)late_ns;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double lags_ms(struct lags *lags, double percent) {
    if (!lags->count) return -1;
    qsort(lags->at, lags->count, sizeof *lags->at, by_size);
    double rank = (double)lags->count * percent / 100;
    size_t place = (size_t)rank + ((double)(size_t)rank < rank);
    return lags->at[place ? place - 1 : 0] / 1e6;
}

/* ── what is said ───────────────────────────────────────────────────────────────────────────────────────────────── */

void say(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    vprintf(format, rest);
    va_end(rest);
    putchar('\n');
    fflush(stdout);
}

void give_up(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    fprintf(stderr, "load client: ");
    vfprintf(stderr, format, rest);
    va_end(rest);
    fputc('\n', stderr);
    exit(1);
}
